//! Null claims: recipes that are their parent's with other bytes, sealed as such by their author.
//! Nobody can tell them from other claims before they are opened, so that a seat which does not
//! measure, or copies what it expects, says of one some day that it is faster.

use super::{Round, State};
use crate::gates::{Evidence, Gate};
use crate::ids::{ClaimId, PeerId, RoundId};
use crate::standing::Rule;
use crate::verdict::reports_gain;

impl State {
    /// Notes in every round of an opened null claim which seats are caught.
    pub(super) fn spring_trap(&mut self, id: ClaimId) {
        let Some(claim) = self.claim(id) else { return };
        let rounds: Vec<RoundId> = claim.rounds.iter().map(|round| round.id(id)).collect();
        for round in rounds {
            let caught = self.caught_in(round);
            for seat in &caught {
                self.book_for(*seat, Rule::NullTrap, round);
            }
            self.change_round(round, |round| round.caught = caught);
        }
    }

    /// The seats that report a gain by themselves where the quorum found none.
    ///
    /// The quorum's word comes first: where it found a gain the author's word that there is none is
    /// worth nothing, so that nobody is caught by a claim that was only called null.
    fn caught_in(&self, id: RoundId) -> Vec<PeerId> {
        let Some((claim, round)) = self.round(id) else { return Vec::new() };
        if !found_no_gain(round) {
            return Vec::new();
        }
        let class = claim.speed_class(round);
        let reports = |(seat, measurement)| {
            let plan = self.plan(claim, round, seat)?;
            reports_gain(&self.genesis, &class, Evidence { plan: &plan, measurement })
                .then_some(seat)
        };
        let reveals = round.reveals.iter().map(|(seat, measurement)| (*seat, measurement));
        reveals.filter_map(reports).collect()
    }
}

/// Whether a quorum measured and the speed gate found nothing.
fn found_no_gain(round: &Round) -> bool {
    let Some(verdict) = &round.verdict else { return false };
    verdict.outcome.has_speed()
        && verdict.gates.iter().any(|gate| gate.gate == Gate::Speed && !gate.pass)
}
