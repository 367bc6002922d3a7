//! A post's place in a relay: one peer builds a checkpoint, another tries it and fails, a third finds
//! out why and corrects it, a fourth claims it.

use super::detail::Detail;
use super::{Kind, PostBody};
use crate::error::Reject;
use crate::ids::{BlobHash, RecordId};
use crate::wire::{bytes32, field};
use assay_proto::v1;
use serde::Serialize;

/// What the header of a checkpoint, of a failed attempt and of a diagnosis that mends something repeats
/// of the body, so that the ledger alone shows whom a claim owes its checkpoint to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Manifest of the checkpoint that was built, tried, or corrected.
    pub manifest: BlobHash,
    /// What it follows: the checkpoint's post in an attempt, the attempt in a diagnosis, nothing in a
    /// checkpoint.
    pub previous: Option<RecordId>,
}

impl Link {
    /// The link of a body; `None` for posts that are no part of a relay: an attempt that ran or does not
    /// say whose checkpoint it tried, a diagnosis without a correction, every other kind.
    #[must_use]
    pub fn of(body: &PostBody) -> Option<Self> {
        let (manifest, previous) = match body.detail.as_ref()? {
            Detail::Checkpoint(built) => (built.manifest, None),
            Detail::Attempt(tried) if !tried.ran => (tried.checkpoint, Some(tried.built?)),
            Detail::Diagnosis(found) => (found.corrected?, Some(found.attempt)),
            _ => return None,
        };
        Some(Self { manifest, previous })
    }

    pub(super) fn to_proto(self) -> v1::Link {
        let previous = self.previous.map(RecordId::to_vec).unwrap_or_default();
        v1::Link { manifest: self.manifest.to_vec(), previous }
    }

    /// Reads the link of a post of `kind`. What only the body can tell, whether there ought to be one,
    /// is checked where the body is opened.
    pub(super) fn from_proto(kind: Kind, link: v1::Link) -> Result<Self, Reject> {
        let manifest = BlobHash(bytes32("link.manifest", &link.manifest)?);
        let previous = match (kind, link.previous.as_slice()) {
            (Kind::Checkpoint, []) => None,
            (Kind::Checkpoint, _) => {
                return Err(field("link.previous", "a checkpoint follows nothing".to_owned()));
            }
            (Kind::Attempt | Kind::Diagnosis, bytes) => {
                Some(RecordId(bytes32("link.previous", bytes)?))
            }
            _ => return Err(field("link", format!("in a {}", kind.word()))),
        };
        Ok(Self { manifest, previous })
    }
}
