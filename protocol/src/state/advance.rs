//! What time and randomness change at the end of every block: draws, deadlines, verdicts.

use super::{
    ClaimState, FRONTIER_ROUNDS_MAX, Finding, PENDING_ROUNDS_MAX, Phase, Purpose, Round, State,
};
use crate::dissent::{Committee, weigh};
use crate::gates::Evidence;
use crate::ids::{ClaimId, PeerId, RoundId};
use crate::measurement::Measurement;
use crate::plan::Plan;
use crate::verdict::{Outcome, Verdict};
use std::sync::Arc;

/// Blocks between calling a round and the beacon that is used for it.
pub(crate) const BEACON_DELAY: u64 = 2;

/// What a deadline or a complete set of answers does to a round.
enum Move {
    /// The silent seats' places go to this many reserves.
    CallReserves(usize),
    /// Seats that sealed show their measurements.
    Reveal,
    /// The verdict is due.
    Settle,
}

/// What a round's verdict means for its claim.
enum Step {
    /// The round was contested: an independent committee measures for the same purpose.
    Again(Purpose),
    /// An independent committee measures again, and its number counts.
    Confirm,
    /// The claim waits until its hardware class has a quorum of members.
    Wait,
    /// The claim becomes an entry by the verdict of this round.
    Enter(u32),
    /// The entry's number is this round's from here on.
    Promote(u32),
    /// The entry is upheld or refuted.
    Conclude,
}

impl State {
    /// Moves every open round on to the block at `height` and `time_ms`, whose beacon is set.
    pub(crate) fn advance(&mut self, height: u64, time_ms: u64) {
        self.settled.clear();
        self.drop_lapsed_vouches(height);
        let waiting = self.docket.clone();
        for id in waiting {
            self.fix_beacon(id, height);
            match self.next_move(id, time_ms) {
                None => {}
                Some(Move::CallReserves(count)) => {
                    self.change_open_round(id, |round| round.reserves_called = count);
                }
                Some(Move::Reveal) => {
                    let open = self.claim(id).and_then(ClaimState::open_round);
                    let rules = open.map_or_else(|| self.parameters(), |r| self.parameters_of(r));
                    let until_ms = time_ms.saturating_add(rules.committee.reveal_ms);
                    self.change_open_round(id, |round| round.phase = Phase::Revealing { until_ms });
                }
                Some(Move::Settle) => self.settle(id, height, time_ms),
            }
        }
        self.resume_pending(height);
        let open = |id: &ClaimId| self.claim(*id).is_some_and(ClaimState::is_open);
        self.docket = self.docket.iter().copied().filter(open).collect();
        for id in self.entered_at(height) {
            self.draw_audit(id, height);
        }
        self.fill_places(height, time_ms);
        self.advance_rulings(height, time_ms);
        self.advance_proposals(height, time_ms);
    }

    /// The claims that the block at `height` made entries.
    fn entered_at(&self, height: u64) -> Vec<ClaimId> {
        let entered = |claim: &&ClaimState| claim.settled_at == Some(height);
        self.settled
            .iter()
            .filter_map(|id| self.claim(id.claim))
            .filter(entered)
            .map(|c| c.id)
            .collect()
    }

    fn change_open_round(&mut self, id: ClaimId, change: impl FnOnce(&mut Round)) {
        if let Some(round) = self.claim(id).and_then(ClaimState::open_round_id) {
            self.change_round(round, change);
        }
    }

    fn fix_beacon(&mut self, id: ClaimId, height: u64) {
        let beacon = self.beacon;
        let waits = self.claim(id).and_then(ClaimState::open_round).is_some_and(|round| {
            let called = round.called_at.map(|at| at.saturating_add(BEACON_DELAY));
            round.beacon.is_none() && called.is_some_and(|due| height >= due)
        });
        if waits {
            self.change_open_round(id, |round| round.beacon = Some(beacon));
        }
    }

    fn next_move(&self, id: ClaimId, time_ms: u64) -> Option<Move> {
        let claim = self.claim(id)?;
        let round = claim.open_round()?;
        match round.phase {
            Phase::Docketed | Phase::Settled => None,
            Phase::Sealing { reserves_at_ms, until_ms } => {
                let (sealed, seats) = (round.seals.len(), round.committee.seats.len());
                let quorum = self.quorum(claim, round).quorum;
                let quorum = usize::try_from(quorum).unwrap_or(usize::MAX);
                let overdue = time_ms >= until_ms;
                if sealed >= seats || (overdue && sealed >= quorum) {
                    Some(Move::Reveal)
                } else if overdue {
                    Some(Move::Settle)
                } else if time_ms >= reserves_at_ms && round.reserves_called == 0 {
                    let silent = seats - sealed.min(seats);
                    let reserves = round.committee.reserves.len();
                    (reserves > 0).then_some(Move::CallReserves(silent.min(reserves)))
                } else {
                    None
                }
            }
            Phase::Revealing { until_ms } => {
                (round.all_revealed() || time_ms >= until_ms).then_some(Move::Settle)
            }
        }
    }

