//! `assay ppl`: perplexity on a text.

use super::engine::{EngineArgs, progress, read_text};
use super::output::{Format, fields, print};
use anyhow::ensure;
use assay_kernels::{Engine, Path, heldout_text, ppl};
use serde::Serialize;
use std::path::PathBuf;

/// Measure perplexity on a text.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay ppl
  assay ppl --model ./gemma --text wiki.txt --context 512 --format json

The text is cut into windows of --context positions, each beginning with BOS; every token
after it is scored once. Perplexities compare only at the same context and text.")]
pub struct PplArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Text file, UTF-8; without it the held-out text inside this program
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Positions of a window, BOS among them
    #[arg(long, default_value_t = 256, value_name = "N")]
    context: usize,
    /// prefill, decode or batch:M
    #[arg(long, default_value = "prefill")]
    path: Path,
    /// Score only so many of the text's first tokens
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
}

#[derive(Serialize)]
struct Report {
    ppl: f64,
    nll: f64,
    tokens: usize,
    context: usize,
    path: String,
}

/// Scores the text and prints.
///
/// # Errors
///
/// When the model, the text or the context do not work.
pub fn run(args: PplArgs, format: Format) -> anyhow::Result<()> {
    ensure!(args.context >= 2, "--context must be at least 2: BOS and a token to score");
    let opened = args.engine.open()?;
    let mut tokens = match &args.text {
        Some(path) => opened.tokenizer()?.encode(&read_text(path)?)?,
        None => opened.tokenizer()?.encode(heldout_text())?,
    };
    tokens.truncate(args.max_tokens.unwrap_or(usize::MAX));
    ensure!(!tokens.is_empty(), "there is no text to score");
    let batch = match args.path {
        Path::Batch(rows) => Some(rows),
        Path::Prefill | Path::Decode => None,
    };
    let mut engine = opened.engine(args.context, batch, None)?;
    let nll = mean_nll(&mut engine, &tokens, args.context, args.path)?;
    let report = Report {
        ppl: nll.exp(),
        nll,
        tokens: tokens.len(),
        context: args.context,
        path: args.path.to_string(),
    };
    print(format, &report, |report| {
        fields(&[
            ("ppl", format!("{:.4}", report.ppl)),
            ("nll", format!("{:.6} nat/token", report.nll)),
            ("tokens", report.tokens.to_string()),
            ("context", report.context.to_string()),
            ("path", report.path.clone()),
        ])
    })
}

/// Mean negative log-likelihood in nats, a window at a time so that progress can be shown.
#[allow(clippy::cast_precision_loss)]
fn mean_nll(
    engine: &mut Engine,
    tokens: &[u32],
    context: usize,
    path: Path,
) -> anyhow::Result<f64> {
    let windows = tokens.chunks(context - 1);
    let bar = progress(windows.len(), "scoring windows");
    let mut total = 0.0;
    for window in windows {
        total += ppl(engine, window, context, path)?.nll * window.len() as f64;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(total / tokens.len() as f64)
}
