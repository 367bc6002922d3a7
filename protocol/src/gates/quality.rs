//! Quality against the base checkpoint: one-sided bounds, so that a claim must show it.
//!
//! A mean that lies within a bound by luck is not enough. For KL and perplexity every prompt of
//! every seat is one observation and the bound is Student's; agreement is counted in tokens and
//! tested exactly.

use super::{Evidence, Gate, GateResult, PPM, ResolvedPair, result, sum};
use crate::genesis::Genesis;
use crate::statistics::{binomial_at_least, median, student_t_quantile};

/// The figures behind the quality gate, over all seats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// KL(base ‖ child) a timed token, in nats.
    pub kl: f64,
    /// The upper bound of it.
    pub kl_high: f64,
    /// Share of timed tokens on which child and base agree.
    pub agreement: f64,
    /// Probability of at least so many agreements, were the true share the least allowed.
    pub agreement_p: f64,
    /// Perplexity of the child over that of the base, where prompts on which the child is better count
    /// as equal.
    pub perplexity_ratio: f64,
    /// The upper bound of it.
    pub perplexity_ratio_high: f64,
}

/// The quality figures; `None` with fewer than two prompts or without tokens, which bound nothing.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn quality_figures(genesis: &Genesis, evidence: &[Evidence<'_>]) -> Option<Quality> {
    let alpha = genesis.significance.alpha_ppm as f64 / PPM;
    let decoded = f64::from(genesis.measurement.decode_tokens);
    let scored = f64::from(genesis.challenge.pool.scored_tokens);
    let pairs: Vec<ResolvedPair> = evidence.iter().flat_map(Evidence::pairs).collect();

    let kl = pairs.iter().map(|pair| pair.child.kl_micronats as f64 / PPM / decoded);
    let kl = Upper::of(kl)?;
    // A prompt on which the recipe is better than the base makes up for none on which it is worse: the
    // base's figure is the seat's own word, and one seat that overstates it would carry the rest.
    let worse = pairs.iter().map(|pair| {
        pair.child.nll_micronats.saturating_sub(pair.base_nll_micronats) as f64 / PPM / scored
    });
    let worse = Upper::of(worse)?;
    let possible = genesis.measurement.decode_tokens;
    let agreements: u32 =
        pairs.iter().fold(0, |sum, pair| sum.saturating_add(pair.child.agreements.min(possible)));
    let tokens = u32::try_from(sum(evidence, |arm| arm.decoded_tokens)).unwrap_or(u32::MAX);
    let least = genesis.challenge.agreement_min_ppm as f64 / PPM;
    let figures = Quality {
        kl: kl.mean,
        kl_high: kl.bound(alpha),
        agreement: f64::from(agreements) / f64::from(tokens),
        agreement_p: binomial_at_least(tokens, agreements.min(tokens), least),
        perplexity_ratio: libm::exp(worse.mean),
        perplexity_ratio_high: libm::exp(worse.bound(alpha)),
    };
    (tokens > 0).then_some(figures)
}

/// Passes when the upper bounds of KL divergence and perplexity ratio lie within the challenge's, so
/// many tokens agree that the least allowed share is refuted, and every logit is finite.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn quality(genesis: &Genesis, evidence: &[Evidence<'_>]) -> GateResult {
    let Some(found) = quality_figures(genesis, evidence) else {
        return result(Gate::Quality, false, "too few prompts to bound anything".to_owned());
    };
    let nonfinite = sum(evidence, |arm| arm.nonfinite_logits);
    let bounds = &genesis.challenge;
    let alpha = genesis.significance.alpha_ppm as f64 / PPM;
    let pass = nonfinite == 0
        && found.kl_high <= bounds.kl_max_micronats as f64 / PPM
        && found.agreement_p <= alpha
        && found.perplexity_ratio_high <= bounds.perplexity_ratio_max_ppm as f64 / PPM;
    let detail = format!(
        "KL {:.6} nat, at most {:.6}; agreement {:.2} %, p = {:.2e} for the least allowed; \
         perplexity ratio {}, at most {}; {nonfinite} logits not finite",
        found.kl,
        found.kl_high,
        found.agreement * 100.0,
        found.agreement_p,
        ratio(found.perplexity_ratio),
        ratio(found.perplexity_ratio_high),
    );
    result(Gate::Quality, pass, detail)
}

