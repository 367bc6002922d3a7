//! Names of things: 32-byte hashes and keys with a type each, so that none passes for another.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, found {found:?}")]
pub struct ParseIdError {
    found: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// Reads a name from a message field.
            ///
            /// # Errors
            ///
            /// The field's length when it is not 32 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, usize> {
                bytes.try_into().map(Self).map_err(|_| bytes.len())
            }

            /// The name as a message field.
            #[must_use]
            pub fn to_vec(self) -> Vec<u8> {
                self.0.to_vec()
            }

            /// The first eight digits, enough to tell things apart on a screen.
            #[must_use]
            pub fn short(self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 64];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; 32];
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) => Ok(Self(bytes)),
                    Err(_) => Err(ParseIdError { found: text.chars().take(80).collect() }),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

id! {
    /// An identity: an Ed25519 public key.
    PeerId
}

impl PeerId {
    /// Whether this key signed a message: the strict check of RFC 8032, which takes neither keys nor points of
    /// small order, and one spelling only. False also for what is no key or no signature.
    #[must_use]
    pub fn has_signed(self, message: &[u8], signature: &[u8]) -> bool {
        let key = VerifyingKey::from_bytes(&self.0);
        let signature = Signature::from_slice(signature);
        key.and_then(|key| key.verify_strict(message, &signature?)).is_ok()
    }
}

id! {
    /// A network: the hash of its genesis.
    NetworkId
}
id! {
    /// A signed record: the hash of network, author and payload.
    RecordId
}
id! {
    /// A claim: the id of the record that made it, or the base recipe at the root of a lineage.
    ClaimId
}
id! {
    /// All that decides tokens and speed: the hash of a recipe's canonical bytes.
    RecipeId
}
id! {
    /// A blob or manifest: the BLAKE3 hash of its bytes.
    BlobHash
}
id! {
    /// A block: the hash of its header.
    BlockHash
}
id! {
    /// Randomness fixed by the ledger.
    Beacon
}

/// One measurement of a claim by one committee: the claim and the number of the round, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoundId {
    /// The claim measured.
    pub claim: ClaimId,
    /// Which of its rounds, from 1.
    pub number: u32,
}

impl RoundId {
    /// The name as bytes to hash.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 36] {
        let mut bytes = [0; 36];
        let (claim, number) = bytes.split_at_mut(32);
        claim.copy_from_slice(&self.claim.0);
        number.copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {} of claim {}", self.number, self.claim)
    }
}

/// BLAKE3 of a domain and length-prefixed parts, so that no two lists of parts collide.
#[must_use]
pub fn hash_parts(domain: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    *hasher(domain, parts).finalize().as_bytes()
}

/// A BLAKE3 hasher fed as [`hash_parts`] does; its extendable output is used for draws.
#[must_use]
pub fn hasher(domain: &'static str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print() {
        let id = PeerId([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "abababab");
        assert!("zz".parse::<PeerId>().is_err());
        assert!("é".repeat(32).parse::<PeerId>().is_err());
        assert_eq!(PeerId::from_slice(&[1; 31]), Err(31));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash_parts("t", &[b"ab", b"c"]), hash_parts("t", &[b"a", b"bc"]));
        assert_ne!(hash_parts("t", &[b"a"]), hash_parts("u", &[b"a"]));
    }
}
