//! How hashes are spelled within a claim's JSON: as hexadecimal digits.

use crate::ids::PeerId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// A hash, spelled as 64 digits.
#[derive(Serialize, Deserialize)]
struct Hex(#[serde(with = "hex::serde")] [u8; 32]);

/// A hash that may be missing.
pub(super) mod optional_hash {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        hash: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        hash.map(Hex).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        Option::deserialize(deserializer).map(|hash: Option<Hex>| hash.map(|Hex(hash)| hash))
    }
}

/// Hashes by peer.
pub(super) mod hashes {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        hashes: &BTreeMap<PeerId, [u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(hashes.iter().map(|(peer, hash)| (peer, Hex(*hash))))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<PeerId, [u8; 32]>, D::Error> {
        let hashes: BTreeMap<PeerId, Hex> = BTreeMap::deserialize(deserializer)?;
        Ok(hashes.into_iter().map(|(peer, Hex(hash))| (peer, hash)).collect())
    }
}
