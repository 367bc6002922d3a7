//! Draws from a beacon: committees, prompts, orders. Integers only, the same on every machine.

use crate::ids::{Beacon, PeerId, RoundId, hasher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An endless stream of random integers from BLAKE3's extendable output.
pub struct Draw {
    reader: blake3::OutputReader,
}

impl Draw {
    /// A stream named by a domain and the values it depends on.
    #[must_use]
    pub fn new(domain: &'static str, parts: &[&[u8]]) -> Self {
        Self { reader: hasher(domain, parts).finalize_xof() }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.reader.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, each equally likely; 0 when `bound` is 0. Values from the
    /// incomplete last interval are thrown away, so that no residue is favoured.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let value = self.next_u64();
            if value < limit {
                return value % bound;
            }
        }
    }

    /// `count` different numbers below `bound`, in the order drawn; all of them when there are
    /// fewer.
    pub fn distinct(&mut self, count: usize, bound: u64) -> Vec<u64> {
        let count = count.min(usize::try_from(bound).unwrap_or(usize::MAX));
        let mut seen = BTreeSet::new();
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let value = self.below(bound);
            if seen.insert(value) {
                drawn.push(value);
            }
        }
        drawn
    }
}

/// Someone who may be drawn for a seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The peer.
    pub peer: PeerId,
    /// Who runs it.
    pub operator: String,
    /// Its weight: standing, at least 1.
    pub weight: u64,
    /// Candidates of a higher tier are drawn when none of a lower one is left.
    pub tier: u8,
}

/// The peers drawn for one round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committee {
    /// Those who measure, in the order drawn.
    pub seats: Vec<PeerId>,
    /// Those who step in, in the order they are called.
    pub reserves: Vec<PeerId>,
}

/// Draws seats and reserves: weighted by standing, without replacement, one peer per operator, and
/// tier by tier.
///
/// The candidates must come in the order of their ids, so that everyone walks the same list.
#[must_use]
pub fn committee(
    beacon: Beacon,
    round: RoundId,
    candidates: &[Candidate],
    seats: usize,
    reserves: usize,
) -> Committee {
    let draw = Draw::new("assay committee draw v2", &[&beacon.0, &round.to_bytes()]);
    self::seats(draw, candidates, seats, reserves)
}

/// Draws seats and reserves as [`committee`] does, from a stream of the caller's.
#[must_use]
pub fn seats(mut draw: Draw, candidates: &[Candidate], seats: usize, reserves: usize) -> Committee {
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    let mut drawn = Vec::new();
    while drawn.len() < seats.saturating_add(reserves) {
        let Some(tier) = left.iter().map(|candidate| candidate.tier).min() else { break };
        let eligible = || left.iter().filter(|candidate| candidate.tier == tier);
        let total: u64 = eligible().map(|c| c.weight.max(1)).sum();
        let mut ticket = draw.below(total);
        let chosen = eligible().find(|candidate| {
            let weight = candidate.weight.max(1);
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        let Some(chosen) = chosen.copied() else { break };
        drawn.push(chosen.peer);
        left.retain(|candidate| candidate.operator != chosen.operator);
    }
    let reserves = drawn.split_off(seats.min(drawn.len()));
    Committee { seats: drawn, reserves }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClaimId;

    const ROUND: RoundId = RoundId { claim: ClaimId([2; 32]), number: 1 };

    fn candidates(weights: &[u64]) -> Vec<Candidate> {
        (0_u8..)
            .zip(weights)
            .map(|(i, &weight)| Candidate {
                peer: PeerId([i; 32]),
                operator: format!("operator {i}"),
                weight,
                tier: 0,
            })
            .collect()
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut draw = Draw::new("test", &[b"even"]);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[usize::try_from(draw.below(7)).unwrap()] += 1;
        }
        // Six standard deviations of a binomial with p = 1/7 are about 556.
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 560), "{counts:?}");
        assert_eq!(draw.below(0), 0);
        assert_eq!(draw.below(1), 0);
    }

    #[test]
    fn distinct_numbers_are_distinct() {
        let mut draw = Draw::new("test", &[b"distinct"]);
        let mut all = draw.distinct(10, 10);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(draw.distinct(5, 3).len(), 3);
        assert!(draw.distinct(5, 0).is_empty());
    }

    #[test]
    fn an_operator_gets_one_seat() {
        let mut list = candidates(&[1; 6]);
        for candidate in &mut list[2..] {
            candidate.operator = "same".to_owned();
        }
        let drawn = committee(Beacon([1; 32]), ROUND, &list, 4, 4);
        assert_eq!(drawn.seats.len() + drawn.reserves.len(), 3);
    }

    #[test]
    fn higher_tiers_come_last() {
        let mut list = candidates(&[1, 1, 1, 1, 1]);
        for candidate in &mut list[..2] {
            candidate.tier = 1;
            candidate.weight = 1_000_000;
        }
        let fresh = |peer: &PeerId| peer.0[0] >= 2;
        for number in 1..20 {
            let round = RoundId { number, ..ROUND };
            let drawn = committee(Beacon([1; 32]), round, &list, 4, 1);
            assert!(drawn.seats[..3].iter().all(fresh) && !fresh(&drawn.seats[3]));
            assert!(!fresh(&drawn.reserves[0]));
        }
    }

    #[test]
    fn standing_weighs() {
        let list = candidates(&[1, 1, 8]);
        let first = (0..2_000_u32)
            .filter(|i| {
                let beacon = Beacon(crate::ids::hash_parts("t", &[&i.to_le_bytes()]));
                committee(beacon, ROUND, &list, 1, 0).seats == [PeerId([2; 32])]
            })
            .count();
        // p = 0.8 over 2000 draws: 1600 with a standard deviation of 18.
        assert!(first.abs_diff(1_600) < 110, "{first}");
    }
}
