//! The gates: pure functions of the revealed raw data, each named and reported by itself.

use crate::genesis::{Genesis, SignificanceRules};
use crate::measurement::{ArmReport, Measurement};
use crate::plan::{Arm, Plan};
use crate::statistics::{BetweenSeats, Pooled, pool, signed_rank_p};
use serde::{Deserialize, Serialize};

/// Nanonats in a nat.
pub const NANO: f64 = 1e9;
/// Millionths in one.
pub const PPM: f64 = 1e6;

/// One seat's contribution, with its labels resolved.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What the seat had to measure.
    pub plan: &'a Plan,
    /// What it measured.
    pub measurement: &'a Measurement,
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

    /// Times of the child's decode loops, or of the parent's, in the order measured.
    pub fn times_ns(&self, child: bool) -> impl Iterator<Item = u64> + 'a {
        let x = (self.plan.child == Arm::X) == child;
        self.measurement.pairs.iter().map(move |pair| if x { pair.x_ns } else { pair.y_ns })
    }

    /// Log of parent time over child time, a pair: positive means that the child is faster.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn log_ratios(&self) -> Vec<f64> {
        let pairs = self.measurement.pairs.iter();
        pairs
            .map(|pair| {
                let (parent, child) = match self.plan.child {
                    Arm::X => (pair.y_ns, pair.x_ns),
                    Arm::Y => (pair.x_ns, pair.y_ns),
                };
                libm::log(parent as f64 / child as f64)
            })
            .collect()
    }
}

/// The gates' names, in the order they are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// The built-in bundle decodes the same tokens from the same checkpoint.
    Identity,
    /// Prefill and decode agree.
    Path,
    /// Close to the base checkpoint.
    Quality,
    /// The whole vocabulary is there.
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

