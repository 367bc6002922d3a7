//! What seats revealed about a claim, as a proof carries it: a claim's state names who revealed and what each had
//! sealed, and the signed reveals have the samples.

use super::proof::Hex;
use super::{Fault, Rule};
use crate::ids::{ClaimId, NetworkId, PeerId};
use crate::measurement::Measurement;
use crate::record::{Body, Reveal, reveal_seal};
use crate::state::ClaimState;
use crate::wire;
use assay_proto::{decode_canonical, limits, v1};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of a reveal in the `oneof` of the message `Record`.
const REVEAL: u32 = 3;

/// What one seat revealed in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The round's number.
    pub round: u32,
    /// Who measured.
    pub seat: PeerId,
    /// What it measured.
    pub measurement: Measurement,
}

/// Signed reveals of one claim, by round and seat.
#[derive(Debug, Default)]
pub(super) struct Reveals(BTreeMap<(u32, PeerId), Vec<u8>>);

impl Reveals {
    /// Keeps a record of a checked block if it is a reveal of this claim.
    pub(super) fn observe(
        &mut self,
        network: NetworkId,
        claim: ClaimId,
        signed: &v1::SignedRecord,
    ) {
        let Ok(record) = wire::open_unchecked(network, signed.clone()) else { return };
        if let Body::Reveal(reveal) = &record.body
            && reveal.round.claim == claim
        {
            self.0.insert((reveal.round.number, record.author), signed.encode_to_vec());
        }
    }

    /// Those that the claim's state names: what was said with a key used for two things is forgotten there.
    pub(super) fn of(&self, claim: &ClaimState) -> Vec<Hex> {
        let named = |(number, seat): (u32, PeerId)| {
            let mut rounds = claim.rounds.iter().filter(|round| round.number == number);
            rounds.any(|round| round.has_revealed(seat))
        };
        let kept = self.0.iter().filter(|(key, _)| named(**key));
        kept.map(|(_, record)| Hex(record.clone())).collect()
    }
}

/// A claim's state as far as it is about samples.
#[derive(Deserialize)]
struct Claim {
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    number: u32,
    seals: BTreeMap<PeerId, Seal>,
    reveals: Vec<PeerId>,
    shadows: BTreeMap<PeerId, Shadow>,
}

#[derive(Deserialize)]
struct Shadow {
    seal: Option<Seal>,
    revealed: bool,
}

#[derive(Deserialize)]
struct Seal(#[serde(with = "hex::serde")] [u8; 32]);

/// The seals that the state says were opened, by round and seat.
fn opened(state: &str) -> Result<BTreeMap<(u32, PeerId), [u8; 32]>, String> {
    let claim: Claim = serde_json::from_str(state).map_err(|e| e.to_string())?;
    let mut opened = BTreeMap::new();
    for round in claim.rounds {
        for seat in &round.reveals {
            let Some(Seal(seal)) = round.seals.get(seat) else {
                return Err(format!("round {} has no seal of {seat}", round.number));
            };
            opened.insert((round.number, *seat), *seal);
        }
        for (seat, shadow) in &round.shadows {
            if let (Some(Seal(seal)), true) = (&shadow.seal, shadow.revealed) {
                opened.insert((round.number, *seat), *seal);
            }
        }
    }
    Ok(opened)
}

/// Checks that the records are the reveals which the claim's state names: all of them, each signed by its seat and
/// what that had sealed.
pub(super) fn check(
    network: NetworkId,
    claim: ClaimId,
    state: &str,
    records: &[Hex],
) -> Result<Vec<Sample>, Fault> {
    let place = || format!("claim {claim}");
    let mut opened = opened(state).map_err(|e| Rule::Format.broken(place(), e))?;
    let mut samples = Vec::with_capacity(records.len().min(opened.len()));
    for Hex(bytes) in records {
        let signed: v1::SignedRecord = decode_canonical(bytes, limits::RECORD_BYTES_MAX + 1024)
            .map_err(|e| Rule::RecordForm.broken(place(), e.to_string()))?;
        let record = wire::open_signed(network, signed)
            .map_err(|e| Rule::RecordSignature.broken(place(), e.to_string()))?;
        let fault = |what: &str| {
            Rule::Record(REVEAL).broken(place(), format!("a record of {} {what}", record.author))
        };
        let Body::Reveal(reveal) = &record.body else {
            return Err(fault("is no reveal"));
        };
        let Reveal { round, measurement, salt } = reveal.as_ref();
        let seal = match round.claim == claim {
            true => opened.remove(&(round.number, record.author)),
            false => None,
        };
        let Some(seal) = seal else {
            return Err(fault("reveals what the state does not name, or names once"));
        };
        if reveal_seal(*round, record.author, salt, measurement) != seal {
            return Err(fault("is not what that seat had sealed"));
        }
        samples.push(Sample {
            round: round.number,
            seat: record.author,
            measurement: measurement.clone(),
        });
    }
    match opened.keys().next() {
        None => Ok(samples),
        Some((round, seat)) => Err(Rule::Record(REVEAL)
            .broken(place(), format!("the reveal of {seat} in round {round} is missing"))),
    }
}
