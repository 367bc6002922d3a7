//! Measuring places: who gets the next one, and what a claim will cost before it is made.

use super::{ClaimState, Phase, Purpose, Round, State};
use crate::draw::{self, Committee};
use crate::fair::Waiting;
use crate::gates::Evidence;
use crate::ids::{ClaimId, PeerId, RoundId};
use serde::{Deserialize, Serialize};

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
    /// What the first committee of a claim on `parent` will spend on timed decoding. Loading,
    /// prompts and quality come on top.
    #[must_use]
    pub fn estimated_cost(&self, parent: ClaimId) -> Cost {
        let (seats, pairs) = (self.genesis.committee.seats, self.genesis.measurement.pairs);
        let per_arm =
            u64::from(pairs).saturating_mul(self.genesis.measurement.decode_tokens.into());
        let tokens = per_arm.saturating_mul(2);
        let token_ns = self.last_token_ns(parent);
        let all = tokens.saturating_mul(seats.into());
        let total_ns = token_ns.map(|ns| ns.saturating_mul(all));
        Cost { seats, pairs, tokens, token_ns, total_ns }
    }

    /// Mean time a token of a recipe: from its own deciding round, or for the base recipe from the
    /// latest entry measured against it.
    fn last_token_ns(&self, id: ClaimId) -> Option<u64> {
        if id != self.base_claim {
            let claim = self.claim(id)?;
            return self.token_ns(claim, claim.shown()?, true);
        }
        let on_base: Vec<&ClaimState> =
            self.entries().filter(|claim| claim.parent == self.base_claim).collect();
        on_base.into_iter().rev().find_map(|claim| self.token_ns(claim, claim.shown()?, false))
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

    /// Draws committees for waiting rounds while there are free places.
    pub(super) fn fill_places(&mut self, time_ms: u64) {
        let places = usize::try_from(self.genesis.committee.measuring_max).unwrap_or(usize::MAX);
        loop {
            let measured =
                self.open_rounds().filter(|(_, round)| round.phase != Phase::Docketed).count();
            if measured >= places {
                return;
            }
            let Some(id) = self.next_waiting() else { return };
            let committee = self.draw_committee(id).unwrap_or_default();
            let (pairs, calibration) = self.noise_of(id.claim);
            let rules = &self.genesis.committee;
            let phase = Phase::Sealing {
                reserves_at_ms: time_ms.saturating_add(rules.seal_ms / 2),
                until_ms: time_ms.saturating_add(rules.seal_ms),
            };
            let payer = self.round(id).and_then(|(claim, round)| self.payer(claim, round));
            let payer = payer.map(str::to_owned);
            self.shares.started(payer.as_deref());
            self.change_round(id, |round| {
                round.committee = committee;
                round.pairs = pairs;
                round.calibration = calibration;
                round.drawn_at_ms = Some(time_ms);
                round.phase = phase;
            });
            let shadows = self.round(id).map(|(claim, round)| self.draw_shadows(claim, round));
            self.change_round(id, |round| round.shadows = shadows.unwrap_or_default());
        }
    }

    /// The waiting round whose turn it is.
    fn next_waiting(&self) -> Option<RoundId> {
        let being_measured = |operator: &str| {
            let running = self.open_rounds().filter(|(claim, round)| {
                round.phase != Phase::Docketed && self.payer(claim, round) == Some(operator)
            });
            running.count()
        };
        let ready = self
            .open_rounds()
            .filter(|(_, round)| round.phase == Phase::Docketed && round.beacon.is_some());
        let (ids, waiting): (Vec<RoundId>, Vec<Waiting<'_>>) = ready
            .map(|(claim, round)| {
                let payer = self.payer(claim, round);
                let in_flight = payer.map_or(0, being_measured);
                (round.id(claim.id), Waiting { payer, in_flight })
            })
            .unzip();
        self.shares.next(&waiting).and_then(|index| ids.get(index)).copied()
    }

    fn draw_committee(&self, id: RoundId) -> Option<Committee> {
        let (claim, round) = self.round(id)?;
        let seats = usize::try_from(self.quorum(claim, round).seats).unwrap_or(usize::MAX);
        let reserves = self.genesis.committee.reserves;
        let reserves = usize::try_from(reserves).unwrap_or(usize::MAX);
        // Neither side of a dispute sits on it.
        let mut excluded = vec![claim.author];
        if let Purpose::Challenge { by, .. } = round.purpose {
            excluded.push(by);
        }
        let candidates = self.candidates(claim, &excluded);
        Some(draw::committee(round.beacon?, id, &candidates, seats, reserves))
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
