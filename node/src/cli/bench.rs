//! `assay bench`: decode and prefill speed on this machine.

use super::engine::{DraftArgs, EngineArgs, Opened, elapsed_ms, ms, progress};
use super::output::{Format, fields, print};
use anyhow::{Context, ensure};
use assay_kernels::engine::DraftStats;
use assay_kernels::measure::{Samples, per_second};
use assay_kernels::{Bundle, Engine, heldout_text};
use serde::Serialize;
use std::time::Instant;

/// Times that each op is launched for `--ops`.
const OP_REPETITIONS: usize = 5;

/// Measure decode and prefill speed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  assay bench
  assay bench --bundle testnet/bundles/serial-rows --against-builtin --runs 9
  assay bench --draft nano --draft-len 3 --against-builtin
  assay bench --model ./gemma --format json

Tokens per second are generated tokens by the wall time of the decode loop, batch 1.
Noise on a machine is mostly common to neighbouring runs: to compare kernels, let
--against-builtin interleave them instead of comparing two runs of this command.")]
pub struct BenchArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    draft: DraftArgs,
    /// Timed runs; one more goes before them untimed
    #[arg(long, default_value_t = 5, value_name = "R")]
    runs: usize,
    /// Prompt tokens of a run, BOS among them
    #[arg(long, default_value_t = 33, value_name = "N")]
    prompt_tokens: usize,
    /// Decode steps of a run
    #[arg(long, default_value_t = 64, value_name = "N")]
    decode_tokens: usize,
    /// Run the built-in kernels without a drafter in between, and print the speed ratio
    #[arg(long)]
    against_builtin: bool,
    /// Time each op of a decode step by itself too
    #[arg(long)]
    ops: bool,
}

