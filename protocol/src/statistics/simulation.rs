//! What the speed gate does over many simulated committees.

use crate::gates::{measured_gain, speed};
use crate::genesis::SignificanceRules;
use crate::statistics::{Noise, Test, pairs_needed};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const RULES: SignificanceRules =
    SignificanceRules { alpha_ppm: 1_000, eta_ppm: 10_000, tau_ppm: 5_000, tau_df: 20 };
/// Run noise of one pair as the event measured it between allocations, and seats half as far apart.
const NOISE: Noise = Noise { sigma: 0.01, tau: 0.005, tau_df: 20.0 };
const SEATS: u32 = 7;

struct Draws(ChaCha8Rng);

impl Draws {
    fn seeded(seed: u64) -> Self {
        Draws(ChaCha8Rng::seed_from_u64(seed))
    }

    fn uniform(&mut self) -> f64 {
        // The middle of one of 2^53 cells, so neither 0 nor 1.
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box and Muller's normal variate.
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(2.0 * core::f64::consts::PI * self.uniform())
    }

    /// Student's t with three degrees of freedom, scaled to variance one: outliers now and then.
    fn heavy(&mut self) -> f64 {
        let normal = self.normal();
        let squares: f64 = (0..3).map(|_| self.normal()).map(|z| z * z).sum();
        normal / libm::sqrt(squares / 3.0) / libm::sqrt(3.0)
    }

    fn committee(
        &mut self,
        gain: f64,
        pairs: u32,
        pair_noise: fn(&mut Self) -> f64,
    ) -> Vec<Vec<f64>> {
        (0..SEATS)
            .map(|_| {
                let seat = libm::log1p(gain) + NOISE.tau * self.normal();
                (0..pairs).map(|_| seat + NOISE.sigma * pair_noise(self)).collect()
            })
            .collect()
    }
}

fn pairs() -> u32 {
    let test = Test { alpha: 0.001, eta: 0.01, gain: 0.03, power: 0.9 };
    pairs_needed(SEATS, 64, NOISE, test).expect("the class can be measured")
}

/// Of `claims` committees over a true gain of `gain`, how many accept.
fn accepted(seed: u64, claims: u32, gain: f64, pair_noise: fn(&mut Draws) -> f64) -> u32 {
    let mut draws = Draws::seeded(seed);
    let mut count = 0;
    for _ in 0..claims {
        let seats = draws.committee(gain, pairs(), pair_noise);
        count += u32::from(speed(&RULES, measured_gain(&RULES, &seats).as_ref()).pass);
    }
    count
}

#[test]
fn null_claims_are_accepted_less_often_than_alpha() {
    // α of 10,000 is 10.
    assert!(accepted(1, 10_000, 0.0, Draws::normal) <= 10);
    assert!(accepted(2, 10_000, 0.0, Draws::heavy) <= 10);
}

#[test]
fn a_gain_of_exactly_the_threshold_is_accepted_no_more_often_than_alpha() {
    // The hardest null there is. Above 22 lies a thousandth of the binomial with mean 10.
    let normal = accepted(3, 10_000, 0.01, Draws::normal);
    assert!(normal <= 22, "{normal}");
    let heavy = accepted(4, 10_000, 0.01, Draws::heavy);
    assert!(heavy <= 22, "{heavy}");
}

#[test]
fn a_true_gain_of_three_per_cent_is_found() {
    let found = accepted(5, 2_000, 0.03, Draws::normal);
    assert!(found >= 1_800, "{found} of 2000 at {} pairs", pairs());
    let heavy = accepted(6, 2_000, 0.03, Draws::heavy);
    assert!(heavy >= 1_800, "{heavy} of 2000 at {} pairs", pairs());
}

#[test]
fn a_lucky_re_roller_gains_nothing() {
    // A hundred authors try the same stack a hundred times each, every time as a recipe of its own.
    assert_eq!(accepted(7, 100 * 100, 0.0, Draws::heavy), 0);
}
