//! The gates: pure functions of the revealed raw data, each named and reported by itself.
//!
//! | module | gates |
//! |---|---|
//! | `counts` | identity, path, reach, shape, repeat: what was counted must not have happened |
//! | `quality` | KL, agreement and perplexity against the base, each by a one-sided bound |
//! | `speed` | the pooled ratio against noise |
//! | `physics` | what is faster than the machine allows is flagged, never refused |
//!
//! Making raw data worse never turns a refusal into a pass, and the order of the seats changes
//! nothing; both are property-tested.

mod counts;
mod physics;
#[cfg(test)]
mod properties;
mod quality;
mod speed;

use crate::measurement::{ArmReport, Measurement, Score};
use crate::plan::{Arm, Plan};
use serde::{Deserialize, Serialize};

pub use counts::{identity, path, reach, repeat, shape};
pub use physics::{Flag, FlagKind, excess, flags, physics};
pub use quality::{
    Quality, perplexity_child, perplexity_parent, perplexity_to_base, quality, quality_figures,
};
pub use speed::{Gain, gain, measured_gain, speed, speed_pending};

/// Millionths in one.
pub const PPM: f64 = 1e6;

/// A float as whole millionths; saturates, and NaN becomes 0.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn to_ppm(value: f64) -> u64 {
    // A float-to-integer cast saturates and maps NaN to zero, which is what is wanted here.
    libm::round(value * PPM) as u64
}

/// One seat's contribution, with its labels resolved.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What the seat had to measure.
    pub plan: &'a Plan,
    /// What it measured.
    pub measurement: &'a Measurement,
}

/// One prompt of one seat, with its labels resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedPair {
    /// Decode loop of the parent, in nanoseconds.
    pub parent_ns: u64,
    /// Decode loop of the child, in nanoseconds.
    pub child_ns: u64,
    /// Prefill of the parent, in microseconds.
    pub parent_prefill_us: u32,
    /// Prefill of the child, in microseconds.
    pub child_prefill_us: u32,
    /// The parent's distance from the base.
    pub parent: Score,
    /// The child's distance from the base.
    pub child: Score,
    /// The base's negative log-likelihood of the scored tokens, in millionths of a nat.
    pub base_nll_micronats: u64,
}

impl<'a> Evidence<'a> {
    /// The child's report.
    #[must_use]
    pub fn child(&self) -> &'a ArmReport {
        match self.plan.child {
            Arm::X => &self.measurement.x,
            Arm::Y => &self.measurement.y,
        }
    }

    /// The parent's report.
    #[must_use]
    pub fn parent(&self) -> &'a ArmReport {
        match self.plan.child {
            Arm::X => &self.measurement.y,
            Arm::Y => &self.measurement.x,
        }
    }

    /// The pairs with parent and child told apart.
    pub fn pairs(&self) -> impl Iterator<Item = ResolvedPair> + use<'a> {
        let child = self.plan.child;
        self.measurement.pairs.iter().map(move |pair| {
            let x = (pair.x_ns, pair.x_prefill_us, pair.x_score);
            let y = (pair.y_ns, pair.y_prefill_us, pair.y_score);
            let (of_parent, of_child) = match child {
                Arm::X => (y, x),
                Arm::Y => (x, y),
            };
            let (parent_ns, parent_prefill_us, parent) = of_parent;
            let (child_ns, child_prefill_us, child) = of_child;
            ResolvedPair {
                parent_ns,
                child_ns,
                parent_prefill_us,
                child_prefill_us,
                parent,
                child,
                base_nll_micronats: pair.base_nll_micronats,
            }
        })
    }

    /// Times of the child's decode loops, or of the parent's, in the order measured.
    pub fn times_ns(&self, child: bool) -> impl Iterator<Item = u64> + use<'a> {
        self.pairs().map(move |pair| if child { pair.child_ns } else { pair.parent_ns })
    }

    /// Log of parent time over child time, a pair: positive means that the child is faster.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn log_ratios(&self) -> Vec<f64> {
        self.pairs().map(|pair| libm::log(pair.parent_ns as f64 / pair.child_ns as f64)).collect()
    }
}

/// The gates' names, in the order they are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// The built-in bundle decodes the same tokens from the same checkpoint.
    Identity,
    /// Prefill and decode agree, and what is emitted is what the own logits choose.
    Path,
    /// Close to the base checkpoint.
    Quality,
    /// The whole vocabulary and the whole context are there.
    Reach,
    /// Layers, widths, window and vocabulary are the base's.
    Shape,
    /// Not faster than the machine can read the weights.
    Physics,
    /// Faster than the parent by more than noise.
    Speed,
    /// The same prompt decodes to the same tokens again.
    Repeat,
}

/// What a gate found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Which gate.
    pub gate: Gate,
    /// Whether it lets the claim pass. Physics raises a flag and always passes.
    pub pass: bool,
    /// The numbers behind it, for people.
    pub detail: String,
}

fn result(gate: Gate, pass: bool, detail: String) -> GateResult {
    GateResult { gate, pass, detail }
}

fn sum(evidence: &[Evidence<'_>], field: impl Fn(&ArmReport) -> u64) -> u64 {
    evidence.iter().fold(0, |total, seat| total.saturating_add(field(seat.child())))
}
