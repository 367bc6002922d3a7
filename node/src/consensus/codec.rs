//! Consensus messages as bytes. Nothing decoded here has been verified.

use super::context::{Address, BlockValue, Height, LedgerContext, Proposal, Signature, Vote};
use arc_malachitebft_core_types::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType,
    RoundSignature, SignedMessage, SignedProposal, SignedVote, VoteType,
};
use assay_proto::limits::{BLOCK_BYTES_MAX, CONSENSUS_BYTES_MAX};
use assay_proto::v1::{self, consensus_message::Message as Wire};
use assay_proto::{DecodeError, decode_canonical};
use assay_protocol::ids::{BlockHash, PeerId};
use prost::Message as _;

/// Most bytes of a message on the `body` topic: a block, and the proposal it travels under.
pub const BODY_BYTES_MAX: usize = BLOCK_BYTES_MAX + 512;

/// Why bytes are not a consensus message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Too long, malformed or not canonical.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A field that is absent or has an impossible value.
    #[error("field {0} is missing or has an impossible value or length")]
    Field(&'static str),
}

/// A decoded message of the topics `consensus` and `liveness`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Vote(SignedVote<LedgerContext>),
    Proposal(SignedProposal<LedgerContext>),
    Polka(PolkaCertificate<LedgerContext>),
    Round(RoundCertificate<LedgerContext>),
    Commit(v1::CommitCertificate),
}

impl Message {
    /// The height that the message is about.
    pub(crate) fn height(&self) -> u64 {
        match self {
            Self::Vote(vote) => vote.message.height.0,
            Self::Proposal(proposal) => proposal.message.height.0,
            Self::Polka(certificate) => certificate.height.0,
            Self::Round(certificate) => certificate.height.0,
            Self::Commit(certificate) => certificate.height,
        }
    }

    /// The message in its wire type.
    pub(crate) fn to_wire(&self) -> v1::ConsensusMessage {
        let message = match self {
            Self::Vote(vote) => Wire::Vote(vote_to_wire(vote)),
            Self::Proposal(proposal) => Wire::Proposal(proposal_to_wire(proposal)),
            Self::Polka(certificate) => Wire::Polka(polka_to_wire(certificate)),
            Self::Round(certificate) => Wire::Round(round_to_wire(certificate)),
            Self::Commit(certificate) => Wire::Commit(certificate.clone()),
        };
        v1::ConsensusMessage { message: Some(message) }
    }

    /// The message as sent.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    /// Reads a message as received.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_wire(decode_canonical(bytes, CONSENSUS_BYTES_MAX)?)
    }

    /// Reads a message from its wire type.
    pub(crate) fn from_wire(wire: v1::ConsensusMessage) -> Result<Self, CodecError> {
        Ok(match wire.message.ok_or(CodecError::Field("message"))? {
            Wire::Vote(vote) => Self::Vote(vote_from_wire(&vote)?),
            Wire::Proposal(proposal) => Self::Proposal(proposal_from_wire(&proposal)?),
            Wire::Polka(certificate) => Self::Polka(polka_from_wire(&certificate)?),
            Wire::Round(certificate) => Self::Round(round_from_wire(&certificate)?),
            Wire::Commit(certificate) => Self::Commit(certificate),
        })
    }
}

/// A block under the proposal that names it, as sent. `repeat` counts re-sendings.
pub(crate) fn encode_body(
    proposal: &SignedProposal<LedgerContext>,
    block: Vec<u8>,
    repeat: u32,
) -> Vec<u8> {
    let proposal = Some(proposal_to_wire(proposal));
    v1::ProposedBody { proposal, block, repeat }.encode_to_vec()
}

/// Reads a proposal and its block as received.
pub(crate) fn decode_body(
    bytes: &[u8],
) -> Result<(SignedProposal<LedgerContext>, Vec<u8>), CodecError> {
    let body: v1::ProposedBody = decode_canonical(bytes, BODY_BYTES_MAX)?;
    let proposal = body.proposal.ok_or(CodecError::Field("proposal"))?;
    if body.block.len() > BLOCK_BYTES_MAX {
        return Err(CodecError::Field("block"));
    }
    Ok((proposal_from_wire(&proposal)?, body.block))
}

