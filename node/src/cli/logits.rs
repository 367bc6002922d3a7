//! `assay logits`: logits and hidden states of given tokens, as a file.

use super::engine::{EngineArgs, spinner};
use super::output::{Format, fields, print};
use anyhow::Context;
use assay_kernels::{LogitRows, Path};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;
use std::path::PathBuf;

/// Write logits and hidden states of given tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay logits --tokens 2,523,88 --out logits.safetensors
  assay logits --model ./gemma --tokens 2,523,88 --path batch:4 --out logits.safetensors

The file holds `logits` [T, V] and, after the final norm, `hidden` [T, H], both f32.
Every path gives the same bits with the built-in kernels.")]
pub struct LogitsArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Token ids; a sequence begins with BOS
    #[arg(long, value_delimiter = ',', required = true, value_name = "IDS")]
    tokens: Vec<u32>,
    /// prefill, decode or batch:M
    #[arg(long, default_value = "prefill")]
    path: Path,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Report {
    model: String,
    adapter: String,
    path: String,
    tokens: Vec<u32>,
    out: PathBuf,
}

/// Runs the tokens and writes the file.
///
/// # Errors
///
/// When the model, the tokens or the file do not work.
pub fn run(args: LogitsArgs, format: Format) -> anyhow::Result<()> {
    let opened = args.engine.open()?;
    let batch = match args.path {
        Path::Batch(rows) => Some(rows),
        Path::Prefill | Path::Decode => None,
    };
    let busy = spinner("computing logits");
    let mut engine = opened.engine(args.tokens.len(), batch)?;
    let rows = engine.logits(&args.tokens, args.path)?;
    write(&rows, args.tokens.len(), &args.out)?;
    busy.finish_and_clear();
    let report = Report {
        model: opened.model,
        adapter: opened.gpu.info().name.clone(),
        path: args.path.to_string(),
        tokens: args.tokens,
        out: args.out,
    };
    print(format, &report, |report| {
        fields(&[
            ("model", report.model.clone()),
            ("adapter", report.adapter.clone()),
            ("path", report.path.clone()),
            ("tokens", report.tokens.len().to_string()),
            ("out", report.out.display().to_string()),
        ])
    })
}

fn write(rows: &LogitRows, tokens: usize, out: &std::path::Path) -> anyhow::Result<()> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (logits, hidden) = (bytes(&rows.logits), bytes(&rows.hidden));
    let shape = |values: &[f32]| vec![tokens, values.len() / tokens.max(1)];
    let views = [
        ("logits", TensorView::new(Dtype::F32, shape(&rows.logits), &logits)?),
        ("hidden", TensorView::new(Dtype::F32, shape(&rows.hidden), &hidden)?),
    ];
    let file = safetensors::serialize(views, None)?;
    std::fs::write(out, file).with_context(|| format!("cannot write {}", out.display()))
}
