//! Equivocation: two signed statements of one peer where it may make one. The two prove
//! themselves; nobody's word is needed.
//!
//! A *slot* is what a peer may say once. Some things have none: an author may claim again on a
//! parent once its claim has settled, and a claim that was never ordered may be made again with
//! another seal, so that two claims alone prove nothing.

use crate::certificate::{self, VoteKind};
use crate::error::Reject;
use crate::ids::{BlockHash, ClaimId, NetworkId, PeerId, RecordId, RoundId};
use crate::record::{Body, Record};
use crate::wire::{self, bytes32, field};
use assay_proto::v1;
use ed25519_dalek::{Signature, VerifyingKey};
use std::collections::{BTreeMap, VecDeque};

/// Most statements of one peer that are remembered to compare later ones with.
pub const WATCHED_PER_PEER_MAX: usize = 32;

/// What a peer may say once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A seat's seal of its measurement.
    Seal(RoundId),
    /// A seat's measurement.
    Reveal(RoundId),
    /// An author's own result.
    Opening(ClaimId),
    /// The acceptance of a vouch: a second one would choose another random-function key.
    Join(RecordId),
}

impl Slot {
    /// The slot that a statement fills, if it fills one.
    #[must_use]
    pub fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Seal(seal) => Some(Self::Seal(seal.round)),
            Body::Reveal(reveal) => Some(Self::Reveal(reveal.round)),
            Body::Opening(opening) => Some(Self::Opening(opening.claim)),
            Body::Join(join) => Some(Self::Join(join.vouch)),
            Body::Claim(_)
            | Body::Challenge(_)
            | Body::Vouch(_)
            | Body::Leave(_)
            | Body::Disclosure(_)
            | Body::Return(_)
            | Body::Post(_)
            | Body::Ballot(_)
            | Body::Appeal(_)
            | Body::Proposal(_)
            | Body::Voice(_)
            | Body::Equivocation(_)
            | Body::DoubleVote(_) => None,
        }
    }

    /// The slot in a few words.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Seal(id) => {
                format!("the seal of round {} of claim {}", id.number, id.claim.short())
            }
            Self::Reveal(id) => {
                format!("the reveal of round {} of claim {}", id.number, id.claim.short())
            }
            Self::Opening(claim) => format!("the opening of claim {}", claim.short()),
            Self::Join(vouch) => format!("the acceptance of vouch {}", vouch.short()),
        }
    }
}

/// Two different records of one author for one slot, whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    first: Record,
    second: Record,
    slot: Slot,
}

impl Equivocation {
    /// The proof that two records make, if they make one.
    #[must_use]
    pub fn between(one: &Record, other: &Record) -> Option<Self> {
        let slot = Slot::of(&one.body)?;
        let contradict =
            one.author == other.author && Slot::of(&other.body) == Some(slot) && one.id != other.id;
        let (first, second) = if one.id < other.id { (one, other) } else { (other, one) };
        contradict.then(|| Self { first: first.clone(), second: second.clone(), slot })
    }

    /// Who contradicted itself.
    #[must_use]
    pub fn culprit(&self) -> PeerId {
        self.first.author
    }

    /// What it said twice.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn to_proto(&self) -> v1::Equivocation {
        v1::Equivocation {
            first: Some(self.first.signed.clone()),
            second: Some(self.second.signed.clone()),
        }
    }

    pub(crate) fn from_proto(network: NetworkId, proof: v1::Equivocation) -> Result<Self, Reject> {
        let open = |name, signed: Option<v1::SignedRecord>| {
            let signed = signed.ok_or_else(|| field(name, "missing".to_owned()))?;
            wire::open_statement(network, signed)
        };
        let (first, second) = (open("first", proof.first)?, open("second", proof.second)?);
        let found = Self::between(&first, &second)
            .ok_or_else(|| field("second", "does not contradict the first".to_owned()))?;
        // One order only, so that one contradiction has one spelling.
        if found.first != first {
            return Err(field("first", "must have the smaller record id".to_owned()));
        }
        Ok(found)
    }
}

/// What a validator signed in one round of one height.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// Prevote, precommit or proposal.
    pub kind: BallotKind,
    /// The block; none is a vote against every block of the round.
    pub block: Option<BlockHash>,
    /// Ed25519, over what [`crate::certificate`] says.
    pub signature: [u8; 64],
}

/// The three things a validator signs in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BallotKind {
    /// See [`VoteKind::Prevote`].
    Prevote,
    /// See [`VoteKind::Precommit`].
    Precommit,
    /// A proposed block, with the earlier round in which it was valid already.
    Proposal(Option<u32>),
}

