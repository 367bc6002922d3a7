//! `assay model quantize`: a checkpoint with fewer bits.

use super::{named, open, tensor_bytes};
use crate::cli::engine::plain;
use crate::cli::output::{Format, fields, print, table};
use anyhow::{Context, ensure};
use assay_kernels::Checkpoint;
use assay_kernels::quantize::{self, Options, Scheme, TensorError};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Tensors that the table of a quantisation names.
const WORST_SHOWN: usize = 8;

#[derive(Serialize)]
struct Quantized {
    model: String,
    out: PathBuf,
    scheme: Scheme,
    head: Option<Scheme>,
    bytes_before: u64,
    bytes_after: u64,
    bytes_per_token_before: u64,
    bytes_per_token_after: u64,
    /// Tensors whose rows the asked-for group does not divide.
    smaller_groups: usize,
    tensors: Vec<TensorError>,
}

/// Write a checkpoint with fewer bits.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Schemes: int4-g32, int4-g64, int4-g128 (four bits and a bf16 scale for every 32, 64 or 128
weights of a row; rows that 128 does not divide take 64 or 32) and int8 (eight bits, one scale
a row). Weights are rounded to nearest.

Norms, routers, embeddings and the per-layer table stay as they are. So do the projections of
per-layer embeddings, which suffer most, unless --per-layer-projections is given, and the output
head unless --head is: it is then stored beside the embedding table, which keeps its type.

A GGUF file is taken too. Of its block types, what stays becomes bf16, and what is quantised is
rounded a second time: start from F32, F16 or BF16 where you can. With --keep '*' it is converted.

Examples:
  assay model quantize nano ./nano-int4 --scheme int4-g32
  assay model quantize ./gemma ./gemma-q --scheme int4-g128 --head int8 --keep 'layers.0.*'
  assay model quantize ./gemma-BF16.gguf ./gemma-q --scheme int4-g32

The result is a checkpoint folder in the compressed-tensors layout. Claim it only after
`assay ppl` and `assay bench` have shown what it costs and what it gains."
)]
pub struct QuantizeArgs {
    /// Checkpoint folder or GGUF file, the name of an imported one, or `nano` for the one inside this program
    #[arg(value_name = "IN")]
    checkpoint: PathBuf,
    /// Folder to write; must not exist yet
    out: PathBuf,
    /// How weights are stored: int4-g32, int4-g64, int4-g128 or int8
    #[arg(long)]
    scheme: Scheme,
    /// How the output head is stored; without it the head stays as it is
    #[arg(long, value_name = "SCHEME")]
    head: Option<Scheme>,
    /// Quantise the projections of per-layer embeddings too
    #[arg(long)]
    per_layer_projections: bool,
    /// Leave tensors whose name fits as they are: `*` is anything, `?` one character; may be repeated
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<String>,
}

/// Runs the command.
pub(super) fn run(home: &Path, args: &QuantizeArgs, format: Format) -> anyhow::Result<()> {
    let out = &args.out;
    ensure!(!out.exists(), "{} exists already; name a folder that does not", out.display());
    let (checkpoint, model) = open(&named(home, &args.checkpoint)?)?;
    // Written beside its place and then moved, so that no half-written checkpoint is ever found.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut tensors = write(&checkpoint, args, &partial)?;
    let result = Checkpoint::open(&partial).map_err(plain)?;
    std::fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))?;
    tensors.sort_by(|one, two| two.relative_error.total_cmp(&one.relative_error));
    let smaller = |t: &&TensorError| t.scheme != args.scheme && t.tensor != "lm_head";
    let report = Quantized {
        model,
        out: out.clone(),
        scheme: args.scheme,
        head: args.head,
        bytes_before: tensor_bytes(&checkpoint),
        bytes_after: tensor_bytes(&result),
        bytes_per_token_before: checkpoint.bytes_per_token(),
        bytes_per_token_after: result.bytes_per_token(),
        smaller_groups: tensors.iter().filter(smaller).count(),
        tensors,
    };
    print(format, &report, quantized_table)
}

/// Writes the checkpoint into the folder `partial`, replacing what an interrupted run left there.
fn write(
    checkpoint: &Checkpoint,
    args: &QuantizeArgs,
    partial: &Path,
) -> anyhow::Result<Vec<TensorError>> {
    let failed = || format!("cannot write {}", partial.display());
    if partial.exists() {
        std::fs::remove_dir_all(partial).with_context(failed)?;
    }
    std::fs::create_dir_all(partial).with_context(failed)?;
    let options = Options {
        scheme: args.scheme,
        head: args.head,
        per_layer_projections: args.per_layer_projections,
        keep: args.keep.clone(),
    };
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {msg}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let written = quantize::write(checkpoint, &options, partial, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.tensor.to_owned());
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    written.map_err(|error| {
        // What is there is of no use, and an error about removing it would hide the first one.
        let _ = std::fs::remove_dir_all(partial);
        plain(error)
    })
}

fn quantized_table(report: &Quantized) -> String {
    let mut lines = vec![
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
    ];
    if report.smaller_groups > 0 {
        let note =
            format!("{} tensors, whose rows the group does not divide", report.smaller_groups);
        lines.push(("smaller groups", note));
    }
    let worst = report.tensors.iter().take(WORST_SHOWN).map(|tensor| {
        vec![
            tensor.tensor.clone(),
            tensor.scheme.to_string(),
            format!("{:.2} %", tensor.relative_error * 100.0),
            format!("{:.5}", tensor.max_error),
        ]
    });
    let worst = table(&["largest errors", "scheme", "rms", "max"], worst);
    format!("{}\n\n{worst}", fields(&lines))
}
