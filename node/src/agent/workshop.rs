//! What may be turned, and recipes made of it.
//!
//! | lever | choices |
//! |---|---|
//! | an op, as `matmul-bf16` | `built-in`; a value of its tunable constant, as `lane-rows-2`; `k` and eight digits: the kernel of the bundle with this hash |
//! | `fusion-` and the name of a fusion that the model has launches for | `on`, or `off` where the start has it |
//! | `draft-length` | `1` to `4`, and `0` where the start drafts |
//! | `weights` | `int8`, `int4-g32`, where the start's are not quantised |
//!
//! Bundles come from the operator's folders and from entries on the ledger. Their names are not used.

use super::view::{Knob, Variant};
use super::world::Made;
use crate::embedded::Embedded;
use crate::nulls::files_of;
use crate::storage::{BlobError, Blobs, ModelError, Models};
use assay_kernels::compose::{Files, Source, composed_files, tunings};
use assay_kernels::quantize::{self, Options, Scheme};
use assay_kernels::registry::{Op, entries};
use assay_kernels::{Bundle, Checkpoint, Fusion, ModelConfig};
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::{Kind, Manifest};
use assay_protocol::record::{Drafter, Recipe};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[cfg(test)]
mod tests;

/// File name of a checkpoint's model card.
const CARD: &str = "README.md";
/// Lever of the drafts a step.
pub(super) const DRAFT_LENGTH: &str = "draft-length";
/// What the lever of a fusion begins with.
const FUSION: &str = "fusion-";
/// Choices of such a lever.
const ON: &str = "on";
const OFF: &str = "off";
/// Lever of how weights are stored.
pub(super) const WEIGHTS: &str = "weights";
/// Choice of an op's built-in kernel.
const BUILTIN: &str = "built-in";
/// Longest drafts that are tried.
const DRAFTS_MAX: u32 = 4;
/// How weights may be stored.
const SCHEMES: [&str; 2] = ["int4-g32", "int8"];
/// Digits of a bundle's hash in the word of its kernels.
const HASH_DIGITS: usize = 8;
/// Most bundles that kernels are taken from.
pub(super) const SHELF_MAX: usize = 16;

/// Why a variant cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A file is missing or cannot be stored.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Kernels or weights cannot be put together.
    #[error(transparent)]
    Kernels(#[from] assay_kernels::Error),
    /// The list of imported models cannot be read.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// Files cannot be read or written.
    #[error("cannot use {path}: {reason}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A setting that is none of the knobs.
    #[error("{0}={1} is no setting of this recipe")]
    Unknown(String, String),
}

/// Makes candidates in this node's store.
pub struct Workshop {
    blobs: Blobs,
    /// Folder for checkpoints while they are written.
    folder: PathBuf,
    /// Bundles that kernels are taken from, by the word of their kernels.
    shelf: Mutex<BTreeMap<String, Files>>,
    /// Held while a checkpoint is written: one that was given up may still be at its last tensor.
    writing: Mutex<()>,
}

impl Workshop {
    /// A workshop with nothing on its shelf, which writes checkpoints in `folder` first.
    #[must_use]
    pub fn new(blobs: Blobs, folder: PathBuf) -> Self {
        Self { blobs, folder, shelf: Mutex::default(), writing: Mutex::default() }
    }

    /// The first part of the model card of a checkpoint that is stored here.
    pub(super) fn card(&self, checkpoint: BlobHash) -> Option<Vec<u8>> {
        let manifest = self.blobs.manifest(checkpoint).ok()?;
        let file = manifest.files.iter().find(|file| file.name == CARD)?;
        self.blobs.get(*file.chunks.first()?).ok()
    }

