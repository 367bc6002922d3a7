//! What the seats of a made-up ledger measure.

use super::world::CLASS;
use assay_protocol::measurement::{ArmReport, Environment, Measurement, Pair, Score, token_digest};
use assay_protocol::plan::{Arm, Plan};

/// What a claim's seats will find.
#[derive(Clone, Copy)]
pub(crate) struct Truth {
    /// Child speed over parent speed.
    pub(crate) ratio: f64,
    /// Whether the child emits other tokens.
    pub(crate) lossy: bool,
    /// Perplexity of the child.
    pub(crate) perplexity: f64,
}

impl Truth {
    pub(crate) fn faster(ratio: f64) -> Self {
        Self { ratio, lossy: false, perplexity: 33.12 }
    }
}

/// A repeatable number in 0..1000.
fn noise(seed: u32) -> f64 {
    f64::from(seed.wrapping_mul(2_654_435_761) >> 8 & 0xffff) / 65.536
}

/// What the machine of a member by its index finds.
pub(super) fn measurement(plan: &Plan, index: usize, truth: Truth) -> Measurement {
    let machine = 1.0 + 0.15 * index as f64;
    let pairs = plan.prompts.iter().map(|prompt| {
        let parent = 410e6 * machine * (1.0 + noise(*prompt) * 2e-5);
        let child = parent / truth.ratio * (1.0 + (noise(*prompt + 7) - 500.0) * 3e-5);
        let (child, parent) = (child as u64, parent as u64);
        let (x_ns, y_ns) = if plan.child == Arm::X { (child, parent) } else { (parent, child) };
        let tokens = token_digest(&[*prompt]);
        let (parent, child) = (score(33.12, false), score(truth.perplexity, truth.lossy));
        let (x_score, y_score) =
            if plan.child == Arm::X { (child, parent) } else { (parent, child) };
        Pair {
            prompt: *prompt,
            x_ns,
            y_ns,
            x_prefill_us: 6_700,
            y_prefill_us: 6_700,
            x_tokens: tokens,
            y_tokens: tokens,
            x_score,
            y_score,
            base_nll_micronats: score(33.12, false).nll_micronats,
        }
    });
    let pairs: Vec<Pair> = pairs.collect();
    let parent = arm(false);
    let child = arm(truth.lossy);
    let (x, y) = if plan.child == Arm::X { (child, parent) } else { (parent, child) };
    let environment = Environment {
        adapter: "llvmpipe (LLVM 15.0.6, 256 bits)".to_owned(),
        backend: "Vulkan".to_owned(),
        driver: "Mesa 22.3.6".to_owned(),
        hardware_class: CLASS.to_owned(),
        bandwidth_mb_s: 21_480,
        load_before_milli: 310,
        load_after_milli: 1_120,
        repeats: u32::from(index == 2),
        engine: "assay-kernels 0.1.0".to_owned(),
        compute_mflop_s: 21_000,
        ..Environment::default()
    };
    Measurement { pairs, x, y, environment }
}

/// One prompt's distance from the base: 64 timed and 32 scored tokens.
fn score(perplexity: f64, lossy: bool) -> Score {
    Score {
        kl_micronats: if lossy { 64 * 9_000 } else { 0 },
        agreements: if lossy { 62 } else { 64 },
        nll_micronats: (perplexity.ln() * 32.0 * 1e6) as u64,
    }
}

fn arm(lossy: bool) -> ArmReport {
    ArmReport {
        decoded_tokens: 12 * 64,
        scored_tokens: 12 * 32,
        identity_breaks: if lossy { 28 } else { 0 },
        path_positions: 12 * 64,
        repeat_positions: 65,
        shape: [3; 32],
        bytes_per_token: 17_000_000,
        reach_positions: 32,
        ..ArmReport::default()
    }
}
