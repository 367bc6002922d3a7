//! `assay model quantize`: a checkpoint with fewer bits.

use super::{named, open, tensor_bytes};
use crate::cli::engine::spinner;
use crate::cli::output::{Format, fields, print, table};
use anyhow::{Context, ensure};
use assay_kernels::Checkpoint;
use assay_kernels::quantize::{self, TensorError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Tensors that the table of a quantisation names.
const WORST_SHOWN: usize = 8;

/// How quantised weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// Four bits and a bf16 scale for every 32 weights of a row, rounded to nearest
    #[value(name = "int4-g32")]
    Int4G32,
}

#[derive(Serialize)]
struct Quantized {
    model: String,
    out: PathBuf,
    scheme: &'static str,
    bytes_before: u64,
    bytes_after: u64,
    bytes_per_token_before: u64,
    bytes_per_token_after: u64,
    tensors: Vec<TensorError>,
}

/// Write a checkpoint with fewer bits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay model quantize nano ./nano-int4 --scheme int4-g32

The result is a checkpoint folder in the compressed-tensors layout. Claim it only after
`assay ppl` and `assay bench` have shown what it costs and what it gains.")]
pub struct QuantizeArgs {
    /// Checkpoint folder, the name of an imported one, or `nano` for the one inside this program
    #[arg(value_name = "IN")]
    checkpoint: PathBuf,
    /// Folder to write; must not exist yet
    out: PathBuf,
    /// How weights are stored
    #[arg(long, value_enum)]
    scheme: Scheme,
}

/// Runs the command.
pub(super) fn run(home: &Path, args: &QuantizeArgs, format: Format) -> anyhow::Result<()> {
    match args.scheme {
        Scheme::Int4G32 => quantize(&named(home, &args.checkpoint)?, &args.out, format),
    }
}

fn quantize(folder: &Path, out: &Path, format: Format) -> anyhow::Result<()> {
    ensure!(!out.exists(), "{} exists already; name a folder that does not", out.display());
    let (checkpoint, model) = open(folder)?;
    let busy = spinner("quantising");
    let quantised = quantize::int4_g32(&checkpoint)?;
    let result = Checkpoint::from_files(quantised.files.clone())?;
    // Written beside its place and then moved, so that no half-written checkpoint is ever found.
    let partial = super::partial(out);
    write(&quantised.files, &partial)
        .with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))?;
    busy.finish_and_clear();
    let mut tensors = quantised.report;
    tensors.sort_by(|one, two| two.relative_error.total_cmp(&one.relative_error));
    let report = Quantized {
        model,
        out: out.to_owned(),
        scheme: "int4-g32",
        bytes_before: tensor_bytes(&checkpoint),
        bytes_after: tensor_bytes(&result),
        bytes_per_token_before: checkpoint.bytes_per_token(),
        bytes_per_token_after: result.bytes_per_token(),
        tensors,
    };
    print(format, &report, quantized_table)
}

fn write(
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    folder: &Path,
) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

fn quantized_table(report: &Quantized) -> String {
    let figures = fields(&[
        ("model", report.model.clone()),
        ("out", report.out.display().to_string()),
        ("size", format!("{} bytes, was {}", report.bytes_after, report.bytes_before)),
        (
            "read per token",
            format!(
                "{} bytes, was {}",
                report.bytes_per_token_after, report.bytes_per_token_before
            ),
        ),
        ("tensors quantised", report.tensors.len().to_string()),
    ]);
    let worst = report.tensors.iter().take(WORST_SHOWN).map(|tensor| {
        vec![
            tensor.tensor.clone(),
            format!("{:.2} %", tensor.relative_error * 100.0),
            format!("{:.5}", tensor.max_error),
        ]
    });
    let worst = table(&["largest errors", "rms", "max"], worst);
    format!("{figures}\n\n{worst}")
}
