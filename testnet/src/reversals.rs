//! `assay-testnet reversals`: three things that the centralised event held to be settled and that were
//! not, measured again on nano by real seats.
//!
//! - *The int4 floor.* "int4 reads the fewest bytes a token, so nothing goes beyond its bandwidth": the
//!   proof varied only how wide a weight is. Drafting reads each weight once for several tokens. What
//!   decides here is the bytes a token, which the floor is made of: an adapter that is bound by its
//!   arithmetic, as a software adapter is, need not be faster for reading less.
//! - *The bigger drafter.* "It drafts better, so it is faster": it reads its own weights at every draft.
//!   Here it drafts exactly as well as the small one, which is the best that can be hoped for where the
//!   small one is rarely wrong, and loses.
//! - *Other numerics.* "A drafter fits every checkpoint that emits the same tokens": it reads the hidden
//!   state, not the tokens. On a checkpoint that keeps other numbers there and emits the same tokens it
//!   drafts near-randomly.

use crate::attack::checkpoints::Edited;
use crate::attack::drafting::on_pool;
use crate::attack::report::Config;
use crate::attack::workbench::{Case, Found, Workbench};
use crate::nodes::assay_program;
use crate::sim::{Check, Report};
use anyhow::{Context, bail};
use assay_kernels::quantize::Scheme;
use assay_kernels::{AdapterRequest, Gpu, embedded_drafter_files};
use assay_node::cli::output::{Format, print, table};
use assay_node::measure::RecipeFiles;
use assay_protocol::verdict::{Estimate, Verdict};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Tokens drafted a step.
const DRAFT_LEN: u32 = 3;
/// Layers that the bigger drafter has more than nano's four.
const IDLE_LAYERS: usize = 12;
/// Windows of the pool behind which drafts are counted.
const WINDOWS: u32 = 12;
/// How many times less than the floor has to be read for the floor to have fallen.
const BEYOND_MIN: f64 = 1.2;
/// A drafter that keeps less than this share of what it keeps on its own target drafts near-randomly.
const NEAR_RANDOM_MAX: f64 = 0.25;

/// How the reversals are run.
#[derive(Debug, Clone)]
pub struct ReversalOptions {
    /// A committee of three seats instead of one seat.
    pub long: bool,
    /// Where the draws start.
    pub seed: u64,
    /// How to print the result.
    pub format: Format,
}

/// One measurement on the way to a reversal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The reversal that it belongs to.
    pub reversal: &'static str,
    /// What is measured against what.
    pub what: &'static str,
    /// Child speed over parent speed.
    pub ratio: Estimate,
    /// Bytes of the target's weights that parent and child read per token; a drafter's are not counted.
    pub bytes_per_token: [u64; 2],
    /// Drafts kept per step on the pool's own text, by parent and child; none where one does not draft.
    pub kept_per_step: Option<[f64; 2]>,
    /// Perplexity of parent and child on the same prompts, in millionths.
    pub perplexity_ppm: [u64; 2],
}

/// Everything that the command prints.
pub type ReversalReport = Report<Config, Row>;

/// Runs the three; returns whether each came out as in the event.
///
/// # Errors
///
/// When files cannot be written, a recipe cannot be measured, or on Ctrl-C.
pub fn run(options: &ReversalOptions) -> anyhow::Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).context("Ctrl-C handler")?;
    let seats = if options.long { 3 } else { 1 };
    let config = Config { seats, pairs: 8, ..Config::new(options.long) };
    let bench = Workbench::new(&config, options.seed, assay_program()?, stop)?;
    let scene = Scene { bench, started: Instant::now() };
    let (mut rows, mut checks) = (Vec::new(), Vec::new());
    for reversal in [int4_floor, bigger_drafter, other_numerics] {
        let (measured, check) = reversal(&scene)?;
        scene.say(&format!(
            "{}: {}",
            if check.ok { "reversed" } else { "NOT REVERSED" },
            check.detail
        ));
        rows.extend(measured);
        checks.push(check);
    }
    let report = ReversalReport::new(config, options.seed, rows, checks);
    print(options.format, &report, show)?;
    Ok(report.ok)
}

struct Scene {
    bench: Workbench,
    started: Instant,
}

impl Scene {
    fn say(&self, what: &str) {
        eprintln!("[{:>4} s] {what}", self.started.elapsed().as_secs());
    }

    /// Has the seats measure a child against its parent.
    fn measure(
        &self,
        reversal: &'static str,
        what: &'static str,
        (parent, child): (&RecipeFiles, &RecipeFiles),
    ) -> anyhow::Result<Row> {
        self.say(&format!("{reversal}: {what}"));
        let case = Case { parent: parent.clone(), ..self.bench.against_base(child.clone()) };
        let say = |step: &str| self.say(&format!("{reversal}: {step}"));
        let (verdict, bytes_per_token) = match self.bench.measured(&case, &say)? {
            (Found::Verdict(verdict, _), bytes) => (verdict, bytes),
            (Found::Nothing(reason), _) => bail!("{what} cannot be measured: {reason}"),
        };
        let drafts = parent.drafter.is_some() && child.drafter.is_some();
        let kept = |recipe| self.kept_per_step(recipe);
        Ok(Row {
            reversal,
            what,
            ratio: verdict.ratio.with_context(|| format!("{what}: too few pairs"))?,
            bytes_per_token,
            kept_per_step: if drafts { Some([kept(parent)?, kept(child)?]) } else { None },
            perplexity_ppm: perplexities(&verdict),
        })
    }

