//! Misbehaviour in ordering as a proof that the ledger understands.

use super::Evidence;
use super::codec::Message;
use arc_malachitebft_core_types::{NilOrVal, VoteType};
use assay_protocol::equivocation::{Ballot, BallotKind, DoubleVote};

impl Evidence {
    /// The proof for the ledger, which checks its signatures itself; `None` when the two messages
    /// cannot be read or are not of one round.
    #[must_use]
    pub fn proof(&self) -> Option<DoubleVote> {
        let (one, other) =
            (Message::decode(&self.first).ok()?, Message::decode(&self.second).ok()?);
        let ((round, one), (same, other)) = (ballot(&one)?, ballot(&other)?);
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        (round == same).then_some(DoubleVote {
            validator: self.validator,
            era: self.era,
            height: self.height,
            round,
            first,
            second,
        })
    }
}

/// A vote or proposal with its round.
fn ballot(message: &Message) -> Option<(u32, Ballot)> {
    match message {
        Message::Vote(signed) => {
            let vote = &signed.message;
            let kind = match vote.kind {
                VoteType::Prevote => BallotKind::Prevote,
                VoteType::Precommit => BallotKind::Precommit,
            };
            let block = match vote.block {
                NilOrVal::Nil => None,
                NilOrVal::Val(hash) => Some(hash),
            };
            let signature = signed.signature.0;
            Some((vote.round.as_u32()?, Ballot { kind, block, signature }))
        }
        Message::Proposal(signed) => {
            let proposal = &signed.message;
            let kind = BallotKind::Proposal(proposal.valid_round.as_u32());
            let (block, signature) = (Some(proposal.value.0), signed.signature.0);
            Some((proposal.round.as_u32()?, Ballot { kind, block, signature }))
        }
        Message::Polka(_) | Message::Round(_) | Message::Commit(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::context::{Address, BlockValue, Height, Proposal, Vote};
    use crate::consensus::keys::Domain;
    use arc_malachitebft_core_types::Round;
    use assay_protocol::ids::{BlockHash, NetworkId, PeerId};
    use ed25519_dalek::SigningKey;

    #[test]
    fn what_ordering_reports_the_ledger_believes() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let validator = Address(PeerId(key.verifying_key().to_bytes()));
        let domain = Domain { network: NetworkId([1; 32]), era: 0 };
        let vote = |block, round| {
            let (kind, height) = (VoteType::Precommit, Height(4));
            let vote = Vote { kind, height, round: Round::new(round), block, validator };
            Message::Vote(domain.sign_vote(&key, vote))
        };
        let proposal = |block| {
            let (height, round, value) =
                (Height(4), Round::new(2), BlockValue(BlockHash([block; 32])));
            let valid_round = Round::Nil;
            let proposal = Proposal { height, round, value, valid_round, proposer: validator };
            Message::Proposal(domain.sign_proposal(&key, proposal))
        };
        let evidence = |first: &Message, second: &Message| Evidence {
            validator: validator.0,
            height: 4,
            era: 0,
            first: first.encode(),
            second: second.encode(),
        };
        let (nil, block) = (vote(NilOrVal::Nil, 2), vote(NilOrVal::Val(BlockHash([9; 32])), 2));
        for (one, other) in [(&nil, &block), (&block, &nil), (&proposal(1), &proposal(2))] {
            let proof = evidence(one, other).proof().unwrap();
            assert_eq!(proof.check(domain.network), Ok(()));
            assert_eq!((proof.height, proof.round), (4, 2));
        }
        assert!(evidence(&nil, &vote(NilOrVal::Nil, 3)).proof().is_none());
        let garbage = Evidence { first: vec![1], ..evidence(&nil, &block) };
        assert!(garbage.proof().is_none());
    }
}
