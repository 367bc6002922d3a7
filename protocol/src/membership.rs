//! What peers say about who takes part: vouches, joining, leaving, and tricks disclosed.

use crate::error::Reject;
use crate::ids::{BlobHash, ClaimId, PeerId, RecordId};
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::{Deserialize, Serialize};

/// Longest name of a peer or operator, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest text of a disclosure, in bytes.
pub const DISCLOSURE_BYTES_MAX: usize = 1024;

/// A member's word for a newcomer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// The newcomer's key.
    pub peer: PeerId,
    /// Who runs it.
    pub operator: String,
    /// For people.
    pub name: String,
    /// The epoch in which the vouch counts.
    pub epoch: u64,
}

/// The newcomer's acceptance of a vouch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The vouch accepted, which fixes name and operator.
    pub vouch: RecordId,
    /// The newcomer's key for verifiable random outputs.
    pub vrf: PeerId,
}

/// A member's farewell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Height of the block that let the member in; 0 for those in the genesis.
    pub joined_at: u64,
}

/// The word of a validator that was found silent that it is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Height of the block that noted its silence.
    pub silent_since: u64,
}

/// A trick that a peer found or used, told by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosure {
    /// The claim that uses it, if one does.
    pub claim: Option<ClaimId>,
    /// What it is and how it works.
    pub text: String,
    /// Names whatever shows it.
    pub evidence: Option<BlobHash>,
}

/// Whether a text may name a peer or operator: 1 to [`NAME_BYTES_MAX`] bytes without control
/// characters, and no space at either end, so that two names never look alike by blanks.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.chars().any(char::is_control)
        && text.trim() == text
}

impl Vouch {
    pub(crate) fn to_proto(&self) -> v1::Vouch {
        v1::Vouch {
            peer: self.peer.to_vec(),
            operator: self.operator.clone(),
            name: self.name.clone(),
            epoch: self.epoch,
        }
    }

    pub(crate) fn from_proto(vouch: v1::Vouch) -> Result<Self, Reject> {
        for (name, text) in [("operator", &vouch.operator), ("name", &vouch.name)] {
            if !is_name(text) {
                let reason =
                    format!("1 to {NAME_BYTES_MAX} bytes, no control characters or outer spaces");
                return Err(field(name, reason));
            }
        }
        Ok(Self {
            peer: PeerId(bytes32("peer", &vouch.peer)?),
            operator: vouch.operator,
            name: vouch.name,
            epoch: vouch.epoch,
        })
    }
}

impl Join {
    pub(crate) fn to_proto(self) -> v1::Join {
        v1::Join { vouch: self.vouch.to_vec(), vrf: self.vrf.to_vec() }
    }

    pub(crate) fn from_proto(join: &v1::Join) -> Result<Self, Reject> {
        Ok(Self {
            vouch: RecordId(bytes32("vouch", &join.vouch)?),
            vrf: PeerId(bytes32("vrf", &join.vrf)?),
        })
    }
}

impl Disclosure {
    pub(crate) fn to_proto(&self) -> v1::Disclosure {
        v1::Disclosure {
            claim: self.claim.map(ClaimId::to_vec).unwrap_or_default(),
            text: self.text.clone(),
            evidence: self.evidence.map(BlobHash::to_vec).unwrap_or_default(),
        }
    }

    pub(crate) fn from_proto(disclosure: v1::Disclosure) -> Result<Self, Reject> {
        let text = disclosure.text;
        let control = |c: char| c.is_control() && c != '\n';
        if text.trim().is_empty() || text.len() > DISCLOSURE_BYTES_MAX || text.chars().any(control)
        {
            let reason = format!(
                "1 to {DISCLOSURE_BYTES_MAX} bytes without control characters other than newlines"
            );
            return Err(field("text", reason));
        }
        let optional = |name, bytes: &[u8]| match bytes {
            [] => Ok(None),
            bytes => bytes32(name, bytes).map(Some),
        };
        Ok(Self {
            claim: optional("claim", &disclosure.claim)?.map(ClaimId),
            text,
            evidence: optional("evidence", &disclosure.evidence)?.map(BlobHash),
        })
    }
}