/// A ratio for people: with a power of ten where it is beyond anything that they would compare.
fn ratio(value: f64) -> String {
    if value < 1e4 { format!("{value:.4}") } else { format!("{value:.1e}") }
}

/// A mean and what its upper bound needs.
struct Upper {
    mean: f64,
    /// Standard error of the mean, never too small; see [`Upper::of`].
    error: f64,
    df: f64,
}

impl Upper {
    /// From observations that are never below zero: distances from the base.
    ///
    /// The usual variance about the mean would shrink when a good prompt becomes worse, so that
    /// spoiling it could lower the bound. The spread is therefore taken about zero, which is no
    /// less: Σx²/(n−1). The bound then rises with every observation.
    #[allow(clippy::cast_precision_loss)]
    fn of(observations: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = observations.collect();
        // One order of summation, whatever the order of the seats.
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let squares: f64 = values.iter().map(|v| v * v).sum();
        let mean = values.iter().sum::<f64>() / n;
        let error = libm::sqrt(squares / (n - 1.0) / n);
        (values.len() > 1).then_some(Self { mean, error, df: n - 1.0 })
    }

    /// What the true mean exceeds with probability `alpha` at most.
    fn bound(&self, alpha: f64) -> f64 {
        // Without any spread there is nothing for the quantile to widen, however large it is.
        if self.error > 0.0 {
            self.mean + student_t_quantile(alpha, self.df) * self.error
        } else {
            self.mean
        }
    }
}