pub(crate) fn peer(bytes: &[u8]) -> Result<Address, CodecError> {
    PeerId::from_slice(bytes).map(Address).map_err(|_| CodecError::Field("validator"))
}

pub(crate) fn block(bytes: &[u8]) -> Result<BlockHash, CodecError> {
    BlockHash::from_slice(bytes).map_err(|_| CodecError::Field("block"))
}

/// The round in which a proposed block was already valid, if any.
pub(crate) fn valid_round(round: Option<u32>) -> Round {
    round.map_or(Round::Nil, Round::new)
}

fn block_or_nil(bytes: &[u8]) -> Result<NilOrVal<BlockHash>, CodecError> {
    if bytes.is_empty() { Ok(NilOrVal::Nil) } else { block(bytes).map(NilOrVal::Val) }
}

fn nil_to_empty(block: &NilOrVal<BlockHash>) -> Vec<u8> {
    match block {
        NilOrVal::Nil => Vec::new(),
        NilOrVal::Val(hash) => hash.to_vec(),
    }
}

fn signature(bytes: &[u8]) -> Result<Signature, CodecError> {
    bytes.try_into().map(Signature).map_err(|_| CodecError::Field("signature"))
}

fn round_number(round: Round) -> u32 {
    round.as_u32().expect("messages belong to rounds from 0 on")
}

fn kind_from_wire(kind: i32) -> Result<VoteType, CodecError> {
    match v1::VoteKind::try_from(kind) {
        Ok(v1::VoteKind::Prevote) => Ok(VoteType::Prevote),
        Ok(v1::VoteKind::Precommit) => Ok(VoteType::Precommit),
        Ok(v1::VoteKind::Unspecified) | Err(_) => Err(CodecError::Field("kind")),
    }
}

fn kind_to_wire(kind: VoteType) -> i32 {
    match kind {
        VoteType::Prevote => v1::VoteKind::Prevote.into(),
        VoteType::Precommit => v1::VoteKind::Precommit.into(),
    }
}

fn vote_to_wire(vote: &SignedVote<LedgerContext>) -> v1::ConsensusVote {
    v1::ConsensusVote {
        height: vote.message.height.0,
        round: round_number(vote.message.round),
        kind: kind_to_wire(vote.message.kind),
        block: nil_to_empty(&vote.message.block),
        validator: vote.message.validator.0.to_vec(),
        signature: vote.signature.0.to_vec(),
    }
}

fn vote_from_wire(wire: &v1::ConsensusVote) -> Result<SignedVote<LedgerContext>, CodecError> {
    let vote = Vote {
        kind: kind_from_wire(wire.kind)?,
        height: Height(wire.height),
        round: Round::new(wire.round),
        block: block_or_nil(&wire.block)?,
        validator: peer(&wire.validator)?,
    };
    Ok(SignedMessage::new(vote, signature(&wire.signature)?))
}

fn proposal_to_wire(proposal: &SignedProposal<LedgerContext>) -> v1::ConsensusProposal {
    v1::ConsensusProposal {
        height: proposal.message.height.0,
        round: round_number(proposal.message.round),
        block: proposal.message.value.0.to_vec(),
        valid_round: proposal.message.valid_round.as_u32(),
        validator: proposal.message.proposer.0.to_vec(),
        signature: proposal.signature.0.to_vec(),
    }
}

fn proposal_from_wire(
    wire: &v1::ConsensusProposal,
) -> Result<SignedProposal<LedgerContext>, CodecError> {
    let proposal = Proposal {
        height: Height(wire.height),
        round: Round::new(wire.round),
        value: BlockValue(block(&wire.block)?),
        valid_round: valid_round(wire.valid_round),
        proposer: peer(&wire.validator)?,
    };
    Ok(SignedMessage::new(proposal, signature(&wire.signature)?))
}