    fn shelf(&self) -> BTreeMap<String, Files> {
        // Every change is one call on the map, so that a panic elsewhere leaves it whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a bundle on the shelf, unless it is full or holds it already. One that is not valid is an
    /// error.
    ///
    /// # Errors
    ///
    /// [`MakeError::Kernels`].
    pub fn shelve(&self, files: Files) -> Result<(), MakeError> {
        Bundle::from_files(files.clone())?;
        let named = files.iter().map(|(name, data)| (name.as_str(), data.as_slice()));
        let hash = Manifest::describe(Kind::Bundle, named).hash().to_string();
        let word = format!("k{}", hash.get(..HASH_DIGITS).unwrap_or_default());
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.len() < SHELF_MAX {
            shelf.insert(word, files);
        }
        Ok(())
    }

    /// Puts a bundle of this node's store on the shelf.
    ///
    /// # Errors
    ///
    /// [`MakeError`].
    pub fn shelve_stored(&self, bundle: BlobHash) -> Result<(), MakeError> {
        self.shelve(files_of(&self.blobs, bundle)?)
    }

    /// Puts the bundles in the operator's folders on the shelf: of every folder itself, or of the folders
    /// in it.
    ///
    /// # Errors
    ///
    /// [`MakeError`] naming the folder that cannot be read.
    pub fn shelve_folder(&self, folder: &Path) -> Result<(), MakeError> {
        let io = |reason| MakeError::Io { path: folder.to_owned(), reason };
        if folder.join("bundle.toml").is_file() {
            let mut files = Files::new();
            for entry in std::fs::read_dir(folder).map_err(io)?.flatten() {
                if entry.path().is_file() {
                    let data = std::fs::read(entry.path()).map_err(io)?;
                    files.insert(entry.file_name().to_string_lossy().into_owned(), data);
                }
            }
            return self.shelve(files);
        }
        let mut inner: Vec<PathBuf> =
            std::fs::read_dir(folder).map_err(io)?.flatten().map(|entry| entry.path()).collect();
        inner.sort_unstable();
        inner.retain(|path| path.join("bundle.toml").is_file());
        inner.iter().try_for_each(|path| self.shelve_folder(path))
    }

    /// What may be turned from a recipe whose files are here.
    ///
    /// # Errors
    ///
    /// [`MakeError`].
    pub fn knobs(&self, start: &Recipe) -> Result<Vec<Knob>, MakeError> {
        let from = self.bundle_of(start)?;
        let shelf = self.shelf();
        let config = self.config_of(start)?;
        let quantised = !config.quantised.is_empty();
        let mut knobs = Vec::new();
        for entry in entries().iter().filter(|entry| quantised || runs_plain(entry.op)) {
            let sources = sources(entry.op, from.as_ref(), &shelf)?;
            if !sources.is_empty() {
                let choices = sources.into_iter().map(|(word, _)| word).collect();
                knobs.push(Knob { lever: lever_of(entry.op), choices });
            }
        }
        let before = fusions_of(from.as_ref())?;
        for fusion in Fusion::ALL.into_iter().filter(|fusion| fusion.applies_to(&config)) {
            let choice = if before.contains(&fusion) { OFF } else { ON };
            knobs.push(Knob { lever: fusion_lever(fusion), choices: vec![choice.to_owned()] });
        }
        if drafter_of(start).is_some() {
            let now = start.drafter.map_or(0, |drafter| drafter.draft_len);
            let lengths = (0..=DRAFTS_MAX).filter(|length| *length != now);
            let choices = lengths.map(|length| length.to_string()).collect();
            knobs.push(Knob { lever: DRAFT_LENGTH.to_owned(), choices });
        }
        if !quantised {
            let choices = SCHEMES.map(str::to_owned).to_vec();
            knobs.push(Knob { lever: WEIGHTS.to_owned(), choices });
        }
        Ok(knobs)
    }

    /// Makes a variant of a recipe, and stores its files; not to the end where `stop` says so.
    ///
    /// # Errors
    ///
    /// [`MakeError`].
    pub fn make(
        &self,
        start: &Recipe,
        variant: &Variant,
        stop: &dyn Fn() -> bool,
    ) -> Result<Recipe, MakeError> {
        let from = self.bundle_of(start)?;
        let shelf = self.shelf();
        let mut recipe = *start;
        let mut changes: BTreeMap<Op, Source<'_>> = BTreeMap::new();
        let before = fusions_of(from.as_ref())?;
        let mut fusions = before.clone();
        for (lever, choice) in &variant.0 {
            let unknown = || MakeError::Unknown(lever.clone(), choice.clone());
            match lever.as_str() {
                DRAFT_LENGTH => {
                    let draft_len = choice.parse().map_err(|_| unknown())?;
                    let checkpoint = drafter_of(start).ok_or_else(unknown)?;
                    recipe.drafter = (draft_len > 0).then_some(Drafter { checkpoint, draft_len });
                }
                WEIGHTS => {
                    let scheme = choice.parse().map_err(|_| unknown())?;
                    recipe.checkpoint = self.quantise(start, scheme, stop)?;
                }
                fused if fused.starts_with(FUSION) => {
                    let fusion = Fusion::ALL.into_iter().find(|one| fusion_lever(*one) == fused);
                    let fusion = fusion.ok_or_else(unknown)?;
                    let turned = match choice.as_str() {
                        ON => fusions.insert(fusion),
                        OFF => fusions.remove(&fusion),
                        _ => false,
                    };
                    turned.then_some(()).ok_or_else(unknown)?;
                }
                _ => {
                    let op = entries().iter().map(|e| e.op).find(|op| lever_of(*op) == *lever);
                    let op = op.ok_or_else(unknown)?;
                    let sources = sources(op, from.as_ref(), &shelf)?;
                    let source = sources.into_iter().find(|(word, _)| word == choice);
                    changes.insert(op, source.ok_or_else(unknown)?.1);
                }
            }
        }
        if !changes.is_empty() || fusions != before {
            let files = composed_files("search", from.as_ref(), &changes, Some(&fusions))?;
            let stored = files.map(|files| {
                let files = files.iter().map(|(name, data)| (name.as_str(), data.as_slice()));
                self.blobs.import(Kind::Bundle, files)
            });
            recipe.bundle = stored.transpose()?;
        }
        Ok(recipe)
    }

    /// The most bytes that making a variant takes: its bundle, twice, as chunks and as files, and the
    /// start's checkpoint as often where the weights are written again.
    #[must_use]
    pub fn bytes_of(&self, start: &Recipe, variant: &Variant) -> u64 {
        let of = |lever: &str| variant.0.contains_key(lever);
        let others = variant.0.keys().any(|lever| lever != DRAFT_LENGTH && lever != WEIGHTS);
        let bundle = u64::try_from(assay_kernels::bundle::SOURCE_BYTES_MAX).unwrap_or(u64::MAX);
        let weights = self.blobs.manifest(start.checkpoint).map_or(0, |manifest| manifest.bytes());
        let once = (if others { bundle } else { 0 }) + (if of(WEIGHTS) { weights } else { 0 });
        once.saturating_mul(2)
    }

    /// The files of a recipe that was made from another.
    #[must_use]
    pub fn made(&self, start: &Recipe, recipe: &Recipe) -> Made {
        let checkpoint = (recipe.checkpoint != start.checkpoint).then_some(recipe.checkpoint);
        let bundle = recipe.bundle.filter(|_| recipe.bundle != start.bundle);
        let manifests: Vec<BlobHash> = checkpoint.into_iter().chain(bundle).collect();
        let once = manifests.iter().filter_map(|hash| self.blobs.manifest(*hash).ok());
        let bytes = once.map(|manifest| manifest.bytes()).sum::<u64>().saturating_mul(2);
        Made { manifests, bytes }
    }

    /// Deletes files, except what `kept` or a model that the operator imported names.
    ///
    /// # Errors
    ///
    /// [`MakeError`]; what was deleted by then is gone.
    pub fn discard(&self, made: &[BlobHash], kept: &[BlobHash]) -> Result<(), MakeError> {
        let models = match self.folder.parent() {
            Some(home) => Models::open(home)?,
            None => return Ok(()),
        };
        let imported = models.list().values().map(|model| model.checkpoint);
        let kept: BTreeSet<BlobHash> = kept.iter().copied().chain(imported).collect();
        let others: Vec<BlobHash> =
            kept.iter().copied().filter(|hash| self.blobs.contains(*hash)).collect();
        for manifest in made.iter().filter(|manifest| !kept.contains(manifest)) {
            self.blobs.forget(*manifest, &others)?;
        }
        Ok(())
    }

    fn bundle_of(&self, recipe: &Recipe) -> Result<Option<Files>, MakeError> {
        Ok(recipe.bundle.map(|bundle| files_of(&self.blobs, bundle)).transpose()?)
    }

    fn config_of(&self, recipe: &Recipe) -> Result<ModelConfig, MakeError> {
        let folder = self.blobs.materialise(recipe.checkpoint)?;
        Ok(Checkpoint::open(&folder)?.config().clone())
    }

    fn quantise(
        &self,
        start: &Recipe,
        scheme: Scheme,
        stop: &dyn Fn() -> bool,
    ) -> Result<BlobHash, MakeError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let out = self.folder.join("weights");
        let io = |reason| MakeError::Io { path: out.clone(), reason };
        if out.exists() {
            std::fs::remove_dir_all(&out).map_err(io)?;
        }
        std::fs::create_dir_all(&out).map_err(io)?;
        let checkpoint = Checkpoint::open(&self.blobs.materialise(start.checkpoint)?)?;
        let options =
            Options { scheme, head: None, per_layer_projections: false, keep: Vec::new() };
        let written = quantize::write(&checkpoint, &options, &out, &mut |_| match stop() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        let hash = match written {
            Ok(_) => self.blobs.import_folder(Kind::Checkpoint, &out).map_err(MakeError::from),
            Err(error) => Err(error.into()),
        };
        std::fs::remove_dir_all(&out).map_err(io)?;
        hash
    }
}

/// The drafter that a recipe has, or could have.
fn drafter_of(start: &Recipe) -> Option<BlobHash> {
    let embedded = Embedded::names();
    let own = start.drafter.map(|drafter| drafter.checkpoint);
    own.or_else(|| (start.checkpoint == embedded.checkpoint).then_some(embedded.drafter))
}

/// Whether a model whose weights are not quantised may run an op.
fn runs_plain(op: Op) -> bool {
    !matches!(op, Op::MatmulInt4 | Op::MatmulBlock | Op::EmbedBlock)
}

/// The launches that a bundle puts together.
fn fusions_of(bundle: Option<&Files>) -> Result<BTreeSet<Fusion>, MakeError> {
    let bundle = bundle.map(|files| Bundle::from_files(files.clone())).transpose()?;
    Ok(bundle.map(|bundle| bundle.fusions().clone()).unwrap_or_default())
}

fn fusion_lever(fusion: Fusion) -> String {
    format!("{FUSION}{}", fusion.name().replace('_', "-"))
}

fn lever_of(op: Op) -> String {
    op.entry().name.replace('_', "-")
}

/// Where an op's kernel may come from, other than where it comes from now, by word.
fn sources<'a>(
    op: Op,
    from: Option<&Files>,
    shelf: &'a BTreeMap<String, Files>,
) -> Result<Vec<(String, Source<'a>)>, MakeError> {
    let brings = |files: &Files| -> Result<BTreeSet<&'static str>, MakeError> {
        Ok(Bundle::from_files(files.clone())?.replaced_ops().collect())
    };
    let name = op.entry().name;
    let mut found = Vec::new();
    if from.map(brings).transpose()?.is_some_and(|ops| ops.contains(name)) {
        found.push((BUILTIN.to_owned(), Source::Builtin));
    }
    for (_, constant, values) in tunings().filter(|(tuned, ..)| *tuned == op) {
        let word = constant.to_ascii_lowercase().replace('_', "-");
        let each = values.into_iter();
        found.extend(each.map(|v| (format!("{word}-{v}"), Source::Tuned(constant, v))));
    }
    for (word, files) in shelf.iter().filter(|(_, files)| Some(*files) != from) {
        if brings(files)?.contains(name) {
            found.push((word.clone(), Source::Bundle(files)));
        }
    }
    Ok(found)
}
