//! How much to measure: pairs and seats from the noise of a class.

use super::{student_t_cdf, student_t_quantile};

/// The noise of a hardware class, in log ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation of one pair's log ratio within a seat.
    pub sigma: f64,
    /// Standard deviation between seats.
    pub tau: f64,
    /// Degrees of freedom that τ is known with.
    pub tau_df: f64,
}

/// When a gain counts and which gain must not be missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// One-sided error probability.
    pub alpha: f64,
    /// Gain that the lower bound must exceed: 0.01 for one per cent.
    pub eta: f64,
    /// True gain that is to be found.
    pub gain: f64,
    /// Probability of finding it.
    pub power: f64,
}

/// The probability that `seats` seats of `pairs` pairs find a true gain of `test.gain`.
///
/// The pooled mean of k seats has standard error √((τ² + σ²/n)/k), and the bound is Student's with
/// df = τ's and k − 1. A shifted central t stands in for the noncentral one, which is a little
/// pessimistic at these degrees of freedom.
#[must_use]
pub fn power(seats: u32, pairs: u32, noise: Noise, test: Test) -> f64 {
    power_beyond(reach(seats, noise, test), seats, pairs, noise, test)
}

/// Standard errors between the pooled mean of so many seats and its lower bound.
fn reach(seats: u32, noise: Noise, test: Test) -> f64 {
    student_t_quantile(test.alpha, degrees_of_freedom(seats, noise))
}

fn degrees_of_freedom(seats: u32, noise: Noise) -> f64 {
    noise.tau_df + f64::from(seats) - 1.0
}

/// [`power`], with the [`reach`] that does not depend on the number of pairs.
fn power_beyond(reach: f64, seats: u32, pairs: u32, noise: Noise, test: Test) -> f64 {
    let df = degrees_of_freedom(seats, noise);
    let (seats, pairs) = (f64::from(seats), f64::from(pairs));
    let variance = (noise.tau * noise.tau + noise.sigma * noise.sigma / pairs) / seats;
    let distance = libm::log1p(test.gain) - libm::log1p(test.eta);
    let found = student_t_cdf(distance / libm::sqrt(variance) - reach, df);
    if found.is_finite() { found } else { 0.0 }
}

/// The fewest pairs a seat, an even number up to `pairs_max`, with which `seats` seats reach the
/// power asked for. `None` where no number does: the seats differ too much, and only more seats help.
#[must_use]
pub fn pairs_needed(seats: u32, pairs_max: u32, noise: Noise, test: Test) -> Option<u32> {
    let reach = reach(seats, noise, test);
    let enough = |pairs: &u32| power_beyond(reach, seats, *pairs, noise, test) >= test.power;
    (2..=pairs_max).step_by(2).find(enough)
}

/// The fewest seats up to `seats_max` that reach the power with `pairs` pairs each.
#[must_use]
pub fn seats_needed(pairs: u32, seats_max: u32, noise: Noise, test: Test) -> Option<u32> {
    (1..=seats_max).find(|&seats| power(seats, pairs, noise, test) >= test.power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEST: Test = Test { alpha: 0.001, eta: 0.01, gain: 0.03, power: 0.9 };
    const NOISE: Noise = Noise { sigma: 0.02, tau: 0.005, tau_df: 20.0 };

    #[test]
    fn a_worked_example_by_hand() {
        // ln 1.03 − ln 1.01 = 0.019608; t(0.001; 26) = 3.435, t(0.1; 26) = 1.315, so the standard
        // error may be 0.019608/4.750 = 0.004128 and σ²/n at most 7·0.004128² − 0.005² = 9.43e-5,
        // which is n ≥ 4.24.
        assert_eq!(pairs_needed(7, 64, NOISE, TEST), Some(6));
        assert!(power(7, 4, NOISE, TEST) < 0.9 && power(7, 6, NOISE, TEST) >= 0.9);
    }

    #[test]
    fn seats_that_differ_too_much_need_more_seats() {
        let wild = Noise { tau: 0.05, ..NOISE };
        assert_eq!(pairs_needed(7, 64, wild, TEST), None);
        let seats = seats_needed(6, 400, wild, TEST).unwrap();
        assert!(seats > 7 && power(seats, 6, wild, TEST) >= 0.9);
        assert_eq!(seats_needed(6, 7, wild, TEST), None);
    }

    #[test]
    fn a_gain_below_the_threshold_is_never_planned_for() {
        let small = Test { gain: 0.005, ..TEST };
        assert_eq!(pairs_needed(21, 64, NOISE, small), None);
    }

    proptest! {
        #[test]
        fn more_pairs_seats_and_gain_never_hurt(
            sigma in 0.001_f64..0.2, tau in 0.0_f64..0.05, seats in 2_u32..20, pairs in 2_u32..60,
        ) {
            let noise = Noise { sigma, tau, tau_df: 10.0 };
            let found = power(seats, pairs, noise, TEST);
            prop_assert!((0.0..=1.0).contains(&found));
            prop_assert!(power(seats, pairs + 2, noise, TEST) >= found - 1e-12);
            prop_assert!(power(seats + 1, pairs, noise, TEST) >= found - 1e-12);
            let larger = Test { gain: 0.05, ..TEST };
            prop_assert!(power(seats, pairs, noise, larger) >= found - 1e-12);
        }
    }
}
