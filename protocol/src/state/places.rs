//! Measuring places: who gets the next one, and what a claim will cost before it is made.

use super::{ClaimState, Phase, Purpose, Round, State};
use crate::calibration::{Calibration, Effort};
use crate::draw;
use crate::fair::Waiting;
use crate::gates::Evidence;
use crate::genesis::Quorum;
use crate::ids::{ClaimId, PeerId, RoundId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What measuring a claim will take, from what its lineage took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Seats of the first committee.
    pub seats: u32,
    /// Pairs a seat.
    pub pairs: u32,
    /// Timed tokens that one seat decodes, both arms together.
    pub tokens: u64,
    /// Time a token, as last measured along the lineage; none where nothing was measured yet.
    pub token_ns: Option<u64>,
    /// Timed decoding of all seats together.
    pub total_ns: Option<u64>,
}

impl State {
    /// What the first committee of a claim on `parent` about a hardware class will spend on timed
    /// decoding, with the noise of that class as it is known; without a class, as for one of which
    /// nothing is known. Loading, prompts and quality come on top.
    #[must_use]
    pub fn estimated_cost(&self, parent: ClaimId, class: Option<&str>) -> Cost {
        let Effort { size: Quorum { seats, .. }, pairs } = match class {
            Some(class) => self.planned_effort(class),
            None => self.effort(&Calibration::default(), self.parameters().committee.first(), 0),
        };
        let per_arm =
            u64::from(pairs).saturating_mul(self.parameters().measurement.decode_tokens.into());
        let tokens = per_arm.saturating_mul(2);
        let token_ns = self.last_token_ns(parent);
        let all = tokens.saturating_mul(seats.into());
        let total_ns = token_ns.map(|ns| ns.saturating_mul(all));
        Cost { seats, pairs, tokens, token_ns, total_ns }
    }

    /// Seats and pairs that the first committee of a claim about a class would have, the author's
    /// operator apart.
    #[must_use]
    pub fn planned_effort(&self, class: &str) -> Effort {
        let operators = self.operators_of_class(class).len().saturating_sub(1);
        let known = self.classes.calibration(class);
        self.effort(&known, self.parameters().committee.first(), operators)
    }

    /// Mean time a token of a recipe: from its own deciding round, or for the base recipe from the
    /// latest entry measured against it.
    fn last_token_ns(&self, id: ClaimId) -> Option<u64> {
        if id != self.base_claim {
            let claim = self.claim(id)?;
            return self.token_ns(claim, claim.shown()?, true);
        }
        let latest_first = self.entries.iter().rev().filter_map(|id| self.claim(*id));
        let mut on_base = latest_first.filter(|claim| claim.parent == self.base_claim);
        on_base.find_map(|claim| self.token_ns(claim, claim.shown()?, false))
    }

    fn token_ns(&self, claim: &ClaimState, round: &Round, child: bool) -> Option<u64> {
        let (mut time_ns, mut tokens) = (0_u128, 0_u128);
        for (seat, measurement) in &round.reveals {
            let plan = self.plan(claim, round, *seat)?;
            let evidence = Evidence { plan: &plan, measurement };
            let arm = if child { evidence.child() } else { evidence.parent() };
            tokens += u128::from(arm.decoded_tokens);
            time_ns += evidence.times_ns(child).map(u128::from).sum::<u128>();
        }
        time_ns.checked_div(tokens).and_then(|ns| u64::try_from(ns).ok())
    }

    /// Whose share of the committees' time a round is taken from.
    fn payer(&self, claim: &ClaimState, round: &Round) -> Option<&str> {
        let payer = match round.purpose {
            Purpose::First | Purpose::Frontier => claim.author,
            Purpose::Challenge { by, .. } => by,
            Purpose::Audit => return None,
        };
        self.operator(payer)
    }

    /// Who runs a peer.
    pub(super) fn operator(&self, peer: PeerId) -> Option<&str> {
        self.members.get(&peer).map(|member| member.operator.as_str())
    }

