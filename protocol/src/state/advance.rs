//! What time and randomness change at the end of every block: draws, deadlines, verdicts.

use super::{ClaimState, Phase, State};
use crate::draw;
use crate::gates::Evidence;
use crate::ids::ClaimId;
use crate::standing::{Occasion, Rule};
use crate::verdict::{Outcome, Verdict, decide};
use std::sync::Arc;

/// Blocks between docketing and the beacon that is used for it.
pub(crate) const BEACON_DELAY: u64 = 2;

impl State {
    /// Moves every open claim on to the block at `height` and `time_ms`, whose beacon is set.
    pub(crate) fn advance(&mut self, height: u64, time_ms: u64) {
        self.drop_lapsed_vouches(height);
        for id in self.docket.clone() {
            let Some(claim) = self.claims.get(&id) else { continue };
            let mut claim = ClaimState::clone(claim);
            if claim.beacon.is_none() && height >= claim.docketed_at + BEACON_DELAY {
                claim.beacon = Some(self.beacon);
            }
            match claim.phase {
                Phase::Docketed => self.draw_committee(&mut claim, time_ms),
                Phase::Sealing { .. } => self.advance_sealing(&mut claim, height, time_ms),
                Phase::Revealing { until_ms } => {
                    let all = claim.seals.keys().all(|seat| claim.reveals.contains_key(seat));
                    if all || time_ms >= until_ms {
                        self.settle(&mut claim, height);
                    }
                }
                Phase::Settled => {}
            }
            self.claims.insert(id, Arc::new(claim));
        }
        let open = |id: &ClaimId| self.claims.get(id).is_some_and(|claim| claim.is_open());
        self.docket = self.docket.iter().copied().filter(open).collect();
    }

    fn draw_committee(&self, claim: &mut ClaimState, time_ms: u64) {
        let Some(beacon) = claim.beacon else { return };
        let rules = &self.genesis.committee;
        let measured = self.docket().filter(|open| open.phase != Phase::Docketed).count();
        if measured >= usize::try_from(rules.measuring_max).unwrap_or(usize::MAX) {
            return;
        }
        let seats = usize::try_from(rules.seats).unwrap_or(usize::MAX);
        let reserves = usize::try_from(rules.reserves).unwrap_or(usize::MAX);
        let candidates = self.candidates(claim.author);
        claim.committee = draw::committee(beacon, claim.id, &candidates, seats, reserves);
        claim.phase = Phase::Sealing {
            reserves_at_ms: time_ms.saturating_add(rules.seal_ms / 2),
            until_ms: time_ms.saturating_add(rules.seal_ms),
        };
    }

    fn advance_sealing(&mut self, claim: &mut ClaimState, height: u64, time_ms: u64) {
        let Phase::Sealing { reserves_at_ms, until_ms } = claim.phase else { return };
        let rules = &self.genesis.committee;
        let seats = claim.committee.seats.len();
        let quorum = usize::try_from(rules.quorum).unwrap_or(usize::MAX);
        let overdue = time_ms >= until_ms;
        if claim.seals.len() >= seats || (overdue && claim.seals.len() >= quorum) {
            claim.phase = Phase::Revealing { until_ms: time_ms.saturating_add(rules.reveal_ms) };
        } else if overdue {
            self.settle(claim, height);
        } else if time_ms >= reserves_at_ms && claim.reserves_called == 0 {
            let silent = seats - claim.seals.len().min(seats);
            claim.reserves_called = silent.min(claim.committee.reserves.len());
        }
    }

    fn settle(&mut self, claim: &mut ClaimState, height: u64) {
        let verdict = self.verdict(claim);
        // A seat is credited for showing its measurement and charged for a promise not kept; when
        // nobody settled anything, the network and not the seat may be at fault.
        let occasion = Occasion { height, claim: Some(claim.id), round: None };
        for seat in claim.active_seats().collect::<Vec<_>>() {
            if claim.reveals.contains_key(&seat) {
                self.book(seat, Rule::InRange, occasion);
            } else if verdict.outcome != Outcome::Inconclusive {
                self.book(seat, Rule::NoShow, occasion);
            }
        }
        claim.verdict = Some(verdict);
        claim.settled_at = Some(height);
        claim.phase = Phase::Settled;
        self.remember("settled", claim);
    }

    /// The verdict on a claim's revealed measurements, computed afresh from the raw data.
    #[must_use]
    pub fn verdict(&self, claim: &ClaimState) -> Verdict {
        let plans: Vec<_> = claim
            .reveals
            .iter()
            .filter_map(|(seat, measurement)| {
                self.plan(claim, *seat).map(|plan| (*seat, plan, measurement))
            })
            .collect();
        let evidence: Vec<_> = plans
            .iter()
            .map(|(seat, plan, measurement)| (*seat, Evidence { plan, measurement }))
            .collect();
        decide(&self.genesis, &evidence)
    }
}
