//! What one seat measures in one round, drawn after the round was opened.

use crate::draw::Draw;
use crate::genesis::Genesis;
use crate::ids::{Beacon, PeerId, RoundId};
use crate::record::Recipe;
use serde::{Deserialize, Serialize};

/// The two sides of a comparison, as a seat sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The first label.
    X,
    /// The second label.
    Y,
}

/// A seat's measurement plan. The seat measures arms X and Y; which of them is the child was
/// decided by lot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The round.
    pub round: RoundId,
    /// The seat.
    pub seat: PeerId,
    /// Recipe under label X.
    pub x: Recipe,
    /// Recipe under label Y.
    pub y: Recipe,
    /// The label of the child.
    pub child: Arm,
    /// Prompts in the order measured, all different.
    pub prompts: Vec<u32>,
    /// Which arm goes first on each prompt: ABBA blocks, the first of each drawn by lot.
    pub first: Vec<Arm>,
    /// A further prompt for warm-up, decoded by both arms and not recorded.
    pub warm_up: u32,
    /// Seed of the random token ids of the reach probe.
    pub reach_seed: u64,
}

/// How much a seat had to look at.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The prompts drawn for it, in their order.
    pub prompts: &'a [u32],
    /// Tokens decoded a prompt and arm.
    pub decode_tokens: u32,
    /// Tokens scored a prompt and arm.
    pub scored_tokens: u32,
    /// Positions of the reach probe.
    pub reach_tokens: u32,
}

/// What a plan is drawn for.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Randomness fixed after the round was opened.
    pub beacon: Beacon,
    /// The round.
    pub round: RoundId,
    /// Pairs to measure.
    pub pairs: u32,
    /// Its parent's recipe.
    pub parent: Recipe,
    /// Its own recipe.
    pub child: Recipe,
}

/// Draws the plan of `seat`.
#[must_use]
pub fn plan(genesis: &Genesis, subject: &Subject, seat: PeerId) -> Plan {
    let parts: [&[u8]; 3] = [&subject.beacon.0, &subject.round.to_bytes(), &seat.0];
    let mut draw = Draw::new("assay seat plan v2", &parts);
    let pairs = usize::try_from(subject.pairs).unwrap_or(0);
    let pool = u64::from(genesis.challenge.pool.prompts);
    let mut prompts: Vec<u32> = draw
        .distinct(pairs.saturating_add(1), pool)
        .into_iter()
        .filter_map(|index| u32::try_from(index).ok())
        .collect();
    let warm_up = prompts.pop().unwrap_or(0);
    let child = if draw.below(2) == 0 { Arm::X } else { Arm::Y };
    let mut first = Vec::with_capacity(prompts.len());
    while first.len() < prompts.len() {
        let lead = if draw.below(2) == 0 { Arm::X } else { Arm::Y };
        first.extend([lead, lead.other()]);
    }
    first.truncate(prompts.len());
    let (x, y) = match child {
        Arm::X => (subject.child, subject.parent),
        Arm::Y => (subject.parent, subject.child),
    };
    let reach_seed = draw.next_u64();
    Plan { round: subject.round, seat, x, y, child, prompts, first, warm_up, reach_seed }
}

impl Arm {
    /// The other arm.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::X => Self::Y,
            Self::Y => Self::X,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::ids::ClaimId;
    use std::collections::BTreeSet;

    fn subject(beacon: u8) -> Subject {
        let genesis = fixtures::genesis();
        Subject {
            beacon: Beacon([beacon; 32]),
            round: RoundId { claim: ClaimId([2; 32]), number: 1 },
            pairs: genesis.measurement.pairs,
            parent: genesis.challenge.base,
            child: fixtures::child_recipe(1),
        }
    }

    #[test]
    fn prompts_differ_within_a_plan_and_between_seats_and_beacons() {
        let genesis = fixtures::genesis();
        let one = plan(&genesis, &subject(1), PeerId([1; 32]));
        assert_eq!(one, plan(&genesis, &subject(1), PeerId([1; 32])));
        let mut all: BTreeSet<u32> = one.prompts.iter().copied().collect();
        all.insert(one.warm_up);
        assert_eq!(all.len(), one.prompts.len() + 1);
        assert_ne!(one.prompts, plan(&genesis, &subject(1), PeerId([2; 32])).prompts);
        assert_ne!(one.prompts, plan(&genesis, &subject(2), PeerId([1; 32])).prompts);
        let mut later = subject(1);
        later.round.number = 2;
        assert_ne!(one.prompts, plan(&genesis, &later, PeerId([1; 32])).prompts);
    }

    #[test]
    fn each_arm_leads_half_of_the_pairs() {
        let genesis = fixtures::genesis();
        for beacon in 0..20 {
            let plan = plan(&genesis, &subject(beacon), PeerId([1; 32]));
            let leads = plan.first.iter().filter(|arm| **arm == Arm::X).count();
            assert_eq!(leads * 2, plan.first.len());
            assert!(plan.first.chunks(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn the_label_of_the_child_is_drawn() {
        let genesis = fixtures::genesis();
        let labels: BTreeSet<bool> =
            (0..20).map(|b| plan(&genesis, &subject(b), PeerId([1; 32])).child == Arm::X).collect();
        assert_eq!(labels.len(), 2);
    }
}
