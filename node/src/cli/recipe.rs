//! Naming a recipe: what `assay claim new` and `assay claim measure` share.

use super::engine::{bundle_help, bundle_long_help};
use crate::embedded::Embedded;
use crate::storage::Blobs;
use anyhow::Context;
use assay_protocol::ids::{BlobHash, ClaimId};
use assay_protocol::manifest::Kind;
use assay_protocol::record::{Drafter, Recipe};
use std::path::Path;

/// A recipe and what it is compared with.
#[derive(Debug, Clone, clap::Args)]
pub struct RecipeArgs {
    /// The checkpoint
    #[arg(long, value_name = "DIR|HASH|nano", default_value = "nano")]
    pub(crate) checkpoint: String,
    #[arg(long, value_name = "DIR|HASH", help = bundle_help(), long_help = bundle_long_help())]
    pub(crate) bundle: Option<String>,
    /// The drafter of speculative decoding
    #[arg(long, value_name = "DIR|HASH|nano", requires = "draft_len")]
    pub(crate) drafter: Option<String>,
    /// Drafts per step
    #[arg(long, value_name = "K", requires = "drafter")]
    pub(crate) draft_len: Option<u32>,
    /// The claim that this one improves on; the base recipe without this
    #[arg(long, value_name = "CLAIM")]
    pub(crate) parent: Option<ClaimId>,
}

impl RecipeArgs {
    /// The recipe, with folders taken into the node's store.
    ///
    /// # Errors
    ///
    /// When something named is neither a folder that can be imported nor a hash.
    pub(crate) fn recipe(&self, blobs: &Blobs) -> anyhow::Result<Recipe> {
        let bundle = self.bundle.as_deref();
        Ok(Recipe {
            checkpoint: source(blobs, Kind::Checkpoint, &self.checkpoint)?,
            bundle: bundle.map(|bundle| source(blobs, Kind::Bundle, bundle)).transpose()?,
            drafter: match (&self.drafter, self.draft_len) {
                (Some(drafter), Some(draft_len)) => {
                    Some(Drafter { checkpoint: source(blobs, Kind::Drafter, drafter)?, draft_len })
                }
                _ => None,
            },
        })
    }
}

/// A manifest from what the user typed: `nano`, a hash, or a folder to import.
///
/// # Errors
///
/// When it is none of them, or the folder cannot be imported.
pub(super) fn source(blobs: &Blobs, kind: Kind, text: &str) -> anyhow::Result<BlobHash> {
    if text == "nano" {
        let embedded = Embedded::names();
        return match kind {
            Kind::Checkpoint => Ok(embedded.checkpoint),
            Kind::Drafter => Ok(embedded.drafter),
            Kind::Bundle => {
                anyhow::bail!("no bundle is embedded; leave --bundle out for the built-in one")
            }
        };
    }
    if let Ok(hash) = text.parse() {
        return Ok(hash);
    }
    let folder = Path::new(text);
    anyhow::ensure!(folder.is_dir(), "{text} is neither a folder nor a manifest hash of 64 digits");
    blobs
        .import_folder(kind, folder)
        .with_context(|| format!("cannot import {} {text}", kind.name()))
}
