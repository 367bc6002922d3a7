//! `assay model import`, `list` and `remove`: checkpoints in this node's store, by name.

use super::{check_disk, named, sized};
use crate::cli::engine::progress;
use crate::cli::output::{Format, fields, print, table};
use crate::storage::{Blobs, Model, Models};
use anyhow::{Context, bail, ensure};
use assay_kernels::triage::{self, Options, Severity, Subject};
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::Kind;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Put a checkpoint into this node's store under a name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay model import ./gemma-4-E2B-it
  assay model import ./gemma-Q4_K_M.gguf --name gemma-q4
  assay generate --model gemma-q4 --prompt 'In the beginning'

The files are copied into the node's folder (--home), cut into blobs by hash as claims name
them, and put together once more for use: twice the size is needed on its disk.")]
pub struct ImportArgs {
    /// Checkpoint or drafter folder, or GGUF file
    source: PathBuf,
    /// What to call it; without it the name of the folder or file
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Import it even though the check finds errors
    #[arg(long)]
    insist: bool,
}

/// Forget an imported checkpoint.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The name it was imported under
    name: String,
}

#[derive(Serialize)]
struct Imported {
    ok: bool,
    name: String,
    checkpoint: Option<BlobHash>,
    kind: &'static str,
    bytes: u64,
    skipped: Vec<String>,
    diagnostics: Vec<triage::Diagnostic>,
}

#[derive(Serialize)]
struct Listed {
    models: BTreeMap<String, Model>,
}

#[derive(Serialize)]
struct Removed {
    name: String,
    freed_bytes: u64,
}

/// Imports; false where the check found errors and nothing was imported.
pub(super) fn run(home: &Path, args: &ImportArgs, format: Format) -> anyhow::Result<bool> {
    let source = named(home, &args.source)?;
    ensure!(source.exists(), "there is nothing at {}", source.display());
    let mut models = Models::open(home)?;
    let name = args.name.clone().unwrap_or_else(|| default_name(&source));
    models.check_name(&name)?;
    let (files, skipped) = files(&source)?;
    let bytes = files
        .values()
        .map(|path| Ok(std::fs::metadata(path)?.len()))
        .sum::<std::io::Result<u64>>()?;
    let report = triage::check(Subject::Path(&source), &Options::default());
    let kind = if is_drafter(&source) { Kind::Drafter } else { Kind::Checkpoint };
    let mut imported = Imported {
        ok: report.ok || args.insist,
        name,
        checkpoint: None,
        kind: kind.name(),
        bytes,
        skipped,
        diagnostics: report.diagnostics,
    };
    if imported.ok {
        check_disk(home, bytes.saturating_mul(2))?;
        let blobs = Blobs::open(&home.join("blobs"), u64::MAX)?;
        let bar = progress(usize::try_from(bytes >> 20).unwrap_or(0), "importing MiB");
        let hash = blobs.import_files(kind, &files, &mut |done| bar.set_position(done >> 20))?;
        blobs.materialise(hash)?;
        bar.finish_and_clear();
        let model = Model { checkpoint: hash, kind: kind.name().to_owned(), bytes };
        models.add(&imported.name, model)?;
        imported.checkpoint = Some(hash);
    }
    print(format, &imported, render)?;
    Ok(imported.ok)
}

fn render(imported: &Imported) -> String {
    let mut lines: Vec<String> = Vec::new();
    for d in imported.diagnostics.iter().filter(|d| d.severity != Severity::Note) {
        lines.push(format!("{} {}: {} {}", d.code, d.name, d.place, d.message));
    }
    match imported.checkpoint {
        None => lines.push(
            "not imported: the check found errors; `assay model check` says how to mend them, --insist imports \
             it all the same"
                .to_owned(),
        ),
        Some(hash) => {
            if !imported.skipped.is_empty() {
                lines.push(format!("left out: {}", imported.skipped.join(", ")));
            }
            lines.push(fields(&[
                ("name", imported.name.clone()),
                (imported.kind, hash.to_string()),
                ("size", sized(imported.bytes)),
            ]));
        }
    }
    lines.join("\n")
}

/// The folder's or file's own name, made of what a name may hold.
fn default_name(source: &Path) -> String {
    let full = std::path::absolute(source).unwrap_or_else(|_| source.to_owned());
    let stem = if source.is_file() { full.file_stem() } else { full.file_name() };
    let stem = stem.unwrap_or_default().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    stem.chars().map(plain).take(64).collect::<String>().trim_start_matches(['.', '-']).to_owned()
}

/// What a checkpoint needs of a folder, by name, and what is left out.
fn files(source: &Path) -> anyhow::Result<(BTreeMap<String, PathBuf>, Vec<String>)> {
    let mut files = BTreeMap::new();
    let mut skipped = Vec::new();
    if source.is_file() {
        files.insert(format!("{}.gguf", default_name(source)), source.to_owned());
        return Ok((files, skipped));
    }
    let failed = || format!("cannot read {}", source.display());
    for entry in std::fs::read_dir(source).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = [".json", ".safetensors", ".gguf", ".jinja", ".model"];
        if path.is_file() && wanted.iter().any(|end| name.ends_with(end)) && !name.starts_with('.')
        {
            files.insert(name, path);
        } else {
            skipped.push(name);
        }
    }
    if files.is_empty() {
        bail!("{} holds no checkpoint", source.display());
    }
    skipped.sort();
    Ok((files, skipped))
}

fn is_drafter(source: &Path) -> bool {
    let config = std::fs::read(source.join("config.json")).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    config["model_type"].as_str().is_some_and(|kind| kind.ends_with("_assistant"))
}

/// Prints what was imported.
pub(super) fn list(home: &Path, format: Format) -> anyhow::Result<()> {
    let listed = Listed { models: Models::open(home)?.list().clone() };
    print(format, &listed, |listed| {
        if listed.models.is_empty() {
            return "no models were imported; `assay model import` does".to_owned();
        }
        let rows = listed.models.iter().map(|(name, model)| {
            vec![name.clone(), model.kind.clone(), sized(model.bytes), model.checkpoint.to_string()]
        });
        table(&["name", "kind", "size", "checkpoint"], rows)
    })
}

/// Forgets one.
pub(super) fn remove(home: &Path, args: &RemoveArgs, format: Format) -> anyhow::Result<()> {
    let freed_bytes = Models::open(home)?.remove(&args.name)?;
    let removed = Removed { name: args.name.clone(), freed_bytes };
    print(format, &removed, |r| format!("removed {}, {} freed", r.name, sized(r.freed_bytes)))
}
