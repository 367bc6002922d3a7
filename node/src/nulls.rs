//! Null claims: a parent's recipe in other words, claimed by hand or by lot.
//!
//! Who wins a lot, and when there is room, is decided in [`assay_protocol::state::State::null_lot`].
//! What a seat could know a null claim by:
//!
//! - its text: the kernels are written again, see [`assay_kernels::respell`] for what that hides;
//! - its summary: the one that `assay claim new` writes when its author gives none;
//! - its moment: some time after an entry, drawn evenly up to a committee's deadline;
//! - its author: any full member that has nothing to do. A host that never claims anything else
//!   gives its null claims away.

use crate::api::ClaimRequest;
use crate::author::Author;
use crate::fetch::{FetchError, Fetcher};
use crate::storage::{BlobError, Blobs};
use assay_kernels::Bundle;
use assay_kernels::respell::{respelled, some_builtin_files};
use assay_protocol::ids::{BlobHash, PeerId, hash_parts};
use assay_protocol::manifest::Kind;
use assay_protocol::record::Recipe;
use assay_protocol::state::NullLot;
use std::collections::BTreeMap;
use std::time::Duration;

/// The ratio that the author of a null claim seals: no gain.
pub const NULL_RATIO_PPM: u64 = 1_000_000;

/// Why a null claim cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NullError {
    /// The parent's bundle is not here, or the new one cannot be stored.
    #[error("{0}; a bundle comes to a node that has a seat for it")]
    Blob(#[from] BlobError),
    /// No peer has the parent's bundle.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The parent's kernels cannot be written again.
    #[error("the parent cannot be claimed in other words: {0}")]
    Kernels(#[from] assay_kernels::Error),
    /// The system has no random numbers.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// The parent's recipe with its kernels in other words; where it uses the built-in ones, copies of
/// some of them.
///
/// # Errors
///
/// [`NullError`] when the parent's bundle is not in `blobs` or cannot be written again.
pub fn null_recipe(blobs: &Blobs, parent: Recipe) -> Result<Recipe, NullError> {
    let mut seeds = [0; 16];
    getrandom::fill(&mut seeds).map_err(NullError::Random)?;
    let seed = u128::from_le_bytes(seeds);
    #[allow(clippy::cast_possible_truncation, reason = "two seeds from one number")]
    let (one, other) = (seed as u64, (seed >> 64) as u64);
    let files = match parent.bundle {
        Some(bundle) => files_of(blobs, bundle)?,
        None => some_builtin_files(one)?,
    };
    let files = respelled(&files, other)?;
    let files = files.iter().map(|(name, data)| (name.as_str(), data.as_slice()));
    let bundle = blobs.import(Kind::Bundle, files)?;
    Ok(Recipe { bundle: Some(bundle), ..parent })
}

/// What a recipe brings, in one line: the summary of a claim whose author wrote none.
#[must_use]
pub fn summary_of(blobs: &Blobs, recipe: &Recipe) -> String {
    let kernels = recipe.bundle.map(|hash| {
        let bundle = files_of(blobs, hash).ok().and_then(|files| Bundle::from_files(files).ok());
        match bundle {
            Some(bundle) => {
                let mut ops: Vec<&str> = bundle.replaced_ops().collect();
                ops.sort_unstable();
                let fusions: Vec<&str> = bundle.fusions().iter().map(|f| f.name()).collect();
                let kernels = format!("other kernels for {}", ops.join(", "));
                let fused = format!("fused {}", fusions.join(", "));
                match (ops.is_empty(), fusions.is_empty()) {
                    (_, true) => kernels,
                    (true, false) => fused,
                    (false, false) => format!("{kernels}, {fused}"),
                }
            }
            None => format!("kernels {}", hash.short()),
        }
    });
    let drafts = recipe.drafter.map(|drafter| format!("{} drafts a step", drafter.draft_len));
    let parts: Vec<String> = kernels.into_iter().chain(drafts).collect();
    match parts.as_slice() {
        [] => format!("checkpoint {}", recipe.checkpoint.short()),
        parts => shortened(parts.join("; ")),
    }
}

/// A summary must not exceed what the network takes; op names are ASCII.
fn shortened(mut text: String) -> String {
    text.truncate(assay_protocol::record::SUMMARY_BYTES_MAX);
    text
}

/// The files of a bundle in the store.
///
/// # Errors
///
/// [`BlobError`].
pub(crate) fn files_of(
    blobs: &Blobs,
    bundle: BlobHash,
) -> Result<BTreeMap<String, Vec<u8>>, BlobError> {
    let mut files = BTreeMap::new();
    for file in blobs.manifest(bundle)?.files {
        let chunks = file.chunks.iter().map(|chunk| blobs.get(*chunk));
        files.insert(file.name, chunks.collect::<Result<Vec<_>, _>>()?.concat());
    }
    Ok(files)
}

/// Makes the null claims that this node wins the lot for.
pub struct Nulls {
    author: Author,
    fetcher: Fetcher,
    blobs: Blobs,
    secret: [u8; 32],
}

impl Nulls {
    /// Lots in the name of `author`.
    #[must_use]
    pub fn new(author: Author, fetcher: Fetcher, blobs: Blobs) -> Self {
        let secret = hash_parts("assay null lot key v1", &[&author.key.to_bytes()]);
        Self { author, fetcher, blobs, secret }
    }

    /// Draws a lot from every entry that the ledger gets, until the node stops.
    pub async fn serve(self) {
        let ledger = &self.author.ledger;
        let mut changes = ledger.changes();
        let mut seen = ledger.with(|peer| peer.state().entries().count());
        let mut height = 0;
        while changes.changed().await.is_ok() {
            // Most changes are news of other things than the ledger.
            let now = ledger.with(|peer| peer.state().height());
            if std::mem::replace(&mut height, now) == now {
                continue;
            }
            let state = ledger.state();
            let me = self.me();
            let fresh: Vec<_> = state.entries().skip(seen).map(|claim| claim.id).collect();
            seen += fresh.len();
            let won = fresh.iter().find_map(|entry| state.null_lot(me, &self.secret, *entry));
            if let Some(lot) = won {
                tokio::time::sleep(Duration::from_millis(lot.delay_ms)).await;
                self.make(lot).await;
            }
        }
    }

    fn me(&self) -> PeerId {
        PeerId(self.author.key.verifying_key().to_bytes())
    }

    /// Makes a null claim if there is room for one; otherwise the lot lapses.
    async fn make(&self, lot: NullLot) {
        let me = self.me();
        let room = |peer: &assay_protocol::peer::Peer| {
            peer.state().has_room_for_null(me) && peer.measuring().is_none()
        };
        if !self.author.ledger.with(room) || !self.author.seat.is_idle() {
            tracing::debug!(parent = %lot.parent.short(), "no room for a null claim");
            return;
        }
        let made = match self.request(lot).await {
            Ok(request) => self.author.submit(request).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match made {
            Ok(made) => {
                tracing::info!(claim = %made.claim, parent = %lot.parent, "made a null claim by lot");
            }
            Err(reason) => tracing::info!(reason, "no null claim was made"),
        }
    }

    async fn request(&self, lot: NullLot) -> Result<ClaimRequest, NullError> {
        let state = self.author.ledger.state();
        // A lot names the base or an entry, and neither ever disappears.
        let parent = state.recipe(lot.parent).unwrap_or(state.genesis().challenge.base);
        if let Some(bundle) = parent.bundle {
            self.fetcher.files(bundle, Kind::Bundle).await?;
        }
        let recipe = null_recipe(&self.blobs, parent)?;
        Ok(ClaimRequest {
            recipe,
            parent: (lot.parent != state.base_claim()).then_some(lot.parent),
            ratio_ppm: Some(NULL_RATIO_PPM),
            null: true,
            insist: true,
            cites: Vec::new(),
            summary: summary_of(&self.blobs, &recipe),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Embedded;

    #[test]
    fn a_null_recipe_is_another_bundle_for_the_same_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), u64::MAX).unwrap();
        let base = Embedded::names().base();
        let one = null_recipe(&blobs, base).unwrap();
        let other = null_recipe(&blobs, base).unwrap();
        assert_eq!(one.checkpoint, base.checkpoint);
        assert!(one.bundle.is_some() && one.bundle != other.bundle);
        // A null claim of a null claim, as of any other.
        let third = null_recipe(&blobs, one).unwrap();
        assert_ne!(third.bundle, one.bundle);
        assert_eq!(summary_of(&blobs, &third), summary_of(&blobs, &one));
        assert!(summary_of(&blobs, &one).starts_with("other kernels for "));
    }

    #[test]
    fn a_bundle_that_is_not_here_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), u64::MAX).unwrap();
        let base = Embedded::names().base();
        let foreign = Recipe { bundle: Some(BlobHash([1; 32])), ..base };
        assert!(matches!(null_recipe(&blobs, foreign), Err(NullError::Blob(_))));
        assert_eq!(summary_of(&blobs, &foreign), format!("kernels {}", BlobHash([1; 32]).short()));
        assert!(summary_of(&blobs, &base).starts_with("checkpoint "));
    }
}
