//! `assay model`: look at, check, make, import and quantise checkpoints.

mod check;
mod fetch;
mod import;
mod info;
mod quantize;
mod synth;

pub use check::CheckArgs;
pub use fetch::FetchArgs;
pub use import::{ImportArgs, RemoveArgs};
pub use info::InfoArgs;
pub use quantize::QuantizeArgs;
pub use synth::SynthArgs;

use super::engine::{NANO, model_name, plain, resolve};
use super::output::Format;
use crate::host::free_bytes;
use crate::measure::files;
use anyhow::Context;
use assay_kernels::Checkpoint;
use std::path::{Path, PathBuf};

/// Look at, check, make, import and quantise checkpoints.
#[derive(Debug, clap::Subcommand)]
pub enum ModelCommand {
    /// Find out what is wrong with a checkpoint and how to mend it
    Check(CheckArgs),
    /// Print a checkpoint's family, shape and sizes
    Info(InfoArgs),
    /// Write a random checkpoint with a real model's shapes
    Synth(SynthArgs),
    /// Bring a checkpoint here from peers
    Fetch(FetchArgs),
    /// Put a checkpoint into this node's store under a name
    Import(ImportArgs),
    /// List the checkpoints that were imported
    List,
    /// Forget an imported checkpoint
    Remove(RemoveArgs),
    /// Write a checkpoint with fewer bits
    Quantize(QuantizeArgs),
}

/// Runs one of the commands. False means that a check found an error.
///
/// # Errors
///
/// When files cannot be read or the result not be written.
pub fn run(home: &Path, command: ModelCommand, format: Format) -> anyhow::Result<bool> {
    match command {
        ModelCommand::Check(args) => return check::run(home, &args, format),
        ModelCommand::Info(args) => info::run(home, &args, format)?,
        ModelCommand::Synth(args) => synth::run(&args, format)?,
        ModelCommand::Import(args) => return import::run(home, &args, format),
        ModelCommand::Fetch(args) => fetch::run(home, args, format)?,
        ModelCommand::List => import::list(home, format)?,
        ModelCommand::Remove(args) => import::remove(home, &args, format)?,
        ModelCommand::Quantize(args) => quantize::run(home, &args, format)?,
    }
    Ok(true)
}

/// The folder that a person means: a path, an imported name, or `nano` as it is.
pub(super) fn named(home: &Path, what: &Path) -> anyhow::Result<PathBuf> {
    if what == Path::new(NANO) { Ok(what.to_owned()) } else { resolve(Some(home), what) }
}

/// The checkpoint and what to call it.
pub(super) fn open(folder: &Path) -> anyhow::Result<(Checkpoint, String)> {
    let folder = (folder != Path::new(NANO)).then_some(folder);
    let name = model_name(folder);
    let checkpoint = files::checkpoint(folder).map_err(plain).with_context(|| name.clone())?;
    Ok((checkpoint, name))
}

fn tensor_bytes(checkpoint: &Checkpoint) -> u64 {
    checkpoint.tensor_sizes().map(|(_, bytes)| bytes as u64).sum()
}

/// Where something is written before it is moved to `out` as a whole.
fn partial(out: &Path) -> PathBuf {
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    PathBuf::from(partial)
}

/// Bytes as people read them.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
fn sized(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Parameters as people write them.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn counted(parameters: u64) -> String {
    match parameters {
        0..1_000_000_000 => format!("{:.2} M", parameters as f64 / 1e6),
        _ => format!("{:.3} B", parameters as f64 / 1e9),
    }
}

/// Errors where the disk that holds `path` has less than `bytes` free.
fn check_disk(path: &Path, bytes: u64) -> anyhow::Result<()> {
    match free_bytes(path) {
        Some(free) if free < bytes => anyhow::bail!(
            "{} bytes are needed on the disk of {} and {} are free; choose another place",
            bytes,
            path.display(),
            free
        ),
        _ => Ok(()),
    }
}
