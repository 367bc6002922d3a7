//! What counts as a gain on each hardware class, from what the ledger measured.

use assay_protocol::calibration::Effort;
use assay_protocol::gates::PPM;
use assay_protocol::state::State;
use assay_protocol::statistics::{Noise, Test, power, student_t_quantile};
use serde::{Deserialize, Serialize};

/// Chance of finding a gain that a norm speaks of.
const POWER: f64 = 0.9;
/// Largest gain that a norm speaks of: three times as fast.
const GAIN_MAX: f64 = 2.0;

/// A hardware class with the noise, the speed and the significance that the ledger knows it for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassNorms {
    /// The class.
    pub class: String,
    /// Rounds that the figures rest on.
    pub rounds: u64,
    /// Standard deviation of a pair's log ratio within a seat.
    pub sigma: Option<f64>,
    /// Standard deviation between seats.
    pub tau: f64,
    /// Degrees of freedom that τ is known with.
    pub tau_df: f64,
    /// Seats of a claim's first committee.
    pub seats: u32,
    /// Pairs that each of them measures.
    pub pairs: u32,
    /// Smallest pooled ratio of such a committee whose lower bound is above a tie: what is measured
    /// below it proves nothing. `None` before a round has shown how pairs scatter.
    pub counts_from: Option<f64>,
    /// Smallest true ratio that such a committee finds in nine of ten claims.
    pub found_from: Option<f64>,
    /// Tokens a second that the class decodes with the base recipe.
    pub base_tps: Option<f64>,
    /// Memory bandwidth in MB/s.
    pub bandwidth_mb_s: Option<f64>,
}

impl ClassNorms {
    /// Of every class that a round measured, by name.
    #[must_use]
    pub fn all(state: &State) -> Vec<Self> {
        state.classes().measured().map(|(class, _)| Self::of(state, class)).collect()
    }

    /// Of one class, measured or not.
    #[must_use]
    pub fn of(state: &State, class: &str) -> Self {
        let rules = &state.parameters().significance;
        let known = state.classes().calibration(class);
        let between = known.between(rules);
        let Effort { size, pairs } = state.planned_effort(class);
        let share = |ppm: u64| ppm as f64 / PPM;
        let test = Test {
            alpha: share(rules.alpha_ppm),
            eta: share(rules.eta_ppm),
            gain: 0.0,
            power: POWER,
        };
        let noise =
            known.sigma().map(|sigma| Noise { sigma, tau: between.tau, tau_df: between.df });
        Self {
            class: class.to_owned(),
            rounds: known.rounds(),
            sigma: known.sigma(),
            tau: between.tau,
            tau_df: between.df,
            seats: size.seats,
            pairs,
            counts_from: noise.map(|noise| counts_from(size.seats, pairs, noise, test)),
            found_from: noise.and_then(|noise| found_from(size.seats, pairs, noise, test)),
            base_tps: known.base_tps(),
            bandwidth_mb_s: known.figures().0,
        }
    }
}

/// The pooled ratio whose one-sided lower bound at α is exactly a tie, by the pooled mean's standard
/// error √((τ² + σ²/n)/k) and Student's t with df = τ's and k − 1, as [`power`] has them.
fn counts_from(seats: u32, pairs: u32, noise: Noise, test: Test) -> f64 {
    let (k, n) = (f64::from(seats), f64::from(pairs.max(1)));
    let error = ((noise.tau.powi(2) + noise.sigma.powi(2) / n) / k).sqrt();
    (test.eta.ln_1p() + student_t_quantile(test.alpha, noise.tau_df + k - 1.0) * error).exp()
}

/// The smallest true ratio that is found with the test's power, to a tenth of a per mille; `None`
/// beyond what a norm speaks of.
fn found_from(seats: u32, pairs: u32, noise: Noise, test: Test) -> Option<f64> {
    let finds = |gain: f64| power(seats, pairs, noise, Test { gain, ..test }) >= test.power;
    if !finds(GAIN_MAX) {
        return None;
    }
    let (mut low, mut high) = (test.eta, GAIN_MAX);
    while high - low > 1e-4 {
        let middle = f64::midpoint(low, high);
        if finds(middle) { high = middle } else { low = middle }
    }
    Some(1.0 + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_those_of_a_committee_worked_out_by_hand() {
        // As in the protocol's own example: seven seats of six pairs find 3 % in nine of ten claims.
        let noise = Noise { sigma: 0.02, tau: 0.005, tau_df: 20.0 };
        let test = Test { alpha: 0.001, eta: 0.01, gain: 0.0, power: POWER };
        let found = found_from(7, 6, noise, test).unwrap();
        assert!((1.025..=1.03).contains(&found), "{found}");
        // t(0.001; 26) = 3.435 and the standard error √((0.005² + 0.02²/6)/7) = 0.003619.
        let counts = counts_from(7, 6, noise, test);
        assert!((counts - (0.00995 + 3.435 * 0.003_619_f64).exp()).abs() < 1e-4, "{counts}");
        assert!(counts < found, "what is found nine times of ten counts");
        let wild = Noise { sigma: 30.0, ..noise };
        assert_eq!(found_from(3, 8, wild, test), None);
    }
}