/// Passes when every timed token is what the built-in bundle would have emitted, near-ties
/// excused. A recipe that passes is *lossless* relative to its checkpoint.
#[must_use]
pub fn identity(evidence: &[Evidence<'_>]) -> GateResult {
    let tokens = sum(evidence, |arm| arm.decoded_tokens);
    let breaks = sum(evidence, |arm| arm.identity_breaks);
    let excused = sum(evidence, |arm| arm.near_ties);
    let detail = format!("{breaks} of {tokens} tokens differ, {excused} at near-ties");
    result(Gate::Identity, tokens > 0 && breaks <= excused, detail)
}

/// Passes when prefill and decode logits agree at every sampled position.
#[must_use]
pub fn path(evidence: &[Evidence<'_>]) -> GateResult {
    let positions = sum(evidence, |arm| arm.path_positions);
    let breaks = sum(evidence, |arm| arm.path_breaks);
    let detail = format!("{breaks} of {positions} positions differ between prefill and decode");
    result(Gate::Path, positions > 0 && breaks == 0, detail)
}

/// Passes when KL divergence, agreement and perplexity against the base stay in their bounds.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn quality(genesis: &Genesis, evidence: &[Evidence<'_>]) -> GateResult {
    let tokens = sum(evidence, |arm| arm.decoded_tokens) as f64;
    let kl = sum(evidence, |arm| arm.kl_nanonats) as f64 / NANO / tokens;
    let agreement = sum(evidence, |arm| arm.agreements) as f64 / tokens;
    let nonfinite = sum(evidence, |arm| arm.nonfinite_logits);
    let child = perplexity(evidence, |seat| seat.child().nll_nanonats);
    let base = perplexity(evidence, |seat| seat.child().base_nll_nanonats);
    let ratio = match (child, base) {
        (Some(child), Some(base)) => child / base,
        _ => f64::INFINITY,
    };
    let bounds = &genesis.challenge;
    let pass = tokens > 0.0
        && nonfinite == 0
        && kl <= bounds.kl_max_micronats as f64 / PPM
        && agreement >= bounds.agreement_min_ppm as f64 / PPM
        && ratio <= bounds.perplexity_ratio_max_ppm as f64 / PPM;
    let detail = format!(
        "KL {kl:.6} nat, agreement {:.2} %, perplexity ratio {ratio:.4}, {nonfinite} logits not finite",
        agreement * 100.0
    );
    result(Gate::Quality, pass, detail)
}

/// Passes when random token ids from the whole vocabulary have finite logits whose normaliser is
/// the built-in bundle's.
#[must_use]
pub fn reach(evidence: &[Evidence<'_>]) -> GateResult {
    let positions = sum(evidence, |arm| arm.reach_positions);
    let breaks = sum(evidence, |arm| arm.reach_breaks);
    let detail = format!("{breaks} of {positions} random tokens out of reach");
    result(Gate::Reach, positions > 0 && breaks == 0, detail)
}

/// Passes when every seat loaded the same shape for the child as for the parent.
#[must_use]
pub fn shape(evidence: &[Evidence<'_>]) -> GateResult {
    let differing =
        evidence.iter().filter(|seat| seat.child().shape != seat.parent().shape).count();
    let detail =
        format!("{differing} of {} seats saw another shape than the parent's", evidence.len());
    result(Gate::Shape, !evidence.is_empty() && differing == 0, detail)
}

/// Raises a flag, never a rejection, when the child read its weights faster than the seat's
/// memory delivers them.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn physics(evidence: &[Evidence<'_>]) -> GateResult {
    let mut flagged = 0_usize;
    let mut closest: f64 = 0.0;
    for seat in evidence {
        let pairs = seat.measurement.pairs.iter();
        let child_ns: f64 = pairs
            .map(|pair| if seat.plan.child == Arm::X { pair.x_ns } else { pair.y_ns })
            .map(|ns| ns as f64)
            .sum();
        let child = seat.child();
        // A megabyte per second is a byte per microsecond.
        let floor_us = child.bytes_per_token as f64 * child.decoded_tokens as f64
            / seat.measurement.environment.bandwidth_mb_s as f64;
        let fraction = floor_us * 1_000.0 / child_ns;
        if fraction > closest {
            closest = fraction;
        }
        flagged += usize::from(fraction > 1.0);
    }
    let detail =
        format!("{flagged} seats flagged, at most {:.1} % of the roofline", closest * 100.0);
    result(Gate::Physics, true, detail)
}

/// Passes when decoding a prompt again gave the same tokens.
#[must_use]
pub fn repeat(evidence: &[Evidence<'_>]) -> GateResult {
    let breaks = sum(evidence, |arm| arm.repeat_breaks);
    let detail = format!("{breaks} tokens differ when decoded again");
    result(Gate::Repeat, breaks == 0, detail)
}

/// The measured gain: the pooled ratio, and how surprising its signs and ranks would be without one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Log ratio over all seats with its uncertainty.
    pub pooled: Pooled,
    /// Probability of pairs at least so far above 1 + η, were their true median 1 + η.
    pub rank_p: f64,
}

/// Pools the seats' log ratios; `None` where there are too few for an interval.
#[must_use]
pub fn gain(genesis: &Genesis, evidence: &[Evidence<'_>]) -> Option<Gain> {
    let seats: Vec<Vec<f64>> = evidence.iter().map(Evidence::log_ratios).collect();
    measured_gain(&genesis.significance, &seats)
}

/// [`gain`] from every seat's log ratios.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn measured_gain(rules: &SignificanceRules, seats: &[Vec<f64>]) -> Option<Gain> {
    let known = BetweenSeats { tau: rules.tau_ppm as f64 / PPM, df: f64::from(rules.tau_df) };
    let pooled = pool(seats, known)?;
    let threshold = libm::log1p(rules.eta_ppm as f64 / PPM);
    let above: Vec<f64> = seats.iter().flatten().map(|ratio| ratio - threshold).collect();
    Some(Gain { pooled, rank_p: signed_rank_p(&above) })
}

/// Passes when the lower bound of the pooled ratio exceeds 1 + η and the signed ranks of the pairs
/// say so too: Student's interval accounts for seats that differ, the ranks for pairs that are
/// anything but normal, and a gain must survive both.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn speed(rules: &SignificanceRules, gain: Option<&Gain>) -> GateResult {
    let needed = 1.0 + rules.eta_ppm as f64 / PPM;
    let alpha = rules.alpha_ppm as f64 / PPM;
    let Some(Gain { pooled, rank_p }) = gain else {
        return result(Gate::Speed, false, "too few pairs for an interval".to_owned());
    };
    let (low, high) = pooled.bounds(alpha);
    let (low, high) = (libm::exp(low), libm::exp(high));
    let ratio = libm::exp(pooled.mean);
    let detail = format!(
        "ratio {ratio:.4} [{low:.4}, {high:.4}], needs a lower bound above {needed:.4}; \
         signed ranks p = {rank_p:.2e}, needs at most {alpha}"
    );
    result(Gate::Speed, low > needed && *rank_p <= alpha, detail)
}

/// Perplexity over the seats' scored tokens, exp(Σ nll / Σ tokens), with the negative
/// log-likelihood that `nll` picks. Both arms score the same tokens.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn perplexity(evidence: &[Evidence<'_>], nll: impl Fn(&Evidence<'_>) -> u64) -> Option<f64> {
    let total = evidence.iter().fold(0_u64, |sum, seat| sum.saturating_add(nll(seat)));
    let tokens = sum(evidence, |arm| arm.scored_tokens);
    (tokens > 0).then(|| libm::exp(total as f64 / NANO / tokens as f64))
}
