//! What a settled round does to the standing of those who had a part in it.

use super::State;
use crate::gates::Evidence;
use crate::ids::{PeerId, RoundId};
use crate::standing::{Occasion, Rule, SeatFit, fit};
use crate::verdict::Outcome;

impl State {
    /// How each measurement of a round by a machine of the claim's class lies among the others, by seat:
    /// another class has another ratio. Empty without a quorum, because there is then no range to lie
    /// in.
    #[must_use]
    pub fn seat_fits(&self, id: RoundId) -> Vec<(PeerId, SeatFit)> {
        let Some((claim, round)) = self.round(id) else { return Vec::new() };
        let quorum = usize::try_from(self.quorum(claim, round).quorum).unwrap_or(usize::MAX);
        let class = claim.speed_class(round);
        let seats: Vec<(PeerId, Vec<f64>)> = round
            .reveals
            .iter()
            .filter(|(_, measurement)| class.fits(&measurement.environment))
            .filter_map(|(seat, measurement)| {
                let plan = self.plan(claim, round, *seat)?;
                Some((*seat, Evidence { plan: &plan, measurement }.log_ratios()))
            })
            .collect();
        if seats.len() < quorum {
            return Vec::new();
        }
        fit(class.calibration.between(&self.genesis.significance).tau, &seats)
    }

    /// Credits a round's seats for measuring what the others measured, and charges them for what
    /// lies further off than noise explains and for promises not kept. When nobody decided
    /// anything, the network and not the seat may be at fault.
    pub(super) fn account_for_seats(&mut self, id: RoundId) {
        let Some((_, round)) = self.round(id) else { return };
        if round.outcome().is_none_or(|outcome| outcome == Outcome::Inconclusive) {
            return;
        }
        let mut events: Vec<(PeerId, Rule)> = self
            .seat_fits(id)
            .into_iter()
            .map(|(seat, fit)| (seat, if fit.in_range { Rule::InRange } else { Rule::Outlier }))
            .collect();
        let silent = round.active_seats().filter(|seat| !round.reveals.contains_key(seat));
        events.extend(silent.map(|seat| (seat, Rule::NoShow)));
        for (peer, rule) in events {
            self.book_for(peer, rule, id);
        }
    }

    /// Books an event that a round gave occasion to.
    pub(super) fn book_for(&mut self, peer: PeerId, rule: Rule, id: RoundId) {
        let occasion =
            Occasion { height: self.height, claim: Some(id.claim), round: Some(id.number) };
        self.book(peer, rule, occasion);
    }
}