fn polka_to_wire(certificate: &PolkaCertificate<LedgerContext>) -> v1::PolkaCertificate {
    let signatures = certificate.polka_signatures.iter().map(|entry| v1::CommitSignature {
        validator: entry.address.0.to_vec(),
        signature: entry.signature.0.to_vec(),
    });
    v1::PolkaCertificate {
        height: certificate.height.0,
        round: round_number(certificate.round),
        block: certificate.value_id.to_vec(),
        signatures: signatures.collect(),
    }
}

fn polka_from_wire(
    wire: &v1::PolkaCertificate,
) -> Result<PolkaCertificate<LedgerContext>, CodecError> {
    let signatures = wire.signatures.iter().map(|entry| {
        Ok(PolkaSignature::new(peer(&entry.validator)?, signature(&entry.signature)?))
    });
    Ok(PolkaCertificate {
        height: Height(wire.height),
        round: Round::new(wire.round),
        value_id: block(&wire.block)?,
        polka_signatures: signatures.collect::<Result<_, CodecError>>()?,
    })
}

fn round_to_wire(certificate: &RoundCertificate<LedgerContext>) -> v1::RoundCertificate {
    let signatures = certificate.round_signatures.iter().map(|entry| v1::RoundSignature {
        kind: kind_to_wire(entry.vote_type),
        block: nil_to_empty(&entry.value_id),
        validator: entry.address.0.to_vec(),
        signature: entry.signature.0.to_vec(),
    });
    v1::RoundCertificate {
        height: certificate.height.0,
        round: round_number(certificate.round),
        skip: certificate.cert_type == RoundCertificateType::Skip,
        signatures: signatures.collect(),
    }
}