    /// Calls waiting rounds while there are free places, and draws the committees of those whose beacon
    /// is known.
    pub(super) fn fill_places(&mut self, height: u64, time_ms: u64) {
        let places =
            usize::try_from(self.parameters().committee.measuring_max).unwrap_or(usize::MAX);
        while self.open_rounds().filter(|(_, round)| round.called_at.is_some()).count() < places {
            let Some(id) = self.next_waiting() else { break };
            self.call(id, height);
        }
        let drawable = self.open_rounds().filter(|(_, round)| {
            round.phase == Phase::Docketed && round.called_at.is_some() && round.beacon.is_some()
        });
        let drawable: Vec<RoundId> = drawable.map(|(claim, round)| round.id(claim.id)).collect();
        for id in drawable {
            self.seat(id, time_ms);
        }
    }

    /// Fixes what a round is drawn from, now that its turn has come.
    fn call(&mut self, id: RoundId, height: u64) {
        let Some((claim, round)) = self.round(id) else { return };
        // Neither side of a dispute sits on it.
        let mut excluded = vec![claim.author];
        if let Purpose::Challenge { by, .. } = round.purpose {
            excluded.push(by);
        }
        let candidates = self.candidates(claim, &excluded);
        let newcomers = self.newcomers(claim, round);
        let calibration = self.classes.calibration(&claim.hardware_class);
        // Seats beyond those of the class would raise a quorum that the class cannot fill.
        let of_class = candidates.iter().filter(|c| self.may_time(c.peer, &claim.hardware_class));
        let operators: BTreeSet<&str> = of_class.map(|c| c.operator.as_str()).collect();
        let least = self.smallest(claim, round.purpose);
        let effort = self.effort(&calibration, least, operators.len());
        let payer = self.payer(claim, round).map(str::to_owned);
        self.shares.started(payer.as_deref());
        self.change_round(id, |round| {
            round.called_at = Some(height);
            round.candidates = candidates;
            round.newcomers = newcomers;
            round.size = Some(effort.size);
            round.pairs = effort.pairs;
            round.calibration = calibration;
        });
    }

    /// Draws a called round's committee, which begins to measure.
    fn seat(&mut self, id: RoundId, time_ms: u64) {
        let Some((claim, round)) = self.round(id) else { return };
        let Some(beacon) = round.beacon else { return };
        let rules = &self.parameters_of(round).committee;
        let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let seats = count(self.quorum(claim, round).seats);
        let committee =
            draw::committee(beacon, id, &round.candidates, seats, count(rules.reserves));
        let shadows = round.draw_shadows(id, beacon, &committee);
        let phase = Phase::Sealing {
            reserves_at_ms: time_ms.saturating_add(rules.seal_ms / 2),
            until_ms: time_ms.saturating_add(rules.seal_ms),
        };
        self.change_round(id, |round| {
            (round.candidates, round.newcomers) = (Vec::new(), Vec::new());
            (round.committee, round.shadows) = (committee, shadows);
            round.drawn_at_ms = Some(time_ms);
            round.phase = phase;
        });
    }

    /// The waiting round whose turn it is.
    fn next_waiting(&self) -> Option<RoundId> {
        let called = self.open_rounds().filter(|(_, round)| round.called_at.is_some());
        let mut being_measured: BTreeMap<&str, usize> = BTreeMap::new();
        for payer in called.filter_map(|(claim, round)| self.payer(claim, round)) {
            *being_measured.entry(payer).or_default() += 1;
        }
        let ready = self.open_rounds().filter(|(_, round)| round.called_at.is_none());
        let (ids, waiting): (Vec<RoundId>, Vec<Waiting<'_>>) = ready
            .map(|(claim, round)| {
                let payer = self.payer(claim, round);
                let of_payer = payer.and_then(|operator| being_measured.get(operator));
                let in_flight = of_payer.copied().unwrap_or(0);
                (round.id(claim.id), Waiting { payer, in_flight })
            })
            .unzip();
        self.shares.next(&waiting).and_then(|index| ids.get(index)).copied()
    }

    /// Charges a settled round to whoever it was held for: the time that its place was taken, for
    /// every seat.
    pub(super) fn charge_time(&mut self, id: RoundId, time_ms: u64) {
        let Some((claim, round)) = self.round(id) else { return };
        let Some(drawn_at_ms) = round.drawn_at_ms else { return };
        let seats = round.committee.seats.len() as u64;
        let seat_ms = time_ms.saturating_sub(drawn_at_ms).saturating_mul(seats);
        let payer = self.payer(claim, round).map(str::to_owned);
        self.shares.ended(payer.as_deref(), seat_ms);
    }
}
