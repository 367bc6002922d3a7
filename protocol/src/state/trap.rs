//! Null claims: recipes that are their parent's with other bytes, sealed as such by their author.
//! Nobody can tell them from other claims before they are opened, so that a seat which does not
//! measure, or copies what it expects, says of one some day that it is faster.

use super::{Round, State};
use crate::gates::{Evidence, Gate, PPM};
use crate::ids::{ClaimId, PeerId, RoundId};
use crate::measurement::Measurement;
use crate::plan::Plan;
use crate::standing::Rule;
use crate::verdict::gain_bounds;

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

    /// The seats that report a gain by themselves where the others found none.
    ///
    /// The author's word that there is none to be found is worth nothing by itself. A seat is caught
    /// only where the claim compares one checkpoint and drafter with themselves, where the committee as
    /// a whole found no gain, where it is in a minority, and where the interval of the seats that report
    /// none lies wholly below its own: a real gain that is only called null, or one that half of the
    /// machines show, catches nobody.
    #[allow(clippy::cast_precision_loss)]
    fn caught_in(&self, id: RoundId) -> Vec<PeerId> {
        let Some((claim, round)) = self.round(id) else { return Vec::new() };
        let same = self.recipe(claim.parent).is_some_and(|parent| {
            parent.checkpoint == claim.recipe.checkpoint && parent.drafter == claim.recipe.drafter
        });
        if !same || !found_no_gain(round) {
            return Vec::new();
        }
        let class = claim.speed_class(round);
        let timed: Vec<(PeerId, Plan, &Measurement)> = round
            .reveals
            .iter()
            .filter(|(_, measurement)| class.fits(&measurement.environment))
            .filter_map(|(seat, measured)| {
                Some((*seat, self.plan(claim, round, *seat)?, measured.as_ref()))
            })
            .collect();
        let rules = self.parameters_of(round);
        let threshold = libm::log1p(rules.significance.eta_ppm as f64 / PPM);
        let (mut reporting, mut others) = (Vec::new(), Vec::new());
        for (seat, plan, measurement) in &timed {
            let evidence = Evidence { plan, measurement };
            match gain_bounds(rules, &class, &[evidence]) {
                Some((low, _)) if low > threshold => reporting.push((*seat, low)),
                _ => others.push(evidence),
            }
        }
        let bounds = gain_bounds(rules, &class, &others);
        let (true, Some((_, high))) = (reporting.len() < others.len(), bounds) else {
            return Vec::new();
        };
        reporting.into_iter().filter(|(_, low)| *low > high).map(|(seat, _)| seat).collect()
    }
}

/// Whether a quorum measured and the speed gate found nothing.
fn found_no_gain(round: &Round) -> bool {
    let Some(verdict) = &round.verdict else { return false };
    verdict.outcome.has_speed()
        && verdict.gates.iter().any(|gate| gate.gate == Gate::Speed && !gate.pass)
}
