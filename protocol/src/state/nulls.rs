//! When a member makes a null claim: by lots of its own, which nobody else can foresee or check.
//!
//! Every claim that becomes an entry gives each full member a ticket. The lot depends on the entry,
//! on the beacon that its committee was drawn with and on a secret of the member: seats must not be
//! able to tell that a claim was made by lot, because only null claims are. All members together
//! make [`crate::genesis::CommitteeRules::null_ppm`] null claims for a million entries. These are
//! entries later on as well; since one entry causes less than one null claim, a network that nobody
//! else uses falls silent.
//!
//! A lot is worth nothing unless there is room: a null claim is made only while no claim waits and a
//! measuring place is free, so that it takes nobody's turn.

use super::{Membership, Phase, State};
use crate::draw::Draw;
use crate::ids::{ClaimId, PeerId};

/// A null claim to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NullLot {
    /// The claim whose recipe is to be claimed again, or the base's id.
    pub parent: ClaimId,
    /// How long to wait first, so that the moment tells nothing.
    pub delay_ms: u64,
}

impl State {
    /// The lot that `me`, who knows `secret`, draws from an entry, if it wins.
    #[must_use]
    pub fn null_lot(&self, me: PeerId, secret: &[u8; 32], entry: ClaimId) -> Option<NullLot> {
        let claim = self.claim(entry).filter(|claim| claim.is_entry())?;
        let beacon = claim.deciding()?.beacon?;
        let full = |peer: &PeerId| {
            self.members.get(peer).is_some_and(|member| member.membership == Membership::Full)
        };
        if !full(&me) {
            return None;
        }
        let members = self.members.keys().filter(|peer| full(peer)).count() as u64;
        let parts: [&[u8]; 4] = [secret, &self.network.0, &beacon.0, &entry.0];
        let mut draw = Draw::new("assay null lot v1", &parts);
        if draw.below(members.saturating_mul(1_000_000)) >= self.parameters().committee.null_ppm {
            return None;
        }
        let mut parents = vec![self.base_claim];
        parents.extend(self.entries().filter(|claim| claim.stands()).map(|claim| claim.id));
        let index = usize::try_from(draw.below(parents.len() as u64)).ok()?;
        let parent = *parents.get(index)?;
        Some(NullLot { parent, delay_ms: draw.below(self.parameters().committee.seal_ms) })
    }

    /// Whether a null claim would take nobody's turn: no round waits, a measuring place is free, and
    /// the member has nothing to measure and its operator no claim open.
    #[must_use]
    pub fn has_room_for_null(&self, me: PeerId) -> bool {
        let places =
            usize::try_from(self.parameters().committee.measuring_max).unwrap_or(usize::MAX);
        let measured = self.open_rounds().count();
        let idle = self.open_rounds().all(|(claim, round)| {
            round.phase != Phase::Docketed
                && !round.admits(me)
                && self.operator(claim.author) != self.operator(me)
        });
        idle && measured < places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{genesis, peer};
    use crate::ids::{Beacon, BlobHash};
    use crate::record::Claim;
    use crate::state::{ClaimState, MemberState};
    use std::sync::Arc;

    /// A state with one entry, made at a beacon of its own.
    fn state(null_ppm: u64, beacon: u8) -> (State, ClaimId) {
        let mut genesis = genesis();
        genesis.committee.null_ppm = null_ppm;
        let mut state = State::new(genesis);
        let id = ClaimId([7; 32]);
        let recipe = crate::fixtures::child_recipe(9);
        let claim = Claim {
            recipe: crate::record::Recipe { checkpoint: BlobHash([beacon; 32]), ..recipe },
            parent: state.base_claim,
            result_seal: [0; 32],
            summary: String::new(),
            hardware_class: crate::fixtures::CLASS.to_owned(),
            cites: Vec::new(),
        };
        let mut claim = ClaimState::docketed(id, peer(0), claim, 1);
        (claim.settled_at, claim.decided_by) = (Some(9), Some(1));
        claim.rounds[0].beacon = Some(Beacon([beacon; 32]));
        claim.rounds[0].phase = Phase::Settled;
        state.claims.insert(claim);
        state.entries.push(id);
        (state, id)
    }

    #[test]
    fn all_members_together_make_as_many_as_the_genesis_says() {
        let mut made = 0;
        for beacon in 0..=255 {
            let (state, entry) = state(400_000, beacon);
            let lots = (0..5).filter_map(|i| state.null_lot(peer(i), &[i + 1; 32], entry));
            made += lots.inspect(|lot| assert!(lot.delay_ms < 60_000)).count();
        }
        // 256 × 0.4 = 102, standard deviation 10.
        assert!((70..135).contains(&made), "{made}");
    }

    #[test]
    fn the_lot_follows_from_the_secret_and_from_nothing_that_others_know() {
        let outcomes = |secret: u8| -> Vec<bool> {
            let lot = |beacon| {
                let (state, entry) = state(500_000, beacon);
                state.null_lot(peer(1), &[secret; 32], entry).is_some()
            };
            (0..200).map(lot).collect()
        };
        assert_eq!(outcomes(1), outcomes(1));
        assert_ne!(outcomes(1), outcomes(2));
    }

    #[test]
    fn nobody_draws_where_the_genesis_asks_for_none_or_is_no_full_member() {
        for beacon in 0..=255 {
            let (silent, entry) = state(0, beacon);
            assert_eq!(silent.null_lot(peer(1), &[1; 32], entry), None);
            let (mut state, entry) = state(500_000, beacon);
            assert_eq!(state.null_lot(peer(9), &[1; 32], entry), None, "a stranger");
            let member = state.members.get_mut(&peer(1)).map(Arc::make_mut).unwrap();
            *member = MemberState {
                membership: Membership::Probation { agreements: 1 },
                ..member.clone()
            };
            assert_eq!(state.null_lot(peer(1), &[1; 32], entry), None, "on probation");
            assert_eq!(state.null_lot(peer(2), &[1; 32], ClaimId([1; 32])), None, "no entry");
        }
    }

    #[test]
    fn there_is_room_only_while_nobody_waits() {
        let (mut state, entry) = state(500_000, 1);
        assert!(state.has_room_for_null(peer(1)));
        let open = |state: &mut State, phase: Phase| {
            state.docket = vec![entry];
            let claim = state.claims.get_mut(entry).unwrap();
            claim.rounds[0].phase = phase;
        };
        open(&mut state, Phase::Docketed);
        assert!(!state.has_room_for_null(peer(1)), "a claim waits");
        open(&mut state, Phase::Revealing { until_ms: 1 });
        assert!(!state.has_room_for_null(peer(1)), "the only place is taken");
        Arc::make_mut(&mut state.genesis).committee.measuring_max = 2;
        assert!(state.has_room_for_null(peer(1)));
        assert!(!state.has_room_for_null(peer(0)), "its operator has a claim open");
        let claim = state.claims.get_mut(entry).unwrap();
        claim.rounds[0].committee.seats = vec![peer(1)];
        assert!(!state.has_room_for_null(peer(1)), "it has something to measure");
    }
}
