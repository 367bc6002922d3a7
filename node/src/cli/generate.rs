//! `assay generate`: greedy continuation of a prompt.

use super::engine::{DraftArgs, EngineArgs, Opened, ms, progress};
use super::output::{Format, fields, print};
use anyhow::{bail, ensure};
use assay_kernels::Engine;
use assay_kernels::engine::DraftStats;
use assay_kernels::measure::per_second;
use assay_protocol::measurement::token_digest;
use serde::Serialize;

/// Steps between two looks at whether the text has ended.
const STEPS: usize = 32;

/// Generate text.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay generate --prompt 'In the beginning' --max-tokens 64
  assay generate --prompt 'In the beginning' --draft nano --draft-len 3
  assay generate --model ./gemma --tokens 2,523,88 --max-tokens 16 --format json")]
pub struct GenerateArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Most tokens to generate; an end-of-sequence token ends the text earlier
    #[arg(long, default_value_t = 64, value_name = "N")]
    max_tokens: usize,
    /// Sampling temperature; only 0, the greedy choice, can be repeated by others
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    temperature: f64,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct PromptArgs {
    /// Text to continue; BOS is put before it
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Token ids to continue, taken as they are
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    tokens: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct Report {
    tokens: Vec<u32>,
    text: String,
    prompt_tokens: Vec<u32>,
    /// None where the prefill's choice was the only token.
    decode_tps: Option<f64>,
    prefill_tps: f64,
    first_token_ms: f64,
    draft: Option<Draft>,
    token_digest: String,
}

/// How the drafter did.
#[derive(Serialize)]
struct Draft {
    len: usize,
    accepted_per_step: f64,
    /// For every slot, the share of steps that drafted it and kept it.
    acceptance: Vec<f64>,
}

/// Tokens of a continuation and the time of its decode loops.
struct Continuation {
    tokens: Vec<u32>,
    decoded: usize,
    decode_ns: u64,
    drafting: DraftStats,
}

/// Generates and prints.
///
/// # Errors
///
/// When the model, the prompt or the sampling asked for do not work.
pub fn run(args: GenerateArgs, format: Format) -> anyhow::Result<()> {
    if args.temperature != 0.0 {
        bail!("--temperature {}: only greedy decoding is there, use 0", args.temperature);
    }
    ensure!(args.max_tokens > 0, "--max-tokens must be at least 1");
    let opened = args.engine.open()?;
    let prompt = args.prompt.tokens(&opened)?;
    let context = prompt.len().saturating_add(args.max_tokens);
    let mut engine = args.draft.equip(opened.engine(context, None)?)?;
    let prefill = engine.prefill(&prompt)?;
    let made = continuation(&mut engine, prefill.next, args.max_tokens)?;
    let text = opened.tokenizer()?.decode(&made.tokens, false)?;
    let report = Report {
        text,
        decode_tps: (made.decoded > 0).then(|| per_second(made.decoded, made.decode_ns)),
        prefill_tps: per_second(prompt.len(), prefill.wall_ns),
        first_token_ms: ms(prefill.wall_ns),
        draft: args.draft.len().map(|len| Draft {
            len,
            accepted_per_step: made.drafting.accepted_per_round(),
            acceptance: made.drafting.acceptance(),
        }),
        token_digest: hex::encode(token_digest(&made.tokens)),
        prompt_tokens: prompt,
        tokens: made.tokens,
    };
    print(format, &report, table)
}

impl PromptArgs {
    fn tokens(&self, opened: &Opened) -> anyhow::Result<Vec<u32>> {
        if let Some(tokens) = &self.tokens {
            return Ok(tokens.clone());
        }
        let text = self.prompt.as_deref().unwrap_or_default();
        let encoded = opened.tokenizer()?.encode(text)?;
        Ok(std::iter::once(opened.config().bos).chain(encoded).collect())
    }
}

/// Decodes behind `first` until `most` tokens or the end of the sequence, which is kept.
fn continuation(engine: &mut Engine, first: u32, most: usize) -> anyhow::Result<Continuation> {
    let ends = engine.config().eos.clone();
    let drafting = DraftStats::default();
    let mut made = Continuation { tokens: vec![first], decoded: 0, decode_ns: 0, drafting };
    let bar = progress(most, "decoding");
    loop {
        if let Some(end) = made.tokens.iter().position(|token| ends.contains(token)) {
            made.tokens.truncate(end + 1);
            break;
        }
        let steps = STEPS.min(most - made.tokens.len());
        if steps == 0 {
            break;
        }
        let decode = engine.decode_greedy(steps, false)?;
        made.decoded += decode.tokens.len();
        made.decode_ns += decode.wall_ns;
        made.tokens.extend(decode.tokens);
        made.drafting.rounds.extend(decode.draft.into_iter().flat_map(|stats| stats.rounds));
        bar.set_position(made.tokens.len() as u64);
    }
    bar.finish_and_clear();
    Ok(made)
}

fn table(report: &Report) -> String {
    let tps = report.decode_tps.map_or_else(|| "-".to_owned(), |tps| format!("{tps:.1} tokens/s"));
    let draft = report.draft.as_ref().map_or_else(
        || "none".to_owned(),
        |draft| format!("{:.2} of {} kept per step", draft.accepted_per_step, draft.len),
    );
    let figures = fields(&[
        ("tokens", report.tokens.len().to_string()),
        ("decode", tps),
        ("prefill", format!("{:.1} tokens/s", report.prefill_tps)),
        ("first token", format!("{:.1} ms", report.first_token_ms)),
        ("drafts", draft),
        ("digest", report.token_digest.clone()),
    ]);
    format!("{}\n\n{figures}", report.text)
}
