//! `assay model`: look at and quantise checkpoints.

use super::engine::{NANO, model_name, plain, spinner};
use super::output::{Format, fields, print, table};
use crate::measure::files;
use anyhow::{Context, ensure};
use assay_kernels::quantize::{self, TensorError};
use assay_kernels::{Checkpoint, LayerKind};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Tensors that the table of a quantisation names.
const WORST_SHOWN: usize = 8;

/// Look at and quantise checkpoints.
#[derive(Debug, clap::Subcommand)]
pub enum ModelCommand {
    /// Print a checkpoint's family, shape and sizes
    #[command(after_help = "Examples:
  assay model info nano
  assay model info ./gemma --format json")]
    Info {
        /// Checkpoint folder, or `nano` for the one inside this program
        checkpoint: PathBuf,
    },
    /// Write a checkpoint with fewer bits
    #[command(after_help = "Examples:
  assay model quantize nano ./nano-int4 --scheme int4-g32

The result is a checkpoint folder in the compressed-tensors layout. Claim it only after
`assay ppl` and `assay bench` have shown what it costs and what it gains.")]
    Quantize {
        /// Checkpoint folder, or `nano` for the one inside this program
        #[arg(value_name = "IN")]
        checkpoint: PathBuf,
        /// Folder to write; must not exist yet
        out: PathBuf,
        /// How weights are stored
        #[arg(long, value_enum)]
        scheme: Scheme,
    },
}

/// How quantised weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// Four bits and a bf16 scale for every 32 weights of a row, rounded to nearest
    #[value(name = "int4-g32")]
    Int4G32,
}

#[derive(Serialize)]
struct Info {
    model: String,
    family: &'static str,
    layers: usize,
    sliding_layers: usize,
    full_layers: usize,
    shared_kv_layers: usize,
    hidden: usize,
    heads: usize,
    vocab: usize,
    per_layer_embedding_width: usize,
    sliding_window: usize,
    context: usize,
    weights: &'static str,
    tensors: usize,
    tensor_bytes: u64,
    bytes_per_token: u64,
    shape_digest: String,
    chat_template: bool,
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

/// Runs one of the commands.
///
/// # Errors
///
/// When the checkpoint cannot be read or the result not be written.
pub fn run(command: ModelCommand, format: Format) -> anyhow::Result<()> {
    match command {
        ModelCommand::Info { checkpoint } => info(&checkpoint, format),
        ModelCommand::Quantize { checkpoint, out, scheme: Scheme::Int4G32 } => {
            quantize(&checkpoint, &out, format)
        }
    }
}

/// The checkpoint and what to call it.
fn open(folder: &Path) -> anyhow::Result<(Checkpoint, String)> {
    let folder = (folder != Path::new(NANO)).then_some(folder);
    let name = model_name(folder);
    let checkpoint = files::checkpoint(folder).map_err(plain).with_context(|| name.clone())?;
    Ok((checkpoint, name))
}

fn tensor_bytes(checkpoint: &Checkpoint) -> u64 {
    checkpoint.tensor_sizes().map(|(_, bytes)| bytes as u64).sum()
}

fn info(folder: &Path, format: Format) -> anyhow::Result<()> {
    let (checkpoint, model) = open(folder)?;
    let config = checkpoint.config();
    let of_kind = |kind| config.layers.iter().filter(|layer| layer.kind == kind).count();
    let info = Info {
        model,
        family: "gemma4_text",
        layers: config.layers.len(),
        sliding_layers: of_kind(LayerKind::Sliding),
        full_layers: of_kind(LayerKind::Full),
        shared_kv_layers: config.layers.len() - config.first_shared_layer(),
        hidden: config.hidden,
        heads: config.heads,
        vocab: config.vocab,
        per_layer_embedding_width: config.ple_width,
        sliding_window: config.sliding_window,
        context: config.max_positions,
        weights: if config.int4 { "int4-g32" } else { "bf16" },
        tensors: checkpoint.tensor_sizes().count(),
        tensor_bytes: tensor_bytes(&checkpoint),
        bytes_per_token: checkpoint.bytes_per_token(),
        shape_digest: hex::encode(files::shape_digest(&checkpoint)),
        chat_template: checkpoint.file("chat_template.jinja").is_some(),
    };
    print(format, &info, |info| {
        fields(&[
            ("model", info.model.clone()),
            ("family", info.family.to_owned()),
            (
                "layers",
                format!(
                    "{} ({} sliding, {} full; the last {} share keys and values)",
                    info.layers, info.sliding_layers, info.full_layers, info.shared_kv_layers
                ),
            ),
            ("width", format!("{} in {} heads", info.hidden, info.heads)),
            ("vocabulary", format!("{} tokens", info.vocab)),
            ("per-layer embedding", format!("{} wide", info.per_layer_embedding_width)),
            ("window", format!("{} of {} tokens", info.sliding_window, info.context)),
            ("weights", info.weights.to_owned()),
            ("size", format!("{} bytes in {} tensors", info.tensor_bytes, info.tensors)),
            ("read per token", format!("{} bytes", info.bytes_per_token)),
            ("shape digest", info.shape_digest.clone()),
        ])
    })
}

fn quantize(folder: &Path, out: &Path, format: Format) -> anyhow::Result<()> {
    ensure!(!out.exists(), "{} exists already; name a folder that does not", out.display());
    let (checkpoint, model) = open(folder)?;
    let busy = spinner("quantising");
    let quantised = quantize::int4_g32(&checkpoint)?;
    let result = Checkpoint::from_files(quantised.files.clone())?;
    // Written beside its place and then moved, so that no half-written checkpoint is ever found.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
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
