//! How parts of a claim are spelled. In JSON, which the state root covers, hashes are hexadecimal digits, and of
//! what a seat measured it only says that it was revealed: the seal beside it binds every bit of that. In the
//! archive's form measurements are as the records have them.

use crate::ids::PeerId;
use crate::measurement::Measurement;
use assay_proto::v1;
use prost::Message;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::sync::Arc;

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

fn encode(measurement: &Measurement) -> ByteBuf {
    ByteBuf::from(measurement.to_proto().encode_to_vec())
}

fn decode<E: Error>(bytes: &ByteBuf) -> Result<Arc<Measurement>, E> {
    let message = v1::Measurement::decode(bytes.as_slice()).map_err(E::custom)?;
    Measurement::from_proto(message).map(Arc::new).map_err(E::custom)
}

/// Measurements by peer; in JSON the peers, rising. Only the archive's form can be read back.
pub(super) mod measurements {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        measurements: &BTreeMap<PeerId, Arc<Measurement>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_seq(measurements.keys()),
            false => serializer.collect_map(measurements.iter().map(|(p, m)| (p, encode(m)))),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<PeerId, Arc<Measurement>>, D::Error> {
        let measurements: BTreeMap<PeerId, ByteBuf> = BTreeMap::deserialize(deserializer)?;
        let decoded = measurements.into_iter().map(|(peer, bytes)| Ok((peer, decode(&bytes)?)));
        decoded.collect()
    }
}

/// A measurement that may be missing; in JSON whether it is there. Only the archive's form can be read back.
pub(super) mod optional_measurement {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        measurement: &Option<Arc<Measurement>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => measurement.is_some().serialize(serializer),
            false => measurement.as_deref().map(encode).serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Measurement>>, D::Error> {
        Option::<ByteBuf>::deserialize(deserializer)?.map(|bytes| decode(&bytes)).transpose()
    }
}