#[derive(Serialize)]
struct Report {
    config: Config,
    adapter: Adapter,
    bytes_per_token: u64,
    decode_tps: Samples,
    prefill_tps: Samples,
    /// Weight bytes read per second of decoding by the measured bandwidth. With a drafter, the
    /// target's weights are read once for all tokens of a step.
    roofline_fraction: f64,
    /// Drafts kept per step, where there is a drafter.
    accepted_per_step: Option<f64>,
    phases: Phases,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

#[derive(Serialize)]
struct Config {
    model: String,
    bundle: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fusions: Vec<&'static str>,
    runs: usize,
    prompt_tokens: usize,
    decode_tokens: usize,
    draft_len: Option<usize>,
}

#[derive(Serialize)]
struct Adapter {
    name: String,
    backend: String,
    driver: String,
    class: String,
    bandwidth_gb_s: f64,
}

/// Where the time goes: once for loading, the median run for the others.
#[derive(Serialize)]
struct Phases {
    load_ms: f64,
    prefill_ms: f64,
    decode_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<Vec<Op>>,
}

#[derive(Serialize)]
struct Op {
    op: &'static str,
    launches: usize,
    ms: f64,
}

/// The built-in kernels, run in between.
#[derive(Serialize)]
struct Against {
    bundle: String,
    decode_tps: Samples,
    prefill_tps: Samples,
    /// Median decode speed by that of the built-in kernels.
    ratio: f64,
    /// Whether both generated the same tokens in every run.
    same_tokens: bool,
}

/// One engine's times so far.
#[derive(Default)]
struct Lane {
    decode_ns: Vec<u64>,
    prefill_ns: Vec<u64>,
    tokens: Vec<u32>,
    drafting: DraftStats,
}

/// Times the runs and prints.
///
/// # Errors
///
/// When the model, the bundle or the adapter do not work.
pub fn run(args: BenchArgs, format: Format) -> anyhow::Result<()> {
    ensure!(args.runs > 0 && args.decode_tokens > 0, "--runs and --decode-tokens are at least 1");
    let start = Instant::now();
    let opened = args.engine.open()?;
    let prompt = prompt(&opened, args.prompt_tokens)?;
    let context = prompt.len().saturating_add(args.decode_tokens);
    let mut engine = opened.engine(context, None, Some(&args.draft))?;
    let load_ms = elapsed_ms(start);
    let mut lanes = vec![(&mut engine, Lane::default())];
    let mut other = match args.against_builtin {
        true => Some(opened.builtin_engine(context)?),
        false => None,
    };
    lanes.extend(other.as_mut().map(|engine| (engine, Lane::default())));
    let same_tokens = interleave(&mut lanes, &prompt, &args)?;
    let mut lanes = lanes.into_iter().map(|(_, lane)| lane);
    let own = lanes.next().context("one engine at least")?;
    let (decode_tps, prefill_tps) = own.speeds(prompt.len(), args.decode_tokens)?;
    let against = match lanes.next() {
        Some(lane) => {
            Some(against(&lane, &prompt, args.decode_tokens, decode_tps.median, same_tokens)?)
        }
        None => None,
    };
    let bandwidth_mb_s = opened.gpu.probe_bandwidth_mb_s()?;
    let bytes_per_token = opened.checkpoint.bytes_per_token();
    let passes_per_second = decode_tps.median / (1.0 + own.drafting.accepted_per_round());
    let report = Report {
        adapter: adapter(&opened, bandwidth_mb_s),
        bytes_per_token,
        roofline_fraction: roofline(bytes_per_token, passes_per_second, bandwidth_mb_s),
        accepted_per_step: args.draft.len().map(|_| own.drafting.accepted_per_round()),
        phases: Phases {
            load_ms,
            prefill_ms: median_ms(&own.prefill_ns),
            decode_ms: median_ms(&own.decode_ns),
            ops: if args.ops { Some(ops(&mut engine, &prompt)?) } else { None },
        },
        decode_tps,
        prefill_tps,
        against,
        config: Config {
            bundle: opened.bundle.name().to_owned(),
            fusions: opened.bundle.fusions().iter().map(|fusion| fusion.name()).collect(),
            model: opened.model,
            runs: args.runs,
            prompt_tokens: args.prompt_tokens,
            decode_tokens: args.decode_tokens,
            draft_len: args.draft.len(),
        },
    };
    print(format, &report, table)
}

/// BOS and the beginning of the held-out text; without a tokenizer, ids spread over the vocabulary, which
/// cost as much.
fn prompt(opened: &Opened, tokens: usize) -> anyhow::Result<Vec<u32>> {
    let text = match opened.checkpoint.has_tokenizer() {
        true => opened.tokenizer()?.encode(heldout_text())?,
        false => {
            let ids = 0..u32::try_from(opened.config().vocab)?;
            ids.step_by(97).skip(1).take(tokens).collect()
        }
    };
    let most = text.len() + 1;
    ensure!((1..=most).contains(&tokens), "--prompt-tokens must be 1 to {most}");
    Ok(std::iter::once(opened.config().bos).chain(text).take(tokens).collect())
}

/// Runs every engine once untimed and then in turn, the order reversed each time. Returns whether
/// all of them generated the same tokens.
fn interleave(
    lanes: &mut [(&mut Engine, Lane)],
    prompt: &[u32],
    args: &BenchArgs,
) -> anyhow::Result<bool> {
    let bar = progress(args.runs + 1, "timing");
    let mut same_tokens = true;
    for run in 0..=args.runs {
        for (engine, lane) in &mut *lanes {
            engine.reset();
            let prefill = engine.prefill(prompt)?;
            let decode = engine.decode_greedy(args.decode_tokens, false)?;
            lane.tokens = std::iter::once(prefill.next).chain(decode.tokens).collect();
            if run > 0 {
                lane.prefill_ns.push(prefill.wall_ns);
                lane.decode_ns.push(decode.wall_ns);
                lane.drafting.rounds.extend(decode.draft.into_iter().flat_map(|d| d.rounds));
            }
        }
        same_tokens &= lanes.windows(2).all(|two| two[0].1.tokens == two[1].1.tokens);
        lanes.reverse();
        bar.inc(1);
    }
    // An even number of reversals leaves the engines in their first order.
    if args.runs.is_multiple_of(2) {
        lanes.reverse();
    }
    bar.finish_and_clear();
    Ok(same_tokens)
}

impl Lane {
    /// Decode and prefill speeds in tokens per second.
    fn speeds(&self, prompt: usize, decoded: usize) -> anyhow::Result<(Samples, Samples)> {
        let of = |count: usize, times_ns: &[u64]| {
            let speeds = times_ns.iter().map(|&ns| per_second(count, ns)).collect();
            Samples::of(speeds).context("a benchmark needs at least one run")
        };
        Ok((of(decoded, &self.decode_ns)?, of(prompt, &self.prefill_ns)?))
    }
}

fn against(
    lane: &Lane,
    prompt: &[u32],
    decoded: usize,
    own_tps: f64,
    same_tokens: bool,
) -> anyhow::Result<Against> {
    let (decode_tps, prefill_tps) = lane.speeds(prompt.len(), decoded)?;
    let (bundle, ratio) = (Bundle::builtin().name().to_owned(), own_tps / decode_tps.median);
    Ok(Against { bundle, decode_tps, prefill_tps, ratio, same_tokens })
}

#[allow(clippy::cast_precision_loss)]
fn adapter(opened: &Opened, bandwidth_mb_s: u64) -> Adapter {
    let info = opened.gpu.info().clone();
    Adapter {
        name: info.name,
        backend: info.backend,
        driver: info.driver,
        class: info.class,
        bandwidth_gb_s: bandwidth_mb_s as f64 / 1e3,
    }
}

#[allow(clippy::cast_precision_loss)]
fn roofline(bytes_per_pass: u64, passes_per_second: f64, bandwidth_mb_s: u64) -> f64 {
    bytes_per_pass as f64 * passes_per_second / (bandwidth_mb_s.max(1) as f64 * 1e6)
}

fn median_ms(times_ns: &[u64]) -> f64 {
    Samples::of(times_ns.iter().map(|&ns| ms(ns)).collect()).map_or(0.0, |samples| samples.median)
}

fn ops(engine: &mut Engine, prompt: &[u32]) -> anyhow::Result<Vec<Op>> {
    engine.reset();
    engine.prefill(prompt)?;
    let phases = engine.phases(OP_REPETITIONS)?.into_iter();
    Ok(phases.map(|p| Op { op: p.op, launches: p.launches, ms: ms(p.wall_ns) }).collect())
}

fn table(report: &Report) -> String {
    let range = |samples: &Samples| {
        format!("{:.1} tokens/s [{:.1}, {:.1}]", samples.median, samples.min, samples.max)
    };
    let mut rows = vec![
        ("model", report.config.model.clone()),
        ("bundle", report.config.bundle.clone()),
        ("adapter", report.adapter.name.clone()),
        ("class", report.adapter.class.clone()),
        ("bandwidth", format!("{:.1} GB/s", report.adapter.bandwidth_gb_s)),
        ("bytes per token", report.bytes_per_token.to_string()),
        ("decode", range(&report.decode_tps)),
        ("prefill", range(&report.prefill_tps)),
        ("roofline", format!("{:.1} %", report.roofline_fraction * 100.0)),
        ("load", format!("{:.0} ms", report.phases.load_ms)),
    ];
    if !report.config.fusions.is_empty() {
        rows.push(("fusions", report.config.fusions.join(", ")));
    }
    if let (Some(kept), Some(len)) = (report.accepted_per_step, report.config.draft_len) {
        rows.push(("drafts", format!("{kept:.2} of {len} kept per step")));
    }
    if let Some(against) = &report.against {
        let tokens = if against.same_tokens { "same tokens" } else { "OTHER tokens" };
        rows.push(("built-in decode", range(&against.decode_tps)));
        rows.push(("speed ratio", format!("{:.3}, {tokens}", against.ratio)));
    }
    for op in report.phases.ops.iter().flatten() {
        rows.push((op.op, format!("{:.3} ms in {} launches", op.ms, op.launches)));
    }
    fields(&rows)
}
