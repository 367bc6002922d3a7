//! `assay generate`: the continuation of a prompt.

use super::engine::{DraftArgs, EngineArgs, Opened, ms, progress};
use super::output::{Format, fields, print};
use super::sampling::SamplingArgs;
use crate::serve::assemble::Assembler;
use crate::serve::chat::prompt_tokens;
use crate::serve::defaults::Defaults;
use crate::serve::model::{Generate, Generated, Turn};
use crate::serve::output::Event;
use crate::serve::sampling::Chooser;
use crate::serve::text::Vocabulary;
use anyhow::{Context, ensure};
use assay_kernels::measure::per_second;
use assay_protocol::measurement::token_digest;
use indicatif::ProgressBar;
use serde::Serialize;
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Generate text.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay generate --prompt 'In the beginning' --max-tokens 64
  assay generate --prompt 'In the beginning' --draft nano --draft-len 3
  assay generate --prompt 'And it came to pass' --temperature 0.8 --top-p 0.95 --seed 7 --stream
  assay generate --prompt 'And God said' --stop . --stop ';'
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
    /// Sampling temperature; only 0, the greedy choice, can be repeated by others without the seed
    #[arg(long, default_value_t = 0.0, value_name = "T", help_heading = "Sampling")]
    temperature: f32,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Print the text as it comes
    #[arg(long)]
    stream: bool,
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
    /// Draws the same tokens again; None for the greedy choice, which needs none.
    seed: Option<u64>,
}

/// How the drafter did.
#[derive(Serialize)]
struct Draft {
    len: usize,
    accepted_per_step: f64,
    /// For every slot, the share of steps that drafted it and kept it.
    acceptance: Vec<f64>,
}

/// Generates and prints.
///
/// # Errors
///
/// When the model, the prompt or the sampling asked for do not work.
pub fn run(args: GenerateArgs, format: Format) -> anyhow::Result<()> {
    ensure!(args.max_tokens > 0, "--max-tokens must be at least 1");
    let streams = args.stream && format == Format::Table;
    ensure!(streams || !args.stream, "--format json prints one object; leave --stream out");
    let opened = args.engine.open()?;
    let defaults = Defaults::of(&opened.checkpoint);
    let sampling = args.sampling.sampling(args.temperature, &defaults)?;
    let seed = (args.temperature > 0.0).then_some(sampling.params.seed);
    let vocabulary = args.vocabulary(&opened)?.map(Arc::new);
    let prompt = args.prompt.tokens(&opened, vocabulary.as_deref())?;
    ensure!(!prompt.is_empty(), "--tokens: no tokens were given; a sequence begins with BOS");
    let context = prompt.len().saturating_add(args.max_tokens);
    let mut model = opened.model(context, &args.draft)?;
    let mut chooser = Chooser::new(sampling, &prompt, None, Default::default())?;
    let ends: Arc<[u32]> = defaults.ends.into();
    let assembler =
        vocabulary.map(|words| Assembler::plain(words, ends.clone(), args.sampling.stop.clone()));
    let mut written = Written {
        assembler,
        ends,
        tokens: Vec::new(),
        text: String::new(),
        streams,
        bar: if streams { ProgressBar::hidden() } else { progress(args.max_tokens, "decoding") },
    };
    let made = model.generate(Turn {
        prompt: &prompt,
        most: args.max_tokens,
        choose: &mut chooser,
        on_token: &mut |token| written.token(token),
        cancelled: &|| false,
    })?;
    written.finish();
    let report = report(&args, written, prompt, &made, seed);
    print(format, &report, |report| table(report, streams))
}