fn round_from_wire(
    wire: &v1::RoundCertificate,
) -> Result<RoundCertificate<LedgerContext>, CodecError> {
    let signatures = wire.signatures.iter().map(|entry| {
        Ok(RoundSignature::new(
            kind_from_wire(entry.kind)?,
            block_or_nil(&entry.block)?,
            peer(&entry.validator)?,
            signature(&entry.signature)?,
        ))
    });
    Ok(RoundCertificate {
        height: Height(wire.height),
        round: Round::new(wire.round),
        cert_type: if wire.skip {
            RoundCertificateType::Skip
        } else {
            RoundCertificateType::Precommit
        },
        round_signatures: signatures.collect::<Result<_, CodecError>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash() -> impl Strategy<Value = BlockHash> {
        any::<[u8; 32]>().prop_map(BlockHash)
    }

    fn address() -> impl Strategy<Value = Address> {
        any::<[u8; 32]>().prop_map(|bytes| Address(PeerId(bytes)))
    }

    fn seal() -> impl Strategy<Value = Signature> {
        any::<[u8; 32]>().prop_map(|half| Signature([half, half].concat().try_into().expect("64")))
    }

    fn kind() -> impl Strategy<Value = VoteType> {
        prop_oneof![Just(VoteType::Prevote), Just(VoteType::Precommit)]
    }

    fn nil_or_hash() -> impl Strategy<Value = NilOrVal<BlockHash>> {
        prop_oneof![Just(NilOrVal::Nil), hash().prop_map(NilOrVal::Val)]
    }

    fn vote() -> impl Strategy<Value = Message> {
        let fields = (kind(), any::<u64>(), any::<u32>(), nil_or_hash(), address(), seal());
        fields.prop_map(|(kind, height, round, block, validator, seal)| {
            let (height, round) = (Height(height), Round::new(round));
            Message::Vote(SignedMessage::new(Vote { kind, height, round, block, validator }, seal))
        })
    }

    fn proposal() -> impl Strategy<Value = SignedProposal<LedgerContext>> {
        let fields = (any::<u64>(), any::<u32>(), hash(), any::<Option<u32>>(), address(), seal());
        fields.prop_map(|(height, round, block, earlier, proposer, seal)| {
            let proposal = Proposal {
                height: Height(height),
                round: Round::new(round),
                value: BlockValue(block),
                valid_round: valid_round(earlier),
                proposer,
            };
            SignedMessage::new(proposal, seal)
        })
    }

    fn certificate() -> impl Strategy<Value = Message> {
        let signers = prop::collection::vec((kind(), nil_or_hash(), address(), seal()), 0..22);
        (any::<u64>(), any::<u32>(), hash(), any::<bool>(), any::<bool>(), signers).prop_map(
            |(height, round, block, polka, skip, signers)| {
                let (height, round) = (Height(height), Round::new(round));
                if polka {
                    let signatures = signers
                        .into_iter()
                        .map(|(_, _, who, seal)| PolkaSignature { address: who, signature: seal });
                    let polka_signatures = signatures.collect();
                    let value_id = block;
                    return Message::Polka(PolkaCertificate {
                        height,
                        round,
                        value_id,
                        polka_signatures,
                    });
                }
                let signatures = signers
                    .into_iter()
                    .map(|(kind, block, who, seal)| RoundSignature::new(kind, block, who, seal));
                Message::Round(RoundCertificate {
                    height,
                    round,
                    cert_type: if skip {
                        RoundCertificateType::Skip
                    } else {
                        RoundCertificateType::Precommit
                    },
                    round_signatures: signatures.collect(),
                })
            },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![vote(), proposal().prop_map(Message::Proposal), certificate()]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(message in message()) {
            let bytes = message.encode();
            prop_assert!(bytes.len() <= CONSENSUS_BYTES_MAX);
            prop_assert_eq!(Message::decode(&bytes), Ok(message));
        }

        #[test]
        fn bodies_travel_whole(proposal in proposal(), block: Vec<u8>, repeat: u32) {
            let bytes = encode_body(&proposal, block.clone(), repeat);
            prop_assert_eq!(decode_body(&bytes), Ok((proposal, block)));
        }

        #[test]
        fn damaged_bytes_are_refused_or_another_message(
            message in message(),
            at: prop::sample::Index,
            flip in 1u8..,
            cut: prop::sample::Index,
        ) {
            let mut bytes = message.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = Message::decode(&bytes) {
                prop_assert_ne!(&other, &message);
                prop_assert_eq!(other.encode(), bytes.clone());
            }
            bytes.truncate(cut.index(bytes.len()));
            let _ = (Message::decode(&bytes), decode_body(&bytes));
        }

        #[test]
        fn random_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = (Message::decode(&bytes), decode_body(&bytes));
        }
    }

    #[test]
    fn fields_have_their_lengths() {
        let vote = |block: usize, validator: usize, signature: usize, kind: i32| {
            let vote = v1::ConsensusVote {
                height: 1,
                round: 0,
                kind,
                block: vec![1; block],
                validator: vec![1; validator],
                signature: vec![1; signature],
            };
            let wire = v1::ConsensusMessage { message: Some(Wire::Vote(vote)) };
            Message::decode(&wire.encode_to_vec()).map(|_| ())
        };
        assert_eq!(vote(32, 32, 64, 1), Ok(()));
        assert_eq!(vote(0, 32, 64, 2), Ok(()));
        assert_eq!(vote(31, 32, 64, 1), Err(CodecError::Field("block")));
        assert_eq!(vote(32, 33, 64, 1), Err(CodecError::Field("validator")));
        assert_eq!(vote(32, 32, 63, 1), Err(CodecError::Field("signature")));
        assert_eq!(vote(32, 32, 64, 0), Err(CodecError::Field("kind")));
        assert_eq!(vote(32, 32, 64, 3), Err(CodecError::Field("kind")));
        assert!(Message::decode(&vec![0; CONSENSUS_BYTES_MAX + 1]).is_err());
        assert!(decode_body(&vec![0; BODY_BYTES_MAX + 1]).is_err());
    }
}
