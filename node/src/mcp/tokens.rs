//! Tokens for clients that come over HTTP: their names, what they allow, and the hashes of their text.
//!
//! The text of a token is shown once, when it is made; `HOME/mcp-tokens.json` keeps its BLAKE3 hash.

use super::permissions::{Grant, Permission};
use crate::home::write_whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most tokens of a node.
pub const TOKENS_MAX: usize = 64;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of randomness in a token.
const SECRET_BYTES: usize = 32;

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not one of tokens.
    #[error("{path} does not hold tokens ({reason}); move it away and make the tokens again")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be replaced.
    #[error(transparent)]
    Home(#[from] crate::home::HomeError),
    /// A name that cannot be one.
    #[error("{0:?} is no name; use 1 to 32 letters, digits and dashes")]
    Name(String),
    /// The name is taken.
    #[error("there is a token {0} already; revoke it first with `assay mcp token revoke {0}`")]
    Taken(String),
    /// No such token.
    #[error("there is no token {0}; `assay mcp token list` has them")]
    Unknown(String),
    /// Too many.
    #[error("there are {TOKENS_MAX} tokens, which is the most; revoke one first")]
    TooMany,
    /// The system gave no randomness.
    #[error("no randomness for a token: {0}")]
    Random(getrandom::Error),
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub allow: BTreeSet<Permission>,
    /// When it was made, in Unix milliseconds.
    pub made_ms: u64,
    /// BLAKE3 hash of its text, in hexadecimal.
    hash: String,
}

impl Token {
    /// What the token grants.
    #[must_use]
    pub fn grant(&self) -> Grant {
        Grant { name: self.name.clone(), allow: self.allow.clone() }
    }
}

/// The tokens of a home folder.
#[derive(Debug, Clone)]
pub struct Tokens(PathBuf);

impl Tokens {
    /// The tokens of a home folder; there may be none.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self(home.join("mcp-tokens.json"))
    }

    /// All tokens by name.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the file cannot be read.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let io = |source| TokenError::Io { action: "read", path: self.0.clone(), source };
        let bad = |reason: String| TokenError::Bad { path: self.0.clone(), reason };
        let bytes = match std::fs::metadata(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            found => found.map_err(io)?.len(),
        };
        if bytes > FILE_BYTES_MAX {
            return Err(bad(format!("it has {bytes} bytes")));
        }
        let text = std::fs::read(&self.0).map_err(io)?;
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))
    }

    /// Makes a token and returns its text, which is kept nowhere.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the name will not do or the file cannot be written.
    pub fn make(&self, name: &str, allow: BTreeSet<Permission>) -> Result<String, TokenError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(TokenError::Name(crate::text::cut(name, NAME_BYTES_MAX)));
        }
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(TokenError::Random)?;
        let text = hex::encode(secret);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let made_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        tokens.push(Token { name: name.to_owned(), allow, made_ms, hash });
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        self.write(&tokens)?;
        Ok(text)
    }

    /// Forgets a token; whoever shows it is refused from then on.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when there is none of this name or the file cannot be written.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() == before {
            return Err(TokenError::Unknown(crate::text::cut(name, NAME_BYTES_MAX)));
        }
        self.write(&tokens)
    }

    /// What the text of a token grants; none for any other text.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the file cannot be read.
    pub fn grant(&self, text: &[u8]) -> Result<Option<Grant>, TokenError> {
        let shown = blake3::hash(text);
        // Hashes are compared in constant time.
        let is_shown =
            |token: &Token| blake3::Hash::from_hex(&token.hash).is_ok_and(|hash| hash == shown);
        Ok(self.list()?.iter().find(|token| is_shown(token)).map(Token::grant))
    }

    fn write(&self, tokens: &[Token]) -> Result<(), TokenError> {
        let text = serde_json::to_vec_pretty(tokens)
            .map_err(|error| TokenError::Bad { path: self.0.clone(), reason: error.to_string() })?;
        Ok(write_whole(&self.0, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(permissions: &[Permission]) -> BTreeSet<Permission> {
        permissions.iter().copied().collect()
    }

    #[test]
    fn a_token_is_kept_as_its_hash_until_it_is_revoked() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(home.path());
        assert_eq!(tokens.grant(b"anything").unwrap(), None);
        let text = tokens.make("agent", allow(&[Permission::Read, Permission::Post])).unwrap();
        assert_eq!(text.len(), 2 * SECRET_BYTES);
        let file = std::fs::read_to_string(home.path().join("mcp-tokens.json")).unwrap();
        assert!(!file.contains(&text), "the text is kept");
        let grant = tokens.grant(text.as_bytes()).unwrap().unwrap();
        assert_eq!((grant.name.as_str(), grant.to_string().as_str()), ("agent", "read,post"));
        assert!(grant.allows(Permission::Post) && !grant.allows(Permission::Claim));
        assert_eq!(tokens.grant(&text.as_bytes()[1..]).unwrap(), None);
        assert_eq!(tokens.grant(b"").unwrap(), None);
        // The hash itself is no token.
        let hash = tokens.list().unwrap()[0].hash.clone();
        assert_eq!(tokens.grant(hash.as_bytes()).unwrap(), None);
        assert!(matches!(tokens.make("agent", allow(&[])), Err(TokenError::Taken(_))));
        tokens.revoke("agent").unwrap();
        assert_eq!(tokens.grant(text.as_bytes()).unwrap(), None);
        assert!(matches!(tokens.revoke("agent"), Err(TokenError::Unknown(_))));
    }

    #[test]
    fn names_and_files_are_checked() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(home.path());
        for name in ["", "../x", "a b", "ä", &"x".repeat(33)] {
            assert!(matches!(tokens.make(name, allow(&[])), Err(TokenError::Name(_))), "{name}");
        }
        for index in 0..TOKENS_MAX {
            tokens.make(&format!("t{index}"), allow(&Permission::ALL)).unwrap();
        }
        assert!(matches!(tokens.make("more", allow(&[])), Err(TokenError::TooMany)));
        assert_eq!(tokens.list().unwrap().len(), TOKENS_MAX);
        let path = home.path().join("mcp-tokens.json");
        for bad in ["{}", "[{\"name\": 1}]", ""] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(tokens.grant(b"x"), Err(TokenError::Bad { .. })), "{bad}");
        }
        std::fs::write(&path, vec![b' '; 70_000]).unwrap();
        assert!(matches!(tokens.list(), Err(TokenError::Bad { .. })));
    }
}