/// Perplexity of the child over its scored tokens, exp(Σ nll / Σ tokens), of the seat in the middle:
/// a minority moves what is published no further than to another seat's figure.
#[must_use]
pub fn perplexity_child(evidence: &[Evidence<'_>]) -> Option<f64> {
    median(evidence.iter().filter_map(|seat| perplexity(seat, |pair| pair.child.nll_micronats)))
}

/// Perplexity of the parent over the same tokens, of the seat in the middle.
#[must_use]
pub fn perplexity_parent(evidence: &[Evidence<'_>]) -> Option<f64> {
    median(evidence.iter().filter_map(|seat| perplexity(seat, |pair| pair.parent.nll_micronats)))
}

/// Perplexity of the child over that of the base checkpoint on the same tokens, of the seat in the
/// middle.
#[must_use]
pub fn perplexity_to_base(evidence: &[Evidence<'_>]) -> Option<f64> {
    median(evidence.iter().filter_map(|seat| {
        let child = perplexity(seat, |pair| pair.child.nll_micronats)?;
        Some(child / perplexity(seat, |pair| pair.base_nll_micronats)?)
    }))
}

#[allow(clippy::cast_precision_loss)]
fn perplexity(seat: &Evidence<'_>, nll: impl Fn(&ResolvedPair) -> u64) -> Option<f64> {
    let total = seat.pairs().fold(0_u64, |sum, pair| sum.saturating_add(nll(&pair)));
    let tokens = seat.child().scored_tokens;
    (tokens > 0).then(|| libm::exp(total as f64 / PPM / tokens as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, Committee};

    /// Three seats whose child has this KL a token, this share of agreements and this much more
    /// NLL a token than the base.
    fn committee(kl: f64, agreement: f64, nll: f64) -> Committee {
        let mut committee = Committee::honest(1.2);
        let mut index = 0_u32;
        committee.rescore(|score, base_nll| {
            // Prompts differ: between half and one and a half times the mean.
            let scatter = 0.5 + f64::from(index % 8) / 7.0;
            index += 1;
            score.kl_micronats = (kl * 32.0 * 1e6 * scatter) as u64;
            score.agreements = (agreement * 32.0).round() as u32;
            score.nll_micronats = (base_nll as f64 + nll * 32.0 * 1e6 * scatter) as u64;
        });
        committee
    }

    fn passes(committee: &Committee) -> bool {
        quality(&fixtures::genesis(), &committee.evidence()).pass
    }

    #[test]
    fn a_lossless_child_passes_and_its_figures_are_exact() {
        let committee = Committee::honest(1.2);
        assert!(passes(&committee));
        let found = quality_figures(&fixtures::genesis(), &committee.evidence()).unwrap();
        assert_eq!((found.kl, found.kl_high), (0.0, 0.0));
        assert_eq!((found.perplexity_ratio, found.perplexity_ratio_high), (1.0, 1.0));
        assert_eq!(found.agreement, 1.0);
    }

    #[test]
    fn inside_a_bound_is_not_enough_near_it() {
        // The bounds are 0.05 nat, 90 % and a ratio of 1.05, that is 0.0488 nat.
        assert!(passes(&committee(0.025, 1.0, 0.0)));
        assert!(!passes(&committee(0.045, 1.0, 0.0)));
        assert!(passes(&committee(0.0, 0.97, 0.0)));
        assert!(!passes(&committee(0.0, 0.91, 0.0)));
        assert!(passes(&committee(0.0, 1.0, 0.02)));
        assert!(!passes(&committee(0.0, 1.0, 0.045)));
    }

    #[test]
    fn one_seat_that_overstates_the_base_carries_nothing() {
        let mut worse = committee(0.0, 1.0, 0.1);
        assert!(!passes(&worse));
        let published = perplexity_to_base(&worse.evidence()).unwrap();
        for pair in &mut worse.measurements[0].pairs {
            pair.base_nll_micronats = crate::measurement::MICRONATS_MAX;
            pair.x_score.agreements = u32::MAX;
            pair.y_score.agreements = u32::MAX;
        }
        assert!(!passes(&worse));
        assert!((perplexity_to_base(&worse.evidence()).unwrap() - published).abs() < 0.01);
    }

    #[test]
    fn better_than_the_base_passes() {
        assert!(passes(&committee(0.001, 1.0, -0.3)));
    }

    #[test]
    fn one_logit_that_is_not_finite_fails() {
        let mut committee = Committee::honest(1.2);
        committee.spoil(0, |arm| arm.nonfinite_logits = 1);
        assert!(!passes(&committee));
    }

    #[test]
    fn the_bound_of_a_sample_by_hand() {
        // Mean 0.2, Σx² = 0.14, n = 3: error = √(0.14/2/3) = 0.152753; t(0.001, 2) = 22.3271.
        let upper = Upper::of([0.1, 0.2, 0.3].into_iter()).unwrap();
        assert!((upper.bound(0.001) - (0.2 + 22.3271 * 0.152_753)).abs() < 1e-3);
        assert!(Upper::of([0.1].into_iter()).is_none());
    }

    #[test]
    fn the_bound_covers_the_true_mean() {
        // Exponential divergences of mean 1 by inverting their distribution at an even grid that is
        // dealt out to samples of 24: the bound must lie below 1 in at most α = 1 % of them.
        let samples = 4000_u64;
        let mut missed = 0;
        for sample in 0..samples {
            let mut draw = crate::draw::Draw::new("quality bound test", &[&sample.to_le_bytes()]);
            let values = (0..24).map(|_| {
                let uniform = (draw.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                -libm::log(1.0 - uniform)
            });
            missed += u64::from(Upper::of(values).unwrap().bound(0.01) < 1.0);
        }
        assert!(missed * 100 <= samples, "{missed} of {samples}");
    }
}
