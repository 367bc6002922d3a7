//! Validators that fall silent.
//!
//! Blocks say who proposed them, and everybody's turn to propose comes round. Who lets all its turns
//! pass for [`crate::genesis::MembershipRules::silent_blocks`] blocks is not there: its place goes to
//! the next member that may have one, so that the network does not stand closer to a halt than it has
//! to. The votes in certificates would say as much sooner, but two nodes may hold different certificates
//! for one block. A member that is back says so, and takes its place again.
//!
//! Dropping must not weaken what is left: whoever keeps honest validators from proposing for long
//! enough would otherwise need fewer of its own for a third. So places are given up one at a time, and
//! only where those left tolerate as many faults as before. Seven validators tolerate two and six only
//! one, so that a seventh keeps its place until somebody can take it; of five or six all but four can
//! go. Nor can a few dishonest validators make another look silent: a proposer's random output proves
//! whose block it was, and it takes more than a third of the votes to keep turning somebody's blocks
//! away.

use super::State;
use crate::error::Reject;
use crate::genesis::VALIDATORS_MIN;
use crate::ids::{PeerId, hash_parts};
use crate::membership::Return;
use serde::Serialize;
use std::collections::BTreeMap;

/// Who let its turns to propose pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Turns {
    /// The validators of the next height, each with the height at which it proposed last or took its
    /// place.
    pub heard_at: BTreeMap<PeerId, u64>,
    /// Members without a place because of their silence, each with the height that noted it.
    pub silent: BTreeMap<PeerId, u64>,
}

impl Turns {
    /// Hash of everything, over its one JSON spelling.
    pub(super) fn digest(&self) -> [u8; 32] {
        // Serialising plain structs with string keys cannot fail.
        hash_parts("assay turns v1", &[&serde_json::to_vec(self).unwrap_or_default()])
    }
}

/// Dishonest or silent validators with which so many still agree, and on one thing only: less than a third.
fn faults_tolerated(validators: usize) -> usize {
    validators.saturating_sub(1) / 3
}

impl State {
    /// Who let its turns to propose pass.
    #[must_use]
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Whether a member may say anything and was not found silent.
    fn is_present(&self, peer: PeerId) -> bool {
        self.active_member(peer).is_some() && !self.turns.silent.contains_key(&peer)
    }

    /// Validators of the next height that may say something and were not found silent.
    pub(super) fn validators_present(&self) -> usize {
        self.validators().keys().filter(|peer| self.is_present(**peer)).count()
    }

    /// Notes who proposed the block at the state's height, and who has not for too long.
    pub(crate) fn take_turn(&mut self, proposer: PeerId) {
        let height = self.height;
        let members = &self.members;
        let active = |peer: &PeerId| members.get(peer).is_some_and(|member| member.is_active());
        self.turns.silent.retain(|peer, _| active(peer));
        if let Some(peer) = self.longest_silent(proposer) {
            let before = self.validators_present();
            self.turns.silent.insert(peer, height);
            let left = self.validators_present();
            if left < VALIDATORS_MIN || faults_tolerated(left) < faults_tolerated(before) {
                self.turns.silent.remove(&peer);
            }
        }
        let before = std::mem::take(&mut self.turns.heard_at);
        let heard = |peer: PeerId| match before.get(&peer) {
            Some(height) if peer != proposer => (peer, *height),
            _ => (peer, height),
        };
        self.turns.heard_at = self.validators().into_keys().map(heard).collect();
    }

    /// The validator that has let its turns pass for the longest, if that is too long.
    fn longest_silent(&self, proposer: PeerId) -> Option<PeerId> {
        let limit = self.parameters().membership.silent_blocks;
        let overdue = self.turns.heard_at.iter().filter(|(peer, heard_at)| {
            **peer != proposer
                && self.is_present(**peer)
                && heard_at.saturating_add(limit) <= self.height
        });
        overdue.min_by_key(|(peer, heard_at)| (**heard_at, **peer)).map(|(peer, _)| *peer)
    }

    pub(crate) fn apply_return(&mut self, author: PeerId, back: Return) -> Result<(), Reject> {
        match self.turns.silent.get(&author) {
            Some(since) if *since == back.silent_since => {
                self.turns.silent.remove(&author);
                Ok(())
            }
            _ => {
                let Return { silent_since: since } = back;
                Err(Reject::NotSilent { peer: author, since, height: self.height })
            }
        }
    }
}
