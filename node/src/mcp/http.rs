//! The server over HTTP: one address, `/mcp`, for whoever shows a token.
//!
//! Nothing is kept between requests: no sessions, so none to steal, to exhaust or to clean up. A
//! token is looked up at every request, so that a revoked one is refused at once.

use super::permissions::Grant;
use super::tokens::Tokens;
use super::{MESSAGE_BYTES_MAX, Server};
use crate::api::guard::{bearer, comes_from_another_site, names_loopback};
use crate::serve::connections;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Where the server is.
pub const PATH: &str = "/mcp";
/// Longest time that the body of a request may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Bodies that are read at one time.
const BODIES_MAX: usize = 16;

#[derive(Clone)]
struct Shared {
    tokens: Tokens,
    /// Names besides those of this machine under which the server may be addressed.
    hosts: Arc<[String]>,
    bodies: Arc<Semaphore>,
}

/// The server of a home folder. `hosts` are the names, besides those of this machine, under which clients
/// may address it.
pub fn router(home: &Path, hosts: &[String]) -> Router {
    let nobody = Grant { name: "nobody".to_owned(), allow: BTreeSet::new() };
    let server = Server::new(home, nobody);
    // Who may ask is decided before a request comes here.
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_legacy_session_mode(false)
        .with_max_request_body_bytes(MESSAGE_BYTES_MAX);
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let shared = Shared {
        tokens: Tokens::of(home),
        hosts: hosts.into(),
        bodies: Arc::new(Semaphore::new(BODIES_MAX)),
    };
    Router::new()
        .route_service(PATH, service)
        .fallback(|| async { fault(StatusCode::NOT_FOUND, "the server is at /mcp") })
        .layer(from_fn_with_state(shared, admit))
}

/// Serves until `stop` is ready, then answers what was asked.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    connections::answer(listener, router, stop).await;
}

/// Why a request is not let through.
type Refused = (StatusCode, &'static str);

fn fault(status: StatusCode, message: &str) -> Response {
    let mut response = (status, Json(json!({ "error": message }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Bearer realm=\"assay\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    }
    response
}

/// Lets a request through with its token's grant, its body read within the limits.
async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if let Err((status, message)) = shared.addressed(request.headers(), request.uri()) {
        return fault(status, message);
    }
    let grant = match shared.grant(request.headers()).await {
        Ok(grant) => grant,
        Err((status, message)) => return fault(status, message),
    };
    let Ok(place) = shared.bodies.try_acquire() else {
        return fault(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again");
    };
    let (mut parts, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, MESSAGE_BYTES_MAX)).await;
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let message = format!("a request has at most {MESSAGE_BYTES_MAX} bytes");
            return fault(StatusCode::PAYLOAD_TOO_LARGE, &message);
        }
        Err(_) => return fault(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive"),
    };
    drop(place);
    parts.extensions.insert(grant);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

impl Shared {
    /// Whether a request means this server, and no page of another site made it.
    fn addressed(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
        if !names_loopback(headers, uri) && !self.is_named(headers) {
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                "this server answers to localhost, 127.0.0.1 and [::1], and to what --allow-host names",
            ));
        }
        let foreign = headers.get_all(header::ORIGIN).iter().any(|origin| !self.is_own(origin));
        if foreign || comes_from_another_site(headers) {
            return Err((StatusCode::FORBIDDEN, "pages of other sites may not use this server"));
        }
        Ok(())
    }

    fn is_named(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let host = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        host.is_some_and(|host| {
            let named = |name: &String| name.eq_ignore_ascii_case(host.host());
            !host.as_str().contains('@') && self.hosts.iter().any(named)
        })
    }

    /// Whether a page of this machine, or of a name of this server, made a request.
    fn is_own(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        let Some(host) = origin.as_ref().and_then(Uri::authority) else { return false };
        let Ok(host) = HeaderValue::from_str(host.as_str()) else { return false };
        let as_host = HeaderMap::from_iter([(header::HOST, host)]);
        names_loopback(&as_host, &Uri::from_static("/")) || self.is_named(&as_host)
    }

    async fn grant(&self, headers: &HeaderMap) -> Result<Grant, Refused> {
        let shown = bearer(headers).unwrap_or_default().to_vec();
        let tokens = self.tokens.clone();
        let found = tokio::task::spawn_blocking(move || tokens.grant(&shown)).await;
        match found {
            Ok(Ok(Some(grant))) => Ok(grant),
            Ok(Ok(None)) => Err((
                StatusCode::UNAUTHORIZED,
                "needs the header `Authorization: Bearer TOKEN`; `assay mcp token new` makes tokens",
            )),
            Ok(Err(error)) => {
                tracing::error!(%error, "tokens cannot be read");
                Err((StatusCode::INTERNAL_SERVER_ERROR, "the tokens cannot be read"))
            }
            Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "the tokens were not read")),
        }
    }
}
