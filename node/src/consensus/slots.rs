//! What this validator signed at the running height.

use super::context::{Proposal, Vote};
use arc_malachitebft_core_types::{Round, VoteType};
use std::collections::BTreeMap;

/// One message per slot. The engine does not contradict itself, and checks that its log does not
/// either; this is the last door before the key, and it depends on neither.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    votes: BTreeMap<(VoteType, Round), Vote>,
    proposals: BTreeMap<Round, Proposal>,
}

impl Slots {
    /// Takes the vote's slot; whether it was free or held the same vote.
    pub(crate) fn take_vote(&mut self, vote: &Vote) -> bool {
        self.votes.entry((vote.kind, vote.round)).or_insert_with(|| vote.clone()) == vote
    }

    /// Takes the proposal's slot; whether it was free or held the same proposal.
    pub(crate) fn take_proposal(&mut self, proposal: &Proposal) -> bool {
        self.proposals.entry(proposal.round).or_insert_with(|| proposal.clone()) == proposal
    }

    /// Frees all slots, for another height.
    pub(crate) fn clear(&mut self) {
        self.votes.clear();
        self.proposals.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::context::{Address, BlockValue, Height};
    use arc_malachitebft_core_types::NilOrVal;
    use assay_protocol::ids::{BlockHash, PeerId};

    #[test]
    fn a_slot_holds_one_message() {
        let me = Address(PeerId([1; 32]));
        let vote = |kind, round, block| {
            let block =
                if block == 0 { NilOrVal::Nil } else { NilOrVal::Val(BlockHash([block; 32])) };
            Vote { kind, height: Height(4), round: Round::new(round), block, validator: me }
        };
        let mut slots = Slots::default();
        assert!(slots.take_vote(&vote(VoteType::Prevote, 0, 1)));
        assert!(slots.take_vote(&vote(VoteType::Prevote, 0, 1)));
        assert!(slots.take_vote(&vote(VoteType::Precommit, 0, 0)));
        assert!(slots.take_vote(&vote(VoteType::Prevote, 1, 2)));
        assert!(!slots.take_vote(&vote(VoteType::Prevote, 0, 2)));
        assert!(!slots.take_vote(&vote(VoteType::Precommit, 0, 1)));

        let proposal = |block, valid_round| Proposal {
            height: Height(4),
            round: Round::new(2),
            value: BlockValue(BlockHash([block; 32])),
            valid_round,
            proposer: me,
        };
        assert!(slots.take_proposal(&proposal(1, Round::Nil)));
        assert!(!slots.take_proposal(&proposal(1, Round::ZERO)));
        assert!(!slots.take_proposal(&proposal(2, Round::Nil)));
        slots.clear();
        assert!(slots.take_proposal(&proposal(2, Round::Nil)));
    }
}
