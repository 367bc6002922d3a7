//! Sightings: what a flag's author saw with its own machine or found on the ledger, in numbers that
//! whoever looks again can hold against theirs.

use crate::error::Reject;
use crate::ruling::Offence;
use crate::wire::field;
use assay_proto::v1;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Largest token id, prompt or position that a sighting may name.
const INDEX_MAX: u32 = (1 << 24) - 1;

/// Where a recipe did not follow its own logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// Index of the prompt in the pinned pool.
    pub prompt: u32,
    /// Which of the tokens after it, from 0, which the prefill chose.
    pub position: u32,
    /// The token that the recipe's prefill over the same tokens chooses there.
    pub expected: u32,
    /// The token that its decode emitted; where it is the same, the logits behind it differ by more than
    /// a near-tie.
    pub seen: u32,
}

/// By how much an entry is faster than its class's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excess {
    /// The round that made the entry.
    pub round: u32,
    /// What machines of the class deliver, in MB/s, as the ledger has it.
    pub bandwidth_mb_s: u64,
    /// Share of what a seat's memory delivers that the recipe needed on the seat in the middle, in
    /// millionths, above 1 000 000.
    pub share_ppm: u64,
}

/// What shows a charge that a measurement decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sighting {
    /// For the rule `path`.
    Divergence(Divergence),
    /// For the rule `physics`.
    Excess(Excess),
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prompt, position, expected, seen } = self;
        write!(f, "prompt {prompt}, position {position}: ")?;
        match expected == seen {
            true => write!(f, "token {seen} from other logits"),
            false => write!(f, "token {seen} instead of {expected}"),
        }
    }
}

/// A divergence that is not four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "four numbers with commas between: prompt, position, the token expected and the token seen"
)]
pub struct NotADivergence;

impl FromStr for Divergence {
    type Err = NotADivergence;

    fn from_str(text: &str) -> Result<Self, NotADivergence> {
        let numbers: Result<Vec<u32>, _> =
            text.split(',').map(|part| part.trim().parse()).collect();
        match numbers.map_err(|_| NotADivergence)?.as_slice() {
            [prompt, position, expected, seen] => {
                Ok(Self { prompt: *prompt, position: *position, expected: *expected, seen: *seen })
            }
            _ => Err(NotADivergence),
        }
    }
}

impl fmt::Display for Excess {
    #[allow(clippy::cast_precision_loss)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, bandwidth_mb_s, share_ppm } = self;
        let percent = *share_ppm as f64 / 1e4;
        write!(f, "round {round}: {percent:.1} % of memory, {bandwidth_mb_s} MB/s in its class")
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divergence(found) => found.fmt(f),
            Self::Excess(found) => found.fmt(f),
        }
    }
}

impl Sighting {
    pub(crate) fn to_proto(self) -> v1::Sighting {
        use v1::sighting::Seen;
        let seen = match self {
            Self::Divergence(Divergence { prompt, position, expected, seen }) => {
                Seen::Divergence(v1::Divergence { prompt, position, expected, seen })
            }
            Self::Excess(Excess { round, bandwidth_mb_s, share_ppm }) => {
                Seen::Excess(v1::Excess { round, bandwidth_mb_s, share_ppm })
            }
        };
        v1::Sighting { seen: Some(seen) }
    }

    /// Reads what a flag under `rule` brings with it: a sighting of the kind that its rule needs, and
    /// none where it needs none.
    pub(crate) fn from_proto(
        rule: Option<Offence>,
        sighting: Option<v1::Sighting>,
    ) -> Result<Option<Self>, Reject> {
        use v1::sighting::Seen;
        match (rule, sighting.map(|sighting| sighting.seen)) {
            (Some(Offence::Path), Some(Some(Seen::Divergence(found)))) => {
                divergence(found).map(Some)
            }
            (Some(Offence::Physics), Some(Some(Seen::Excess(found)))) => excess(found).map(Some),
            (Some(Offence::Path), _) => Err(fault("the rule path needs a divergence")),
            (Some(Offence::Physics), _) => Err(fault("the rule physics needs an excess")),
            (_, None) => Ok(None),
            (_, Some(_)) => Err(fault("for the rules path and physics only")),
        }
    }
}

fn fault(reason: &str) -> Reject {
    field("sighting", reason.to_owned())
}

fn divergence(found: v1::Divergence) -> Result<Sighting, Reject> {
    let v1::Divergence { prompt, position, expected, seen } = found;
    match [prompt, position, expected, seen].into_iter().find(|index| *index > INDEX_MAX) {
        Some(index) => Err(field("sighting.divergence", format!("{index}, not 0 to {INDEX_MAX}"))),
        None => Ok(Sighting::Divergence(Divergence { prompt, position, expected, seen })),
    }
}

fn excess(found: v1::Excess) -> Result<Sighting, Reject> {
    let v1::Excess { round, bandwidth_mb_s, share_ppm } = found;
    if round == 0 || bandwidth_mb_s == 0 || share_ppm <= 1_000_000 {
        let reason = "a round from 1, a bandwidth above 0 and a share above 1000000".to_owned();
        return Err(field("sighting.excess", reason));
    }
    Ok(Sighting::Excess(Excess { round, bandwidth_mb_s, share_ppm }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sightings_are_read_and_said_in_numbers() {
        let found: Divergence = "7, 3,20,21".parse().unwrap();
        assert_eq!(found, Divergence { prompt: 7, position: 3, expected: 20, seen: 21 });
        let said = Sighting::Divergence(found).to_string();
        assert_eq!(said, "prompt 7, position 3: token 21 instead of 20");
        for bad in ["", "1,2,3", "1,2,3,4,5", "1,2,3,-4", "a,b,c,d"] {
            assert_eq!(bad.parse::<Divergence>(), Err(NotADivergence), "{bad}");
        }
        let excess = Excess { round: 2, bandwidth_mb_s: 9_000, share_ppm: 1_234_000 };
        let said = Sighting::Excess(excess).to_string();
        assert_eq!(said, "round 2: 123.4 % of memory, 9000 MB/s in its class");
    }
}
