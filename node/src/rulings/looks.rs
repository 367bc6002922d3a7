//! Which claims a node is to hold against which earlier ones, and when its turn is.
//!
//! A claim may be accepted before one that is older, and may be compared with it only once both are opened.
//! So a claim is not looked at once and for all, but again for every earlier one that comes to be comparable,
//! and for those whose files could not be had.

use super::flags::is_turn;
use assay_protocol::error::Reject;
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecordId};
use assay_protocol::ruling::{Charge, Offence};
use assay_protocol::state::{ClaimState, State};
use assay_protocol::verdict::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Entries, the latest, that are looked at.
const LATEST: usize = 64;
/// Earlier claims that one is held against, the latest before it.
const EARLIER_MAX: usize = 256;
/// Times that a claim is looked at again because files were missing.
const RETRIES_MAX: u32 = 4;
/// Time until the first of these; it doubles with each.
const RETRY_AFTER_MS: u64 = 60_000;

/// What one node looked at, and what it waits to look at.
#[derive(Debug)]
pub struct Looks {
    me: PeerId,
    /// The height up to which nothing is to be looked at.
    done_at: Option<u64>,
    /// Claims whose turn this node waits for, and since when in Unix milliseconds.
    ripe: BTreeMap<ClaimId, u64>,
    /// Claims that were looked at, with those that they were held against.
    looked: BTreeMap<ClaimId, BTreeSet<ClaimId>>,
    /// Claims that were to be looked at while files were missing.
    missed: BTreeMap<ClaimId, Missed>,
}

/// What is known of a claim that could not be compared with all that it was to be held against.
#[derive(Debug, Default)]
struct Missed {
    /// How often.
    times: u32,
    /// When it is looked at again, in Unix milliseconds.
    again_at_ms: u64,
}

impl Looks {
    /// A node that looked at nothing yet.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        let (ripe, looked, missed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { me, done_at: None, ripe, looked, missed }
    }

    /// Takes back that a claim was held against some earlier ones, because files were missing: it is looked
    /// at again after a while, but not for ever.
    pub fn missed(&mut self, claim: ClaimId, earlier: &[ClaimId], now_ms: u64) {
        if earlier.is_empty() {
            return;
        }
        let missed = self.missed.entry(claim).or_default();
        if missed.times == RETRIES_MAX {
            return;
        }
        missed.again_at_ms = now_ms.saturating_add(RETRY_AFTER_MS << missed.times);
        missed.times += 1;
        if let Some(held) = self.looked.get_mut(&claim) {
            held.retain(|id| !earlier.contains(id));
        }
        self.done_at = None;
    }

    /// The next claim that this node is to look at, and the earlier ones that it was not held against yet, the
    /// latest first. They count as looked at from here on.
    pub fn next(&mut self, state: &State, now_ms: u64) -> Option<(ClaimId, Vec<ClaimId>)> {
        if self.done_at == Some(state.height()) {
            return None;
        }
        let claims = ripe_claims(state, self.me);
        self.looked.retain(|id, _| claims.iter().any(|claim| claim.id == *id));
        self.missed.retain(|id, _| claims.iter().any(|claim| claim.id == *id));
        let accepted = accepted(state);
        let fresh = claims.into_iter().filter_map(|claim| {
            let held = self.looked.get(&claim.id);
            let mut earlier = earlier_among(state, &accepted, claim.id, self.me);
            earlier.retain(|id| held.is_none_or(|held| !held.contains(id)));
            (!earlier.is_empty()).then_some((claim, earlier))
        });
        let fresh: Vec<(&ClaimState, Vec<ClaimId>)> = fresh.collect();
        let since = |id: ClaimId| self.ripe.get(&id).copied().unwrap_or(now_ms);
        let ripe = fresh.iter().map(|(claim, _)| (claim.id, since(claim.id))).collect();
        self.ripe = ripe;
        self.done_at = fresh.is_empty().then_some(state.height());
        let (due, earlier) = fresh.into_iter().find(|(claim, _)| {
            let waited_ms =
                self.ripe.get(&claim.id).map_or(0, |since| now_ms.saturating_sub(*since));
            let again =
                self.missed.get(&claim.id).is_none_or(|missed| now_ms >= missed.again_at_ms);
            again && is_turn(state, RecordId(claim.id.0), claim.author, self.me, waited_ms)
        })?;
        self.ripe.remove(&due.id);
        self.looked.entry(due.id).or_default().extend(&earlier);
        Some((due.id, earlier))
    }
}

/// The charge that a claim repeats an earlier one.
pub(super) fn charge(claim: ClaimId, earlier: ClaimId) -> Charge {
    Charge {
        rule: Offence::Duplicate,
        subject: RecordId(claim.0),
        evidence: Some(BlobHash(earlier.0)),
        sighting: None,
    }
}

/// Whether a refusal may be over with the next epoch or ruling.
pub(super) fn is_passing(reject: &Reject) -> bool {
    matches!(reject, Reject::ChargesSpent { .. } | Reject::RulingsFull(_))
}

/// The accepted claims among the latest entries that may be compared with others and whose author did not
/// tell that they are copies, oldest first.
fn ripe_claims(state: &State, me: PeerId) -> Vec<&ClaimState> {
    let operator = |peer: PeerId| state.members().get(&peer).map(|member| &member.operator);
    let told = |claim: &ClaimState| state.is_self_disclosed(claim.id, state.height() + 1);
    let latest = state.entries().skip(state.entries().count().saturating_sub(LATEST));
    latest
        .filter(|claim| claim.stands() && state.is_comparable(claim))
        .filter(|claim| operator(claim.author) != operator(me) && !told(claim))
        .collect()
}

/// The claims that were accepted, in the order in which they were docketed.
fn accepted(state: &State) -> Vec<ClaimId> {
    let accepted = state.entries().filter(|entry| entry.outcome() == Some(Outcome::Accepted));
    let mut order: Vec<(u64, ClaimId)> =
        accepted.map(|entry| (entry.docketed_at, entry.id)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, id)| id).collect()
}

/// Those of `accepted` that this node holds a claim against, the latest first: those before it, of another
/// operator, no null claims, and that it does not build on. Who tries again what was refuted takes nothing
/// from anybody.
fn earlier_among(state: &State, accepted: &[ClaimId], claim: ClaimId, me: PeerId) -> Vec<ClaimId> {
    let may_be = |earlier: ClaimId| match state.would_charge(me, &charge(claim, earlier)) {
        Ok(_) => true,
        Err(reject) => is_passing(&reject),
    };
    let earlier = accepted.iter().rev().copied().filter(|id| may_be(*id));
    earlier.take(EARLIER_MAX).collect()
}
