//! The model that every node carries: gemma4-nano with its drafter, and the text that prompts are
//! cut from.

use crate::storage::{BlobError, Blobs};
use assay_kernels::{embedded_drafter_files, embedded_files, heldout_text};
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::{Kind, Manifest, blob_hash};
use assay_protocol::record::Recipe;

/// Names of what is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Manifest of the model.
    pub checkpoint: BlobHash,
    /// Manifest of its drafter.
    pub drafter: BlobHash,
    /// The held-out text.
    pub text: BlobHash,
}

impl Embedded {
    /// Names what is embedded without storing it.
    #[must_use]
    pub fn names() -> Self {
        Self {
            checkpoint: Manifest::describe(Kind::Checkpoint, embedded_files()).hash(),
            drafter: Manifest::describe(Kind::Drafter, embedded_drafter_files()).hash(),
            text: blob_hash(heldout_text().as_bytes()),
        }
    }

    /// Stores what is embedded, so that peers with another version can fetch it.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    pub fn import(blobs: &Blobs) -> Result<Self, BlobError> {
        Ok(Self {
            checkpoint: blobs.import(Kind::Checkpoint, embedded_files())?,
            drafter: blobs.import(Kind::Drafter, embedded_drafter_files())?,
            text: blobs.put(heldout_text().as_bytes())?,
        })
    }

    /// The plain recipe: bf16 weights, built-in kernels, one token per step.
    #[must_use]
    pub fn base(&self) -> Recipe {
        Recipe { checkpoint: self.checkpoint, bundle: None, drafter: None }
    }
}
