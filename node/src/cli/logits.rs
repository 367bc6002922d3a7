//! `assay logits`: logits and hidden states of given tokens, as a file.

use super::engine::{DraftArgs, EngineArgs, spinner};
use super::output::{Format, fields, print};
use anyhow::Context;
use assay_kernels::{DraftChain, LogitRows, Path};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;
use std::path::{Path as FilePath, PathBuf};

/// Write logits and hidden states of given tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay logits --tokens 2,523,88 --out logits.safetensors
  assay logits --model ./gemma --tokens 2,523,88 --path batch:4 --out logits.safetensors

The file holds `logits` [T, V] and, after the final norm, `hidden` [T, H], both f32; with a
drafter also the greedy chain after the last token's argmax: `drafts` [K] i64, `draft_logits`
[K, V] f32, negative infinity outside the clusters that the drafter searched.
Every path gives the same bits with the built-in kernels.")]
pub struct LogitsArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    draft: DraftArgs,
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
    let mut engine = opened.engine(args.tokens.len(), batch, Some(&args.draft))?;
    let rows = engine.logits(&args.tokens, args.path)?;
    let chain = match args.draft.len() {
        Some(len) => {
            engine.reset();
            engine.prefill(&args.tokens)?;
            Some(engine.draft_chain(len)?)
        }
        None => None,
    };
    write(&rows, chain.as_ref(), args.tokens.len(), &args.out)?;
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

/// The tensors of the file; `tokens` rows of logits and hidden states.
fn write(
    rows: &LogitRows,
    chain: Option<&DraftChain>,
    tokens: usize,
    out: &FilePath,
) -> anyhow::Result<()> {
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let shape = |rows: usize, values: &[f32]| vec![rows, values.len() / rows.max(1)];
    let mut tensors = vec![
        ("logits", Dtype::F32, shape(tokens, &rows.logits), floats(&rows.logits)),
        ("hidden", Dtype::F32, shape(tokens, &rows.hidden), floats(&rows.hidden)),
    ];
    if let Some(chain) = chain {
        let drafts = chain.drafts.len();
        let ids = chain.drafts.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
        tensors.push(("drafts", Dtype::I64, vec![drafts], ids));
        let logits = &chain.logits;
        tensors.push(("draft_logits", Dtype::F32, shape(drafts, logits), floats(logits)));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<anyhow::Result<Vec<_>>>()?;
    let file = safetensors::serialize(views, None)?;
    std::fs::write(out, file).with_context(|| format!("cannot write {}", out.display()))
}
