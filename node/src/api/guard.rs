//! Who may ask, and what every answer carries.
//!
//! The daemon listens on loopback only, but a browser on this machine will fetch from loopback on
//! behalf of any site. A site that points its own name at 127.0.0.1 is told from a person by the
//! `Host` header, a script of another origin by `Sec-Fetch-Site`, and a change needs the token.

use super::Shared;
use super::reply::fault;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use std::fmt;
use std::sync::Arc;

/// Fewest characters of a token: 128 bits in hexadecimal.
pub const TOKEN_CHARS_MIN: usize = 32;

/// Everything that a page may load comes from its own origin, and nothing may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// What a caller must show to change anything. Only its hash is kept, and hashes are compared in
/// constant time.
#[derive(Clone)]
pub struct Token(blake3::Hash);

/// A token that is too easy to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("token has {0} characters, needs at least {TOKEN_CHARS_MIN}")]
pub struct TokenError(usize);

impl Token {
    /// A token from its text, which must be printable ASCII without spaces to fit in a header.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when fewer than [`TOKEN_CHARS_MIN`] usable characters are left.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let usable = text.chars().filter(char::is_ascii_graphic).count();
        if usable < TOKEN_CHARS_MIN {
            return Err(TokenError(usable));
        }
        Ok(Self(blake3::hash(text.as_bytes())))
    }

    /// Whether a request shows this token as `Authorization: Bearer <token>`.
    fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        // `blake3::Hash` compares in constant time.
        bearer(headers).is_some_and(|text| blake3::hash(text) == self.0)
    }
}

/// What a request shows as `Authorization: Bearer TEXT`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, text) = shown.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(text)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Lets only requests with the token through.
pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if shared.token.is_shown_by(request.headers()) {
        return next.run(request).await;
    }
    let mut response = fault(
        StatusCode::UNAUTHORIZED,
        "needs the header `Authorization: Bearer TOKEN` with the token from this node's home folder",
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"assay\""));
    response
}

/// Refuses what other sites could have caused, and sets the headers that every answer has.
pub(super) async fn origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let mut response = if !names_loopback(headers, request.uri()) {
        fault(
            StatusCode::MISDIRECTED_REQUEST,
            "this node answers to localhost, 127.0.0.1 and [::1] only; use one of them in the address",
        )
    } else if comes_from_another_site(headers) {
        fault(StatusCode::FORBIDDEN, "other sites may link to this node but not read from it")
    } else {
        next.run(request).await
    };
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether every name that the request gives for its target is a name of this machine.
pub(crate) fn names_loopback(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    host.is_some_and(|host| is_loopback(&host)) && uri.authority().is_none_or(is_loopback)
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|l| host.eq_ignore_ascii_case(l));
    local && !authority.as_str().contains('@')
}

/// Whether a browser says that a page of another origin made this request, other than by a link
/// that a person followed.
pub(crate) fn comes_from_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let foreign = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    foreign && !is("sec-fetch-mode", "navigate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        let check = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            names_loopback(&headers, &Uri::from_static("/"))
        };
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7070", "[::1]", "[::1]:9"] {
            assert!(check(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost.",
            "0.0.0.0",
            "127.0.0.2",
            "::1",
            "",
            " ",
        ] {
            assert!(!check(host), "{host}");
        }
    }

    #[test]
    fn two_hosts_or_a_foreign_absolute_target_do_not_pass() {
        let mut headers = HeaderMap::new();
        assert!(!names_loopback(&headers, &Uri::from_static("/")));
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        assert!(!names_loopback(&headers, &Uri::from_static("http://evil.example/")));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(!names_loopback(&headers, &Uri::from_static("/")));
    }

    #[test]
    fn a_token_is_long_and_does_not_print_itself() {
        assert_eq!(Token::new("short").err(), Some(TokenError(5)));
        assert!(Token::new(&" ".repeat(64)).is_err());
        let token = Token::new(&"k".repeat(32)).unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