impl BallotKind {
    /// Whether a validator may sign only one of the two in a round.
    fn same_slot(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// Proof that a validator signed two things for one slot of the ordering protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleVote {
    /// Who signed.
    pub validator: PeerId,
    /// Era, height and round of the slot.
    pub era: u64,
    /// Height of the slot.
    pub height: u64,
    /// Round within the height.
    pub round: u32,
    /// The smaller of the two in the order of [`Ballot`].
    pub first: Ballot,
    /// The other.
    pub second: Ballot,
}

impl DoubleVote {
    /// Checks that both ballots are the validator's and exclude each other.
    ///
    /// # Errors
    ///
    /// [`Reject::Field`] or [`Reject::Signature`], both misbehaviour of whoever made the proof.
    pub fn check(&self, network: NetworkId) -> Result<(), Reject> {
        let (first, second) = (&self.first, &self.second);
        let differ = (first.kind, first.block) != (second.kind, second.block);
        if !first.kind.same_slot(second.kind) || !differ {
            return Err(field("second", "does not contradict the first".to_owned()));
        }
        if first > second {
            return Err(field("first", "must be the smaller ballot".to_owned()));
        }
        let slot =
            certificate::Slot { network, era: self.era, height: self.height, round: self.round };
        let key = VerifyingKey::from_bytes(&self.validator.0)
            .map_err(|_| Reject::Signature(self.validator))?;
        for ballot in [first, second] {
            let message = match (ballot.kind, ballot.block) {
                (BallotKind::Prevote, block) => {
                    certificate::vote_bytes(&slot, VoteKind::Prevote, block)
                }
                (BallotKind::Precommit, block) => {
                    certificate::vote_bytes(&slot, VoteKind::Precommit, block)
                }
                (BallotKind::Proposal(valid_round), Some(block)) => {
                    certificate::proposal_bytes(&slot, block, valid_round)
                }
                (BallotKind::Proposal(_), None) => {
                    return Err(field("block", "a proposal names one".to_owned()));
                }
            };
            key.verify_strict(&message, &Signature::from_bytes(&ballot.signature))
                .map_err(|_| Reject::Signature(self.validator))?;
        }
        Ok(())
    }

    pub(crate) fn to_proto(&self) -> v1::DoubleVote {
        v1::DoubleVote {
            validator: self.validator.to_vec(),
            era: self.era,
            height: self.height,
            round: self.round,
            first: Some(ballot_to_proto(&self.first)),
            second: Some(ballot_to_proto(&self.second)),
        }
    }

    pub(crate) fn from_proto(network: NetworkId, proof: &v1::DoubleVote) -> Result<Self, Reject> {
        let ballot = |name, ballot: &Option<v1::Ballot>| {
            let ballot = ballot.as_ref().ok_or_else(|| field(name, "missing".to_owned()))?;
            ballot_from_proto(ballot)
        };
        let found = Self {
            validator: PeerId(bytes32("validator", &proof.validator)?),
            era: proof.era,
            height: proof.height,
            round: proof.round,
            first: ballot("first", &proof.first)?,
            second: ballot("second", &proof.second)?,
        };
        found.check(network)?;
        Ok(found)
    }
}

fn ballot_to_proto(ballot: &Ballot) -> v1::Ballot {
    let (kind, valid_round) = match ballot.kind {
        BallotKind::Prevote => (1, None),
        BallotKind::Precommit => (2, None),
        BallotKind::Proposal(valid_round) => (3, valid_round),
    };
    v1::Ballot {
        kind,
        block: ballot.block.map(BlockHash::to_vec).unwrap_or_default(),
        valid_round,
        signature: ballot.signature.to_vec(),
    }
}

fn ballot_from_proto(ballot: &v1::Ballot) -> Result<Ballot, Reject> {
    let kind = match (ballot.kind, ballot.valid_round) {
        (1, None) => BallotKind::Prevote,
        (2, None) => BallotKind::Precommit,
        (3, valid_round) => BallotKind::Proposal(valid_round),
        (kind, _) => return Err(field("kind", format!("{kind} with this valid_round"))),
    };
    let block = match ballot.block.as_slice() {
        [] => None,
        bytes => Some(BlockHash(bytes32("block", bytes)?)),
    };
    let signature = ballot.signature.as_slice().try_into();
    let signature =
        signature.map_err(|_| field("signature", format!("{} bytes", ballot.signature.len())))?;
    Ok(Ballot { kind, block, signature })
}

/// What members said lately, to notice when one contradicts itself. Bounded by the number of
/// members times [`WATCHED_PER_PEER_MAX`]; the oldest statement of a peer is forgotten first.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<PeerId, VecDeque<(Slot, Record)>>);

impl Watch {
    /// Remembers a member's record and returns the proof if it contradicts one seen before.
    pub fn see(&mut self, record: &Record) -> Option<Equivocation> {
        let slot = Slot::of(&record.body)?;
        let said = self.0.entry(record.author).or_default();
        if let Some((_, earlier)) = said.iter().find(|(filled, _)| *filled == slot) {
            return Equivocation::between(earlier, record);
        }
        if said.len() >= WATCHED_PER_PEER_MAX {
            said.pop_front();
        }
        said.push_back((slot, record.clone()));
        None
    }

    /// Forgets those whom `keep` does not name.
    pub fn retain(&mut self, keep: impl Fn(PeerId) -> bool) {
        self.0.retain(|peer, _| keep(*peer));
    }
}
