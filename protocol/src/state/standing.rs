//! What a settled round does to the standing of those who had a part in it.

use super::{Finding, State};
use crate::gates::Evidence;
use crate::ids::{PeerId, RoundId};
use crate::standing::{Middle, Occasion, Rule, SeatFit};
use crate::verdict::Outcome;

impl State {
    /// How each measurement of a round by a machine of the claim's class lies among the others, by seat:
    /// another class has another ratio. Empty without a quorum, because there is then no range to lie
    /// in.
    #[must_use]
    pub fn seat_fits(&self, id: RoundId) -> Vec<(PeerId, SeatFit)> {
        let seats = self.timed_logs(id);
        let Some(middle) = self.middle_of(id, &seats) else { return Vec::new() };
        let fits = seats.into_iter();
        fits.filter_map(|(seat, logs)| Some((seat, middle.place(&logs)?))).collect()
    }

    /// What the seats and newcomers of a round are held against, from what [`State::timed_logs`] has of its
    /// seats; `None` without a quorum.
    pub(super) fn middle_of(&self, id: RoundId, seats: &[(PeerId, Vec<f64>)]) -> Option<Middle> {
        let (claim, round) = self.round(id)?;
        let quorum = usize::try_from(self.quorum(claim, round).quorum).unwrap_or(usize::MAX);
        let logs = seats.iter().map(|(_, logs)| logs.as_slice());
        let middle = Middle::of(&round.calibration, &self.parameters_of(round).significance, logs);
        middle.filter(|_| seats.len() >= quorum)
    }

    /// Log ratios of the seats of a round whose machines are of the claim's class.
    pub(super) fn timed_logs(&self, id: RoundId) -> Vec<(PeerId, Vec<f64>)> {
        let Some((claim, round)) = self.round(id) else { return Vec::new() };
        let class = claim.speed_class(round);
        let timed = round
            .reveals
            .iter()
            .filter(|(_, measurement)| class.fits(&measurement.environment))
            .filter_map(|(seat, measurement)| {
                let plan = self.plan(claim, round, *seat)?;
                Some((*seat, Evidence { plan: &plan, measurement }.log_ratios()))
            });
        timed.collect()
    }

    /// Credits a round's seats for measuring what the others measured, and charges them for what
    /// lies further off than noise explains and for promises not kept. When nobody decided
    /// anything, the network may be at fault and not the seats, unless others did show what they
    /// sealed.
    pub(super) fn account_for_seats(&mut self, id: RoundId) {
        let Some((_, round)) = self.round(id) else { return };
        if round.outcome().is_none_or(|outcome| outcome == Outcome::Inconclusive) {
            // Whoever sealed and then kept back what others showed stalled the round.
            let kept_back = round.seals.keys().filter(|seat| !round.reveals.contains_key(seat));
            let kept_back: Vec<PeerId> = kept_back.copied().collect();
            if !round.reveals.is_empty() {
                kept_back.into_iter().for_each(|seat| self.book_for(seat, Rule::NoShow, id));
            }
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

    /// Charges the seats whose exact counts another quorum did not bear out, when a round says that the
    /// claim holds: those that dissented in it, and in the contested round right before it. Seats on
    /// machines of another class are left alone: kernels may break there and nowhere else.
    pub(super) fn account_for_dissent(&mut self, id: RoundId) {
        let Some((claim, round)) = self.round(id) else { return };
        let Some(verdict) = &round.verdict else { return };
        let holds = match claim.is_entry() {
            true => Self::finding(claim, verdict) == Finding::Upheld,
            false => matches!(verdict.outcome, Outcome::Accepted | Outcome::Pending),
        };
        if !holds || verdict.outcome == Outcome::Contested {
            return;
        }
        let wrong: Vec<(PeerId, RoundId)> = [claim.contested_right_before(round), Some(round)]
            .into_iter()
            .flatten()
            .flat_map(|round| {
                let class = claim.speed_class(round);
                let of_class = move |seat: &PeerId| {
                    let measurement = round.reveals.get(seat);
                    measurement.is_some_and(|found| class.fits(&found.environment))
                };
                let dissent = round.verdict.iter().flat_map(|verdict| &verdict.dissent);
                let exact = dissent.filter(|dissent| dissent.is_exact()).map(|found| found.seat);
                exact.filter(of_class).map(|seat| (seat, round.id(id.claim)))
            })
            .collect();
        for (seat, round) in wrong {
            self.book_for(seat, Rule::Contradicted, round);
        }
    }

    /// Books an event that a round gave occasion to.
    pub(super) fn book_for(&mut self, peer: PeerId, rule: Rule, id: RoundId) {
        let occasion =
            Occasion { height: self.height, claim: Some(id.claim), round: Some(id.number) };
        self.book(peer, rule, occasion);
    }
}
