//! What validators sign, and the check that enough of them did.
//!
//! The ordering engine lives in `node`; what its votes *say* is fixed here, so that an auditor
//! verifies a commit certificate without it.

use crate::ids::{BlockHash, NetworkId, PeerId};
use assay_proto::v1;
use ed25519_dalek::Signature;
use std::collections::BTreeMap;

/// The two votes of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteKind {
    /// "This value is valid in this round."
    Prevote,
    /// "I commit to this value in this round."
    Precommit,
}

/// Where in the order a vote or proposal belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The network voted in.
    pub network: NetworkId,
    /// Raised by a `resume` record only.
    pub era: u64,
    /// Height voted on.
    pub height: u64,
    /// Round within the height.
    pub round: u32,
}

impl Slot {
    fn bytes(&self, kind: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(b"assay/vote/v1\0");
        out.extend_from_slice(&self.network.0);
        out.extend_from_slice(&self.era.to_le_bytes());
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.round.to_le_bytes());
        out.push(kind);
        out
    }
}

/// The bytes a validator signs to vote; `block` is `None` for a vote against every block.
#[must_use]
pub fn vote_bytes(slot: &Slot, kind: VoteKind, block: Option<BlockHash>) -> Vec<u8> {
    let mut out = slot.bytes(match kind {
        VoteKind::Prevote => 1,
        VoteKind::Precommit => 2,
    });
    match block {
        None => out.push(0),
        Some(hash) => {
            out.push(1);
            out.extend_from_slice(&hash.0);
        }
    }
    out
}

/// The bytes a proposer signs. `valid_round` is the earlier round in which the block was already
/// known valid, if any.
#[must_use]
pub fn proposal_bytes(slot: &Slot, block: BlockHash, valid_round: Option<u32>) -> Vec<u8> {
    let mut out = slot.bytes(3);
    out.extend_from_slice(&block.0);
    match valid_round {
        None => out.push(0),
        Some(round) => {
            out.push(1);
            out.extend_from_slice(&round.to_le_bytes());
        }
    }
    out
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is for another height or block.
    #[error("certificate is for another block")]
    OtherBlock,
    /// Signed by a key outside the validator set, or twice by one.
    #[error("signer {0} is not a validator of this height or signed twice")]
    Signer(PeerId),
    /// A key or signature of the wrong length.
    #[error("certificate field has {0} bytes")]
    Length(usize),
    /// A signature that does not verify.
    #[error("signature of validator {0} does not verify")]
    Signature(PeerId),
    /// Two thirds or less of the voting power.
    #[error("certificate has {power} of {total} votes, more than two thirds are needed")]
    Quorum {
        /// Power that signed.
        power: u64,
        /// Power of the whole set.
        total: u64,
    },
}

/// Checks that more than two thirds of `validators` (with their powers) committed to `block`.
///
/// Every signature listed must verify, not only a sufficient number: a certificate with one
/// damaged signature is a damaged certificate.
///
/// # Errors
///
/// [`CertificateError`] with the first fault found.
pub fn verify(
    network: NetworkId,
    era: u64,
    certificate: &v1::CommitCertificate,
    height: u64,
    block: BlockHash,
    validators: &BTreeMap<PeerId, u64>,
) -> Result<(), CertificateError> {
    let slot = Slot { network, era, height, round: certificate.round };
    let message = vote_bytes(&slot, VoteKind::Precommit, Some(block));
    count_votes(certificate, height, block, validators, |signer, signature| {
        signer.has_signed(&message, signature)
    })
}

/// The same for a certificate whose signatures were found to verify by the keys given with them.
///
/// # Errors
///
/// As [`verify`].
pub(crate) fn verify_signed(
    certificate: &v1::CommitCertificate,
    height: u64,
    block: BlockHash,
    validators: &BTreeMap<PeerId, u64>,
) -> Result<(), CertificateError> {
    count_votes(certificate, height, block, validators, |_, _| true)
}

fn count_votes(
    certificate: &v1::CommitCertificate,
    height: u64,
    block: BlockHash,
    validators: &BTreeMap<PeerId, u64>,
    is_signed: impl Fn(PeerId, &[u8]) -> bool,
) -> Result<(), CertificateError> {
    if certificate.height != height || certificate.block != block.0 {
        return Err(CertificateError::OtherBlock);
    }
    let mut left = validators.clone();
    let mut power: u64 = 0;
    for entry in &certificate.signatures {
        let signer = PeerId::from_slice(&entry.validator).map_err(CertificateError::Length)?;
        let weight = left.remove(&signer).ok_or(CertificateError::Signer(signer))?;
        if entry.signature.len() != Signature::BYTE_SIZE {
            return Err(CertificateError::Length(entry.signature.len()));
        }
        if !is_signed(signer, &entry.signature) {
            return Err(CertificateError::Signature(signer));
        }
        power = power.saturating_add(weight);
    }
    let total: u64 = validators.values().fold(0, |sum, weight| sum.saturating_add(*weight));
    if u128::from(power) * 3 > u128::from(total) * 2 {
        Ok(())
    } else {
        Err(CertificateError::Quorum { power, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    const NETWORK: NetworkId = NetworkId([7; 32]);
    const BLOCK: BlockHash = BlockHash([9; 32]);

    fn keys() -> Vec<SigningKey> {
        (1..=4).map(|i| SigningKey::from_bytes(&[i; 32])).collect()
    }

    fn set() -> BTreeMap<PeerId, u64> {
        keys().iter().map(|k| (PeerId(k.verifying_key().to_bytes()), 1)).collect()
    }

    fn certificate(signers: usize) -> v1::CommitCertificate {
        let slot = Slot { network: NETWORK, era: 0, height: 5, round: 1 };
        let message = vote_bytes(&slot, VoteKind::Precommit, Some(BLOCK));
        v1::CommitCertificate {
            height: 5,
            round: 1,
            block: BLOCK.to_vec(),
            signatures: keys()[..signers]
                .iter()
                .map(|key| v1::CommitSignature {
                    validator: key.verifying_key().to_bytes().to_vec(),
                    signature: key.sign(&message).to_bytes().to_vec(),
                })
                .collect(),
        }
    }

    fn check(certificate: &v1::CommitCertificate) -> Result<(), CertificateError> {
        verify(NETWORK, 0, certificate, 5, BLOCK, &set())
    }

    #[test]
    fn three_of_four_suffice_and_two_do_not() {
        assert_eq!(check(&certificate(3)), Ok(()));
        assert_eq!(check(&certificate(2)), Err(CertificateError::Quorum { power: 2, total: 4 }));
    }

    #[test]
    fn every_signature_listed_must_verify() {
        let mut damaged = certificate(4);
        damaged.signatures[3].signature[10] ^= 1;
        assert!(matches!(check(&damaged), Err(CertificateError::Signature(_))));
        let mut doubled = certificate(3);
        let again = doubled.signatures[0].clone();
        doubled.signatures.push(again);
        assert!(matches!(check(&doubled), Err(CertificateError::Signer(_))));
        let mut short = certificate(3);
        short.signatures[1].signature.pop();
        assert_eq!(check(&short), Err(CertificateError::Length(63)));
    }

    #[test]
    fn a_vote_counts_for_its_own_slot_only() {
        let mut moved = certificate(4);
        moved.round = 2;
        assert!(matches!(check(&moved), Err(CertificateError::Signature(_))));
        let wrong_era = verify(NETWORK, 1, &certificate(4), 5, BLOCK, &set());
        assert!(matches!(wrong_era, Err(CertificateError::Signature(_))));
    }
}
