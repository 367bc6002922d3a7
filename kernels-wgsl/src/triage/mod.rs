//! Diagnosing checkpoints: what is wrong, where, what it does, and how to mend it.
//!
//! A checkpoint that [`Checkpoint::open`](crate::Checkpoint::open) refuses is diagnosed all the same:
//! configuration and weight headers are read leniently, the geometry is taken from the tensors wherever they
//! agree against the configuration, and everything is reported, not only the first fault. What the
//! configuration alone can mend comes with the edit that mends it.
//!
//! | module | family of diagnostics |
//! |---|---|
//! | `folder` | files, headers, shards |
//! | `config`, `layers`, `sizes` | the configuration, by itself and against the tensors |
//! | `head`, `quantised`, `experts` | output head, quantisation, experts |
//! | `inventory` | missing, misshapen and unknown tensors |
//! | `gguf` | what only GGUF files have |
//! | `values` | what the weights hold |
//! | `text` | tokenizer, chat template, stop tokens |
//! | `drafter` | a drafter by itself and against its target |
//! | `trial` | what running a few tokens shows |

mod census;
mod codes;
mod config;
mod drafter;
mod experts;
mod fix;
mod folder;
mod gguf;
mod head;
pub(crate) mod inventory;
mod layers;
mod observed;
mod ordered;
mod quantised;
mod report;
mod sizes;
mod text;
mod trial;
mod values;

pub use census::{Census, census};
pub use codes::Code;
pub(crate) use config::{Config, Family};
pub use fix::{Fixed, corrected};
pub use report::{ConfigEdit, Diagnostic, Report, Severity};

use crate::error::Error;
use crate::gpu::Gpu;
use crate::load::{Checkpoint, Drafter};
use folder::Folder;
use report::Findings;
use std::collections::BTreeMap;
use std::path::Path;

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// gemma4-nano, which is inside the binary.
    Embedded,
    /// A checkpoint or drafter folder, or a GGUF file.
    Path(&'a Path),
}

/// How far a check goes.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// A drafter to check against the checkpoint.
    pub draft: Option<Subject<'a>>,
    /// An adapter to run a few tokens on; without it nothing is run.
    pub adapter: Option<&'a Gpu>,
}

/// Checks a checkpoint. Never fails: what cannot be read is a diagnostic.
pub fn check(subject: Subject<'_>, options: &Options<'_>) -> Report {
    let mut findings = Findings::default();
    let mut scans = Vec::new();
    let folder = match subject {
        Subject::Embedded => Folder::embedded(&crate::load::embedded_files(), &mut findings),
        Subject::Path(path) => Folder::open(path, &mut findings),
    };
    let target = examine(&folder, &mut findings, &mut scans);
    if let Some(draft) = options.draft {
        findings.within("draft", |findings| {
            let folder = match draft {
                Subject::Embedded => {
                    Folder::embedded(&crate::load::embedded_drafter_files(), findings)
                }
                Subject::Path(path) => Folder::open(path, findings),
            };
            let own = examine(&folder, findings, &mut scans);
            drafter::against(own.as_ref(), target.as_ref(), findings);
        });
    }
    if folder.gguf().is_some() {
        // There is no config.json to edit: the one that was checked was made from the metadata.
        findings.drop_edits();
    }
    let is_drafter = target.as_ref().is_some_and(|g| g.drafter.is_some());
    if !findings.has_error() && is_drafter {
        if let Err(error) = open_drafter(subject) {
            findings.error(Code::DrafterUnreadable, "", error.to_string(), "see the message");
        }
    } else if !findings.has_error() {
        load_and_run(subject, options, &mut findings);
    }
    findings.into_report(scans)
}

/// Checks files in memory, by name, without running anything.
pub fn check_files(files: BTreeMap<String, Vec<u8>>) -> Report {
    let mut findings = Findings::default();
    let mut scans = Vec::new();
    let folder = Folder::from_files(files, &mut findings);
    examine(&folder, &mut findings, &mut scans);
    findings.into_report(scans)
}

/// Everything that needs no engine.
fn examine(
    folder: &Folder,
    findings: &mut Findings,
    scans: &mut Vec<String>,
) -> Option<inventory::Geometry> {
    let config = Config::read(folder, findings)?;
    let named = folder.names(&config, findings);
    let seen = observed::Observed::of(&named);
    layers::check(&config, &seen, findings);
    sizes::check(&config, &seen, findings);
    experts::check(&config, &seen, findings);
    head::check(&config, &named, findings);
    quantised::check(&config, &named, findings);
    let geometry = inventory::Geometry::resolve(&config, &seen);
    if let Some(geometry) = &geometry {
        inventory::check(geometry, &named, findings);
        drafter::check(geometry, &config, &named, findings);
    }
    scans.push(values::check(folder, &config, &named, findings));
    if config.family != Family::Assistant {
        text::check(folder, &config, &seen, findings);
    }
    geometry
}

fn open_drafter(subject: Subject<'_>) -> crate::Result<Drafter> {
    match subject {
        Subject::Embedded => Drafter::embedded(),
        Subject::Path(path) => Drafter::open(path),
    }
}

/// Opens the checkpoint as the engine does and, where there is an adapter, runs it.
fn load_and_run(subject: Subject<'_>, options: &Options<'_>, findings: &mut Findings) {
    let opened = match subject {
        Subject::Embedded => Checkpoint::embedded(),
        Subject::Path(path) => Checkpoint::open(path),
    };
    let checkpoint = match opened {
        Ok(checkpoint) => checkpoint,
        Err(error @ Error::Unsupported { .. }) => {
            let mend = "other engines may run it; nothing was found that is wrong with the files";
            findings.note(Code::DoesNotLoad, "", error.to_string(), mend);
            return;
        }
        Err(error) => {
            let mend = "the message says what the engine needs; other loaders may accept the files";
            findings.error(Code::DoesNotLoad, "", error.to_string(), mend);
            return;
        }
    };
    let Some(gpu) = options.adapter else { return };
    let drafter = options.draft.and_then(|draft| match open_drafter(draft) {
        Ok(drafter) => Some(drafter),
        Err(error) => {
            let mend = "use the drafter that was published with this checkpoint";
            findings.error(Code::DrafterUnreadable, "draft", error.to_string(), mend);
            None
        }
    });
    trial::run(gpu, &checkpoint, drafter.as_ref(), findings);
}
