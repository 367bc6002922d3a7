//! Signing and verifying within one network and era.

use super::context::{
    Address, Ed25519, Height, LedgerContext, Proposal, Signature, ValidatorSet, Vote,
};
use arc_malachitebft_core_types::{
    self as malachite, CertificateError, NilOrVal, PolkaCertificate, PublicKey, Round,
    RoundCertificate, SignedMessage, ThresholdParams, ValidatorProof, VoteExtensionScope, VoteType,
};
use arc_malachitebft_signing::{Error, VerificationResult, Verifier, VerifierExt};
use assay_protocol::certificate::{Slot, VoteKind, proposal_bytes, vote_bytes};
use assay_protocol::ids::NetworkId;
use async_trait::async_trait;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use futures::FutureExt;

/// What every signature covers besides its message. Verifies; signs with a key that is passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Domain {
    pub(crate) network: NetworkId,
    pub(crate) era: u64,
}

impl Domain {
    fn slot(&self, height: Height, round: Round) -> Option<Slot> {
        let round = round.as_u32()?;
        Some(Slot { network: self.network, era: self.era, height: height.0, round })
    }

    /// The signed bytes of a vote; `None` for the round before the first, in which nobody votes.
    fn vote_bytes(&self, vote: &Vote) -> Option<Vec<u8>> {
        let kind = match vote.kind {
            VoteType::Prevote => VoteKind::Prevote,
            VoteType::Precommit => VoteKind::Precommit,
        };
        let block = match vote.block {
            NilOrVal::Nil => None,
            NilOrVal::Val(hash) => Some(hash),
        };
        Some(vote_bytes(&self.slot(vote.height, vote.round)?, kind, block))
    }

    fn proposal_bytes(&self, proposal: &Proposal) -> Option<Vec<u8>> {
        let slot = self.slot(proposal.height, proposal.round)?;
        Some(proposal_bytes(&slot, proposal.value.0, proposal.valid_round.as_u32()))
    }

    /// Signs a vote of ours.
    pub(crate) fn sign_vote(
        &self,
        key: &SigningKey,
        vote: Vote,
    ) -> SignedMessage<LedgerContext, Vote> {
        let bytes = self.vote_bytes(&vote).expect("the engine votes in rounds from 0 on");
        SignedMessage::new(vote, Signature(key.sign(&bytes).to_bytes()))
    }

    /// Signs a proposal of ours.
    pub(crate) fn sign_proposal(
        &self,
        key: &SigningKey,
        proposal: Proposal,
    ) -> SignedMessage<LedgerContext, Proposal> {
        let bytes = self.proposal_bytes(&proposal).expect("the engine proposes from round 0 on");
        SignedMessage::new(proposal, Signature(key.sign(&bytes).to_bytes()))
    }

    /// Whether the key signed the vote.
    pub(crate) fn vote_is_signed(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &VerifyingKey,
    ) -> bool {
        self.vote_bytes(vote).is_some_and(|bytes| is_signed(&bytes, signature, key))
    }

    /// Whether the key signed the proposal.
    pub(crate) fn proposal_is_signed(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &VerifyingKey,
    ) -> bool {
        self.proposal_bytes(proposal).is_some_and(|bytes| is_signed(&bytes, signature, key))
    }

    /// Whether the certificate holds a quorum of the set's prevotes.
    pub(crate) fn check_polka(
        &self,
        certificate: &PolkaCertificate<LedgerContext>,
        set: &ValidatorSet,
    ) -> Result<(), Box<CertificateError<LedgerContext>>> {
        let thresholds = ThresholdParams::default();
        ready(self.verify_polka_certificate(&LedgerContext, certificate, set, thresholds))
            .map_err(Box::new)
    }

    /// Whether the certificate's votes justify leaving its round.
    pub(crate) fn check_round(
        &self,
        certificate: &RoundCertificate<LedgerContext>,
        set: &ValidatorSet,
    ) -> Result<(), Box<CertificateError<LedgerContext>>> {
        let thresholds = ThresholdParams::default();
        ready(self.verify_round_certificate(&LedgerContext, certificate, set, thresholds))
            .map_err(Box::new)
    }

    /// Whether a member of the set signed the vote.
    pub(crate) fn vote_is_from(
        &self,
        set: &ValidatorSet,
        signed: &SignedMessage<LedgerContext, Vote>,
    ) -> bool {
        member_key(set, signed.message.validator)
            .is_some_and(|key| self.vote_is_signed(&signed.message, &signed.signature, key))
    }

    /// Whether the proposer of its round signed the proposal.
    pub(crate) fn proposal_is_from(
        &self,
        set: &ValidatorSet,
        signed: &SignedMessage<LedgerContext, Proposal>,
    ) -> bool {
        let proposal = &signed.message;
        let proposer = set.proposer(proposal.height, proposal.round);
        *malachite::Validator::address(proposer) == proposal.proposer
            && self.proposal_is_signed(
                proposal,
                &signed.signature,
                malachite::Validator::public_key(proposer),
            )
    }
}

/// The result of a verification, whose traits are asynchronous for the sake of remote signers.
pub(crate) fn ready<T>(verification: impl Future<Output = T>) -> T {
    verification.now_or_never().expect("a verification with local keys waits for nothing")
}

fn member_key(set: &ValidatorSet, address: Address) -> Option<&VerifyingKey> {
    set.get(address).map(malachite::Validator::public_key)
}

fn is_signed(bytes: &[u8], signature: &Signature, key: &VerifyingKey) -> bool {
    key.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
}

#[async_trait]
impl Verifier<LedgerContext> for Domain {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey<LedgerContext>,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(self.vote_is_signed(vote, signature, key)))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey<LedgerContext>,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(self.proposal_is_signed(proposal, signature, key)))
    }

    // Vote extensions and validator proofs are not part of this network's protocol, so none is
    // ever valid.
    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<LedgerContext>,
        (): &(),
        _: &<Ed25519 as malachite::SigningScheme>::Signature,
        _: &PublicKey<LedgerContext>,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(
        &self,
        _: &ValidatorProof<LedgerContext>,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }
}
