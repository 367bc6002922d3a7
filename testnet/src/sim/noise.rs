//! Random numbers of a simulation: the same from the same seed, on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;

/// How single pairs scatter around their seat's mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Normally.
    Normal,
    /// As Student's t with three degrees of freedom: outliers now and then.
    Heavy,
}

/// A stream of random numbers.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of `seed`.
    #[must_use]
    pub(super) fn seeded(seed: u64) -> Self {
        Draws(ChaCha8Rng::seed_from_u64(seed))
    }

    #[allow(clippy::cast_precision_loss)]
    fn uniform(&mut self) -> f64 {
        // The middle of one of 2^53 cells, so neither 0 nor 1.
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box and Muller's normal variate with variance one.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(2.0 * core::f64::consts::PI * self.uniform())
    }

    /// A variate of `shape` with variance one.
    pub(super) fn variate(&mut self, shape: Shape) -> f64 {
        let normal = self.normal();
        match shape {
            Shape::Normal => normal,
            // Student's t with n degrees of freedom has variance n/(n − 2), which is 3.
            Shape::Heavy => {
                let squares: f64 = (0..3).map(|_| self.normal()).map(|z| z * z).sum();
                normal / libm::sqrt(squares / 3.0) / libm::sqrt(3.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variates_have_mean_zero_and_variance_one() {
        let mut draws = Draws::seeded(9);
        let values: Vec<f64> = (0..100_000).map(|_| draws.variate(Shape::Normal)).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        // The variance of so heavy a tail settles slowly; its quartile, 0.7649/√3, does not.
        let mut heavy: Vec<f64> = (0..100_000).map(|_| draws.variate(Shape::Heavy)).collect();
        heavy.sort_unstable_by(f64::total_cmp);
        assert!((heavy[75_000] - 0.4416).abs() < 0.01, "{}", heavy[75_000]);
    }
}