    fn kept_per_step(&self, recipe: &RecipeFiles) -> anyhow::Result<f64> {
        let gpu = Gpu::open(&AdapterRequest::default())?;
        let windows: Vec<u32> = (0..WINDOWS).collect();
        Ok(on_pool(&gpu, self.bench.genesis(), recipe, &windows)?.accepted_per_round())
    }

    /// `recipe` with a drafter of nano's making.
    fn drafting(&self, recipe: &RecipeFiles) -> RecipeFiles {
        RecipeFiles { drafter: self.bench.drafted(DRAFT_LEN).drafter, ..recipe.clone() }
    }
}

fn perplexities(verdict: &Verdict) -> [u64; 2] {
    [verdict.perplexity_parent_ppm, verdict.perplexity_child_ppm].map(Option::unwrap_or_default)
}

/// int4 against nano sets the floor; int4 with drafts against int4 goes below it.
fn int4_floor(scene: &Scene) -> anyhow::Result<(Vec<Row>, Check)> {
    let name = "int4-floor";
    let int4 = scene.bench.quantised("floor-int4", Scheme::Int4(32))?;
    let drafted = scene.drafting(&int4);
    let floor = scene.measure(name, "int4 against bf16", (&scene.bench.base(), &int4))?;
    let below = scene.measure(name, "int4 with drafts against int4", (&int4, &drafted))?;
    let [bf16, int4] = floor.bytes_per_token;
    let [_, drafted] = below.bytes_per_token;
    let detail = format!(
        "bf16 reads {bf16} bytes a token, int4 {int4}, int4 with drafts {drafted}: a memory that \
         allows int4 {:.3}× bf16's speed allows it {:.3}×; timed here {} and then {}",
        share(bf16, int4),
        share(bf16, drafted),
        interval(&floor.ratio),
        interval(&below.ratio)
    );
    let ok = int4 < bf16 && share(int4, drafted) >= BEYOND_MIN;
    let check = Check { name: "drafting goes below the int4 floor".to_owned(), ok, detail };
    Ok((vec![floor, below], check))
}

fn share(of: u64, to: u64) -> f64 {
    of as f64 / to.max(1) as f64
}

/// The same drafts from a drafter with four times the layers.
fn bigger_drafter(scene: &Scene) -> anyhow::Result<(Vec<Row>, Check)> {
    let files = embedded_drafter_files().into_iter();
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let mut bigger = Edited::read(files.collect())?;
    bigger.prepend_idle_layers(IDLE_LAYERS)?;
    let folder = scene.bench.checkpoint("bigger-drafter", &bigger.files()?)?.checkpoint;
    let small = scene.bench.drafted(DRAFT_LEN);
    let big = RecipeFiles { drafter: Some((folder, DRAFT_LEN)), ..scene.bench.base() };
    let what = "a drafter of sixteen layers against one of four";
    let row = scene.measure("bigger-drafter", what, (&small, &big))?;
    let [small, big] = row.kept_per_step.unwrap_or_default();
    let detail =
        format!("{} with {big:.3} drafts kept a step instead of {small:.3}", interval(&row.ratio));
    let ok = row.ratio.high_ppm < 1_000_000 && (big - small).abs() < 1e-9;
    let check = Check { name: "the bigger drafter loses".to_owned(), ok, detail };
    Ok((vec![row], check))
}

/// Nano's drafter on a checkpoint that emits nano's tokens out of other numbers.
fn other_numerics(scene: &Scene) -> anyhow::Result<(Vec<Row>, Check)> {
    let mut turned = Edited::nano()?;
    turned.turn_hidden()?;
    let turned = scene.bench.checkpoint("turned", &turned.files()?)?;
    let (own, other) = (scene.drafting(&scene.bench.base()), scene.drafting(&turned));
    let what = "a drafter on a turned checkpoint against on its own";
    let row = scene.measure("other-numerics", what, (&own, &other))?;
    let [own, other] = row.kept_per_step.unwrap_or_default();
    let [before, after] = row.perplexity_ppm;
    let detail = format!(
        "{}; {other:.3} drafts kept a step instead of {own:.3}, at a perplexity of {:.3} instead of {:.3}",
        interval(&row.ratio),
        after as f64 / 1e6,
        before as f64 / 1e6
    );
    // The checkpoint is no worse: only what the drafter reads is another.
    let same = before.abs_diff(after) <= before / 1_000;
    let ok = other <= own * NEAR_RANDOM_MAX && row.ratio.high_ppm < 1_000_000 && same;
    let check =
        Check { name: "a drafter fits the numbers it was trained on".to_owned(), ok, detail };
    Ok((vec![row], check))
}

fn interval(ratio: &Estimate) -> String {
    let times = |ppm: u64| format!("{:.3}", ppm as f64 / 1e6);
    format!("{}× [{}, {}]", times(ratio.ppm), times(ratio.low_ppm), times(ratio.high_ppm))
}

/// The measurements and what they reverse.
fn show(report: &ReversalReport) -> String {
    let rows = report.rows.iter().map(|row| {
        let kept = row.kept_per_step;
        vec![
            row.reversal.to_owned(),
            row.what.to_owned(),
            interval(&row.ratio),
            format!("{} → {}", row.bytes_per_token[0], row.bytes_per_token[1]),
            kept.map_or_else(|| "-".to_owned(), |[a, b]| format!("{a:.3} → {b:.3}")),
        ]
    });
    let text = table(&["reversal", "measured", "ratio", "bytes a token", "kept a step"], rows);
    format!("{text}\n\n{}", crate::sim::verdicts(&report.checks))
}
