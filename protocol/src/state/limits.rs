//! Limits: bounds that somebody holds to be as far as a class of machines goes, until an entry goes
//! further.
//!
//! Nobody rules on a limit and nobody pays for one. Whether it holds follows from the entries alone, so
//! that an entry which goes beyond it debunks it by itself, and a limit whose entry is debunked in turn
//! holds again.

use super::posts::in_excess;
use super::{ClaimState, State};
use crate::gates::Evidence;
use crate::ids::{PeerId, RecordId};
use crate::post::{Bound, Quantity};
use crate::record::Record;
use serde::Serialize;
use std::sync::Arc;

/// Limits of one author that the ledger keeps; a further one drives out the oldest.
pub const LIMITS_PER_AUTHOR_MAX: usize = 32;

/// A limit on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitState {
    /// Its record.
    pub id: RecordId,
    /// Who set it.
    pub author: PeerId,
    /// Height of the block that ordered it.
    pub height: u64,
    /// What it bounds.
    pub bound: Bound,
}

impl State {
    /// A limit on the ledger.
    #[must_use]
    pub fn limit(&self, id: RecordId) -> Option<&LimitState> {
        self.limits.get(&id).map(AsRef::as_ref)
    }

    /// All limits, by record.
    pub fn limits(&self) -> impl Iterator<Item = &LimitState> {
        self.limits.values().map(AsRef::as_ref)
    }

    /// Tokens a second that the class decodes an entry with, in thousandths: the lower median over the
    /// seats of the deciding round that are of the claim's class. `None` where none of them is.
    #[must_use]
    pub fn decode_speed_mtps(&self, claim: &ClaimState) -> Option<u64> {
        let round = claim.deciding()?;
        let class = claim.speed_class(round);
        let timed = round.reveals.iter().filter(|(_, found)| class.fits(&found.environment));
        let speed = |plan: &_, measurement: &_| {
            let seat = Evidence { plan, measurement };
            let tokens = u128::from(seat.child().decoded_tokens).saturating_mul(1_000_000_000_000);
            let time_ns: u128 = seat.times_ns(true).map(u128::from).sum();
            u64::try_from(tokens.checked_div(time_ns)?).ok()
        };
        let mut speeds: Vec<u64> = timed
            .filter_map(|(seat, measurement)| speed(&self.plan(claim, round, *seat)?, measurement))
            .collect();
        speeds.sort_unstable();
        speeds.get(speeds.len().checked_sub(1)? / 2).copied()
    }

    /// How far an entry goes in what a limit bounds; `None` for what the limit says nothing about, and
    /// for what no independent committee confirmed or was refuted since.
    #[must_use]
    pub fn reach(&self, bound: &Bound, claim: &ClaimState) -> Option<u64> {
        let named = bound.checkpoint.is_none_or(|named| named == claim.recipe.checkpoint);
        if !(named && bound.hardware_class == claim.hardware_class) {
            return None;
        }
        if !(claim.stands() && claim.is_confirmed()) {
            return None;
        }
        match bound.quantity {
            Quantity::RatioToBase => claim.ratio_to_base_ppm,
            Quantity::DecodeSpeed => self.decode_speed_mtps(claim),
        }
    }

    /// The first of the entries that goes beyond a bound by more than a tie (η). The limit is debunked
    /// while there is one.
    #[must_use]
    pub fn debunked_by(&self, bound: &Bound) -> Option<&ClaimState> {
        let eta_ppm = self.parameters().significance.eta_ppm;
        let breaks = |claim: &&ClaimState| {
            self.reach(bound, claim).is_some_and(|value| bound.is_broken_by(value, eta_ppm))
        };
        self.entries().find(breaks)
    }

    pub(super) fn note_limit(&mut self, record: &Record, bound: &Bound, height: u64) {
        let (id, author) = (record.id, record.author);
        let own = self.limits().filter(|limit| limit.author == author);
        let own = own.map(|limit| (limit.height, limit.id)).collect();
        let limits = Arc::make_mut(&mut self.limits);
        for oldest in in_excess(own, LIMITS_PER_AUTHOR_MAX) {
            limits.remove(&oldest);
        }
        limits.insert(id, Arc::new(LimitState { id, author, height, bound: bound.clone() }));
        self.note(&[b"limit", &id.0, &height.to_le_bytes()]);
    }
}
