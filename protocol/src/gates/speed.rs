//! The speed gate: a gain that noise does not explain.

use super::{Evidence, Gate, GateResult, PPM, result};
use crate::genesis::{Genesis, SignificanceRules};
use crate::statistics::{BetweenSeats, Pooled, pool, signed_rank_p};

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
    let mut seats: Vec<Vec<f64>> = evidence.iter().map(Evidence::log_ratios).collect();
    // One order of summation, whatever the order of the seats.
    seats.sort_by(|a, b| a.iter().map(|v| v.to_bits()).cmp(b.iter().map(|v| v.to_bits())));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, Committee};

    fn passes(committee: &Committee) -> bool {
        let genesis = fixtures::genesis();
        let gain = gain(&genesis, &committee.evidence());
        speed(&genesis.significance, gain.as_ref()).pass
    }

    #[test]
    fn a_gain_passes_and_a_tie_does_not() {
        assert!(passes(&Committee::honest(1.3)));
        for ratio in [1.01, 1.0, 0.7] {
            assert!(!passes(&Committee::honest(ratio)), "{ratio}");
        }
    }

    #[test]
    fn one_lucky_pair_is_no_gain() {
        let mut committee = Committee::honest(1.0);
        let child = committee.plans[0].child;
        let pair = &mut committee.measurements[0].pairs[0];
        match child {
            crate::plan::Arm::X => pair.x_ns /= 50,
            crate::plan::Arm::Y => pair.y_ns /= 50,
        }
        assert!(!passes(&committee));
    }

    #[test]
    fn nothing_measured_is_no_gain() {
        assert!(!speed(&fixtures::genesis().significance, None).pass);
        assert_eq!(gain(&fixtures::genesis(), &[]), None);
    }
}
