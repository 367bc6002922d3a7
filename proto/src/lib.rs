//! The bytes that Assay's peers exchange, store and sign.
//!
//! `assay/v1/*.proto` is the schema; [`v1`] holds the types generated from it, kept in the
//! repository so that no build needs a protobuf compiler (`tests/generated.rs` fails when the two
//! differ). This crate has no logic and checks nothing but sizes: what a message *means*, and
//! whether it may be believed, is decided in `assay-protocol`.
//!
//! # Canonical encoding
//!
//! Hashes and signatures cover encoded messages, so every message has exactly one valid encoding:
//! the one `prost` writes (fields in order, defaults omitted, nothing unknown). [`decode_canonical`]
//! refuses every other spelling, which also means that no byte of a message is left unchecked.

pub mod limits;
/// Generated message types of the `assay.v1` package.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1;

use prost::Message;

/// Why bytes from a peer or a file were not accepted as a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than the limit for its type; nothing was parsed or allocated.
    TooLong {
        /// Bytes received.
        bytes: usize,
        /// Most that this message may have.
        bytes_max: usize,
    },
    /// Not a protobuf message of the expected type.
    Malformed(String),
    /// A valid message, spelt in another way than the canonical one.
    NotCanonical,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "message has {bytes} bytes, at most {bytes_max} are allowed")
            }
            Self::Malformed(reason) => write!(f, "malformed message: {reason}"),
            Self::NotCanonical => f.write_str("message is not in canonical encoding"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes a message of at most `bytes_max` bytes and checks that it is in canonical encoding.
///
/// # Errors
///
/// [`DecodeError`] when the input is too long, malformed or not canonical.
pub fn decode_canonical<M: Message + Default>(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<M, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLong { bytes: bytes.len(), bytes_max });
    }
    let message = M::decode(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    if message.encoded_len() != bytes.len() || message.encode_to_vec() != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(message)
}