fn report(
    args: &GenerateArgs,
    written: Written,
    prompt: Vec<u32>,
    made: &Generated,
    seed: Option<u64>,
) -> Report {
    Report {
        text: written.text,
        decode_tps: (made.decoded > 0).then(|| per_second(made.decoded, made.decode_ns)),
        prefill_tps: per_second(prompt.len(), made.prefill_ns),
        first_token_ms: ms(made.prefill_ns),
        draft: args.draft.len().map(|len| Draft {
            len,
            accepted_per_step: made.drafting.accepted_per_round(),
            acceptance: made.drafting.acceptance(),
        }),
        token_digest: hex::encode(token_digest(&written.tokens)),
        prompt_tokens: prompt,
        tokens: written.tokens,
        seed,
    }
}

impl GenerateArgs {
    /// What the tokens stand for. None for a checkpoint without a tokenizer, where ids are given and only
    /// ids are asked for.
    fn vocabulary(&self, opened: &Opened) -> anyhow::Result<Option<Vocabulary>> {
        let wants_text =
            self.prompt.prompt.is_some() || self.stream || !self.sampling.stop.is_empty();
        if !wants_text && !opened.checkpoint.has_tokenizer() {
            return Ok(None);
        }
        let tokenizer = opened.tokenizer();
        let tokenizer =
            tokenizer.context("without a tokenizer give --tokens, and no --stop or --stream");
        Ok(Some(Vocabulary::new(tokenizer?, opened.config().vocab)))
    }
}

impl PromptArgs {
    fn tokens(&self, opened: &Opened, vocabulary: Option<&Vocabulary>) -> anyhow::Result<Vec<u32>> {
        match (&self.tokens, vocabulary) {
            (Some(tokens), _) => Ok(tokens.clone()),
            (None, Some(vocabulary)) => {
                let text = self.prompt.as_deref().unwrap_or_default();
                Ok(prompt_tokens(vocabulary, opened.config().bos, text)?)
            }
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// The continuation so far.
struct Written {
    /// None where there is no tokenizer.
    assembler: Option<Assembler>,
    ends: Arc<[u32]>,
    /// With the token that ended the text.
    tokens: Vec<u32>,
    text: String,
    streams: bool,
    bar: ProgressBar,
}

impl Written {
    fn token(&mut self, token: u32) -> ControlFlow<()> {
        self.tokens.push(token);
        self.bar.inc(1);
        let ended = match &mut self.assembler {
            Some(assembler) => {
                let events = assembler.push(token);
                let ended = assembler.ended();
                self.write(events);
                ended
            }
            None => self.ends.contains(&token),
        };
        if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(&mut self) {
        if let Some(assembler) = &mut self.assembler {
            let (events, _) = assembler.finish();
            self.write(events);
        }
        self.bar.finish_and_clear();
    }

    fn write(&mut self, events: Vec<Event>) {
        for event in events {
            let Event::Text(text) = event else { continue };
            if self.streams {
                let mut out = stdout().lock();
                // A reader that went away is noticed when the figures are printed.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
            self.text.push_str(&text);
        }
    }
}

fn table(report: &Report, streamed: bool) -> String {
    let tps = report.decode_tps.map_or_else(|| "-".to_owned(), |tps| format!("{tps:.1} tokens/s"));
    let draft = report.draft.as_ref().map_or_else(
        || "none".to_owned(),
        |draft| format!("{:.2} of {} kept per step", draft.accepted_per_step, draft.len),
    );
    let mut rows = vec![
        ("tokens", report.tokens.len().to_string()),
        ("decode", tps),
        ("prefill", format!("{:.1} tokens/s", report.prefill_tps)),
        ("first token", format!("{:.1} ms", report.first_token_ms)),
        ("drafts", draft),
        ("digest", report.token_digest.clone()),
    ];
    rows.extend(report.seed.map(|seed| ("seed", seed.to_string())));
    let text = if streamed { "" } else { &report.text };
    if text.is_empty() && !streamed {
        let ids: Vec<String> = report.tokens.iter().map(ToString::to_string).collect();
        return format!("{}\n\n{}", ids.join(","), fields(&rows));
    }
    format!("{text}\n\n{}", fields(&rows))
}