    fn settle(&mut self, id: ClaimId, height: u64, time_ms: u64) {
        let Some((claim, round)) = self.claim(id).and_then(|c| Some((c, c.open_round()?))) else {
            return;
        };
        let (round_id, verdict) = (round.id(id), self.verdict(claim, round));
        self.change_open_round(id, |round| {
            round.verdict = Some(verdict);
            round.settled_at = Some(height);
            round.phase = Phase::Settled;
        });
        self.settled.push(round_id);
        self.learn_classes(round_id);
        self.charge_time(round_id, time_ms);
        self.account_for_seats(round_id);
        self.account_for_dissent(round_id);
        self.account_for_shadows(round_id);
        let step = self.next_step(round_id);
        match step {
            Step::Again(purpose) => self.open_round_of(id, purpose, height),
            Step::Confirm => self.open_round_of(id, Purpose::Frontier, height),
            Step::Wait => self.pending.push(id),
            Step::Enter(number) => self.enter(id, number, height),
            Step::Promote(number) => {
                self.promote(id, number);
                self.credit_cited(id);
            }
            Step::Conclude => {
                self.conclude_doubt(round_id, height);
                self.confirm_runner_up(height);
            }
        }
        self.remember("settled", id);
    }

    /// What a round's verdict means for its claim.
    fn next_step(&self, id: RoundId) -> Step {
        let Some((claim, round)) = self.round(id) else { return Step::Enter(id.number) };
        let Some(verdict) = &round.verdict else { return Step::Enter(id.number) };
        match (round.purpose, verdict.outcome) {
            (purpose, Outcome::Contested) => Step::Again(purpose),
            (Purpose::Frontier, Outcome::Accepted) if claim.is_entry() => Step::Promote(id.number),
            (Purpose::Frontier, _) if claim.is_entry() => Step::Conclude,
            (Purpose::First, Outcome::Accepted) if self.would_lead(claim, verdict) => Step::Confirm,
            (Purpose::First | Purpose::Frontier, Outcome::Pending)
                if Self::pending_rounds(claim) < PENDING_ROUNDS_MAX =>
            {
                Step::Wait
            }
            (Purpose::Frontier, Outcome::Inconclusive)
                if Self::frontier_rounds(claim) < FRONTIER_ROUNDS_MAX =>
            {
                Step::Confirm
            }
            // The first committee's word stays, unconfirmed: it cannot lead a track.
            (Purpose::Frontier, Outcome::Inconclusive | Outcome::Pending) => {
                Step::Enter(claim.first_word().unwrap_or(id.number))
            }
            (Purpose::Challenge { .. } | Purpose::Audit, _) => Step::Conclude,
            _ => Step::Enter(id.number),
        }
    }

    /// Opens another round for the claims that waited for their class and need wait no more, and enters
    /// those that waited an epoch for it as they are.
    fn resume_pending(&mut self, height: u64) {
        for id in std::mem::take(&mut self.pending) {
            let Some((claim, latest)) = self.claim(id).and_then(|c| Some((c, c.latest()?))) else {
                continue;
            };
            let since = latest.settled_at.unwrap_or(height);
            let patience = self.parameters().membership.epoch_blocks;
            let (purpose, number) = (latest.purpose, latest.number);
            if self.has_speed_quorum(claim) {
                self.open_round_of(id, purpose, height);
            } else if height >= since.saturating_add(patience) {
                self.enter(id, claim.first_word().unwrap_or(number), height);
                self.remember("class stayed short", id);
            } else {
                self.pending.push(id);
            }
        }
    }

    /// Opens the next round of a claim, behind all that wait already.
    pub(super) fn open_round_of(&mut self, id: ClaimId, purpose: Purpose, height: u64) {
        let Some(claim) = self.claims.get_mut(id) else { return };
        let Some(last) = claim.latest().map(|round| round.number) else { return };
        claim.rounds.push(Round::opened(last.saturating_add(1), purpose, height));
        self.docket.retain(|waiting| *waiting != id);
        self.docket.push(id);
    }

    /// Makes a claim an entry by the verdict of one of its rounds.
    fn enter(&mut self, id: ClaimId, decided_by: u32, height: u64) {
        let Some(claim) = self.claims.get_mut(id) else { return };
        claim.decided_by = Some(decided_by);
        claim.settled_at = Some(height);
        self.entries.push(id);
        self.note_confirmed(id);
        let ratio = self.claim(id).and_then(|claim| self.standing_of(claim));
        if let Some(claim) = self.claims.get_mut(id) {
            claim.ratio_to_base_ppm = ratio.map(|(_, point)| point.ratio_ppm);
        }
    }

    /// The verdict on a round's revealed measurements, computed afresh from the raw data.
    #[must_use]
    pub fn verdict(&self, claim: &ClaimState, round: &Round) -> Verdict {
        let revealed = self.revealed(claim, round);
        let evidence: Vec<_> = revealed
            .iter()
            .map(|(seat, plan, measurement)| (*seat, Evidence { plan, measurement }))
            .collect();
        let committee = Committee {
            genesis: self.parameters_of(round),
            size: self.quorum(claim, round),
            class: claim.speed_class(round),
        };
        let refutes = |verdict: &Verdict| Self::refutes(claim, verdict);
        weigh(&committee, &evidence, claim.contested_before(round), refutes)
    }

    /// What the seats of a round showed, each with what it had to measure, by rising key.
    pub(super) fn revealed<'a>(
        &self,
        claim: &ClaimState,
        round: &'a Round,
    ) -> Vec<(PeerId, Plan, &'a Measurement)> {
        let planned = |(seat, measurement): (&PeerId, &'a Arc<Measurement>)| {
            self.plan(claim, round, *seat).map(|plan| (*seat, plan, measurement.as_ref()))
        };
        round.reveals.iter().filter_map(planned).collect()
    }

    /// Whether a verdict stands against a claim: refutes it, or debunks it where it is an entry.
    fn refutes(claim: &ClaimState, verdict: &Verdict) -> bool {
        match claim.is_entry() {
            true => Self::finding(claim, verdict) == Finding::Debunked,
            false => verdict.outcome == Outcome::Refuted,
        }
    }
}
