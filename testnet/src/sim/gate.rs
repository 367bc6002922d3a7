//! `assay-testnet sim gate`: what the speed gate does over thousands of committees whose true gain is
//! known.
//!
//! Every claim is measured by a committee, and every claim that it accepts by a second, independent
//! one, as a claim for the frontier is. The rows say how often each accepts and how far the accepted
//! ratios are from the truth: the first committee chose the claim by its own figure, which flatters
//! it (the winner's curse); the second's did not.

use super::noise::{Draws, Shape};
use super::{Check, Report};
use assay_node::cli::output::table;
use assay_protocol::gates::{PPM, measured_gain, speed};
use assay_protocol::genesis::SignificanceRules;
use assay_protocol::statistics::{BetweenSeats, Noise, Test, binomial_at_least, pairs_needed};
use serde::Serialize;

/// Power that a true gain of [`GAIN`] must be found with.
const POWER: f64 = 0.9;
/// The gain that must not be missed.
const GAIN: f64 = 0.03;
const GAIN_PPM: u64 = 30_000;
/// Chance of calling a sound gate unsound, for the row that lies exactly on the threshold.
const FALSE_ALARM: f64 = 0.001;
/// Attempts of one author that looks for luck.
const TRIES: u32 = 100;

/// The network whose gate is simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Claims a row.
    pub claims: u32,
    /// Seats of a first committee.
    pub seats: u32,
    /// Seats of the second committee, which confirms what may be a record.
    pub frontier_seats: u32,
    /// The gate's numbers.
    pub significance: SignificanceRules,
}

/// One true gain under one kind of noise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// How pairs scatter.
    pub shape: Shape,
    /// Standard deviation of a pair's log ratio within a seat.
    pub sigma: f64,
    /// True standard deviation between seats.
    pub tau: f64,
    /// Pairs a seat.
    pub pairs: u32,
    /// The true gain.
    pub gain: f64,
    /// Claims measured.
    pub claims: u32,
    /// Accepted by the first committee.
    pub accepted: u32,
    /// Accepted by an independent second committee as well.
    pub confirmed: u32,
    /// Mean of the first committee's ratios over the truth, less one, among the accepted.
    pub first_bias: Option<f64>,
    /// The same of the second committee's ratios, for the same claims.
    pub second_bias: Option<f64>,
}

impl Config {
    /// What the genesis assumes about how far seats differ.
    fn known(&self) -> BetweenSeats {
        let rules = &self.significance;
        BetweenSeats { tau: share(rules.tau_ppm), df: f64::from(rules.tau_df) }
    }
}

/// The network of DESIGN §3: seven seats, then fifteen, α = 0.001, η = 1 %; seats half a per cent
/// apart.
#[must_use]
pub fn config(claims: u32) -> Config {
    let significance = SignificanceRules {
        alpha_ppm: 1_000,
        eta_ppm: 10_000,
        gain_ppm: GAIN_PPM,
        tau_ppm: 5_000,
        tau_df: 20,
    };
    Config { claims, seats: 7, frontier_seats: 15, significance }
}

/// Simulates every row; `progress` hears of each before it begins.
#[must_use]
pub fn run(config: Config, seed: u64, mut progress: impl FnMut(&str)) -> Report<Config, Row> {
    let eta = share(config.significance.eta_ppm);
    let tau = share(config.significance.tau_ppm);
    let mut rows = Vec::new();
    for shape in [Shape::Normal, Shape::Heavy] {
        for (sigma, true_tau) in [(0.01, tau), (0.03, tau), (0.01, 2.0 * tau)] {
            let pairs = pairs(&config, sigma);
            for gain in [0.0, eta, 0.02, GAIN, 0.05] {
                progress(&format!(
                    "{shape:?} noise, sigma {sigma}, tau {true_tau}, gain {gain}: {} claims",
                    config.claims
                ));
                let stream = seed.wrapping_add(rows.len() as u64);
                let noise = Noise { sigma, tau: true_tau, tau_df: 0.0 };
                rows.push(row(&config, stream, shape, noise, pairs, gain));
            }
        }
    }
    let checks = rows.iter().filter_map(|row| check(&config, row)).collect();
    Report::new(config, seed, rows, checks)
}

/// Pairs that the class needs, planned with the spread between seats that the genesis assumes.
fn pairs(config: &Config, sigma: f64) -> u32 {
    let rules = &config.significance;
    let noise = Noise { sigma, tau: share(rules.tau_ppm), tau_df: f64::from(rules.tau_df) };
    let (alpha, eta) = (share(rules.alpha_ppm), share(rules.eta_ppm));
    let test = Test { alpha, eta, gain: GAIN, power: POWER };
    // What no number of pairs can find is measured with as many as a genesis may ask for.
    pairs_needed(config.seats, 64, noise, test).unwrap_or(64)
}

#[allow(clippy::cast_precision_loss)]
fn share(ppm: u64) -> f64 {
    ppm as f64 / PPM
}

fn row(config: &Config, seed: u64, shape: Shape, noise: Noise, pairs: u32, gain: f64) -> Row {
    let mut draws = Draws::seeded(seed);
    let (mut accepted, mut confirmed) = (0, 0);
    let (mut first_sum, mut second_sum) = (0.0, 0.0);
    let mut measure = |seats: u32| {
        let seats = committee(&mut draws, seats, shape, noise, pairs, gain);
        let gained = measured_gain(&config.significance, config.known(), &seats);
        let ratio = gained.map_or(0.0, |gained| libm::exp(gained.pooled.mean));
        (speed(&config.significance, gained.as_ref()).pass, ratio / (1.0 + gain) - 1.0)
    };
    for _ in 0..config.claims {
        let (pass, bias) = measure(config.seats);
        if !pass {
            continue;
        }
        let (again, second_bias) = measure(config.frontier_seats);
        accepted += 1;
        confirmed += u32::from(again);
        first_sum += bias;
        second_sum += second_bias;
    }
    let mean = |sum: f64| (accepted > 0).then(|| sum / f64::from(accepted));
    Row {
        shape,
        sigma: noise.sigma,
        tau: noise.tau,
        pairs,
        gain,
        claims: config.claims,
        accepted,
        confirmed,
        first_bias: mean(first_sum),
        second_bias: mean(second_sum),
    }
}

/// One committee's log ratios: every seat is off by its own normal amount.
fn committee(
    draws: &mut Draws,
    seats: u32,
    shape: Shape,
    noise: Noise,
    pairs: u32,
    gain: f64,
) -> Vec<Vec<f64>> {
    (0..seats)
        .map(|_| {
            let seat = libm::log1p(gain) + noise.tau * draws.normal();
            (0..pairs).map(|_| seat + noise.sigma * draws.variate(shape)).collect()
        })
        .collect()
}

/// What a row must show, where the gate promises something about it: it promises nothing about gains
/// between η and the one it is planned for, nor about power over seats further apart than assumed.
fn check(config: &Config, row: &Row) -> Option<Check> {
    let rules = &config.significance;
    let (alpha, eta) = (share(rules.alpha_ppm), share(rules.eta_ppm));
    let (claims, accepted) = (f64::from(row.claims), f64::from(row.accepted));
    let as_assumed = row.tau <= share(rules.tau_ppm);
    let (name, ok) = if row.gain == 0.0 {
        ("null claims are accepted at most at alpha", accepted <= alpha * claims)
    } else if row.gain == eta && as_assumed {
        let chance = binomial_at_least(row.claims, row.accepted, alpha);
        (
            "a gain of exactly eta is accepted no more often than alpha explains",
            chance >= FALSE_ALARM,
        )
    } else if row.gain >= GAIN && as_assumed {
        ("a true gain is found with the power planned", accepted >= POWER * claims)
    } else {
        return None;
    };
    let Row { shape, sigma, tau, gain, .. } = row;
    let detail = format!(
        "{} of {} accepted, {} by both committees ({shape:?}, sigma {sigma}, tau {tau}, gain {gain})",
        row.accepted, row.claims, row.confirmed
    );
    Some(Check { name: name.to_owned(), ok, detail })
}

/// The report for people.
#[must_use]
pub fn show(report: &Report<Config, Row>) -> String {
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    let bias =
        |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:+.2} %", 100.0 * v));
    let rows = report.rows.iter().map(|row| {
        let claims = f64::from(row.claims);
        let lucky = 1.0 - libm::pow(1.0 - f64::from(row.accepted) / claims, f64::from(TRIES));
        let both = 1.0 - libm::pow(1.0 - f64::from(row.confirmed) / claims, f64::from(TRIES));
        vec![
            format!("{:?}", row.shape).to_lowercase(),
            percent(row.sigma),
            percent(row.tau),
            row.pairs.to_string(),
            percent(row.gain),
            format!("{:.4}", f64::from(row.accepted) / claims),
            format!("{:.4}", f64::from(row.confirmed) / claims),
            percent(lucky),
            percent(both),
            bias(row.first_bias),
            bias(row.second_bias),
        ]
    });
    let header = [
        "noise",
        "sigma",
        "tau",
        "pairs",
        "gain",
        "accepted",
        "by both",
        "100 tries",
        "100 by both",
        "1st bias",
        "2nd bias",
    ];
    let Config { claims, seats, frontier_seats, significance: rules } = &report.config;
    let heading = format!(
        "{claims} claims a row, {seats} seats, then {frontier_seats}, alpha {}, eta {}, tau assumed {}, seed {}",
        share(rules.alpha_ppm),
        share(rules.eta_ppm),
        share(rules.tau_ppm),
        report.seed
    );
    format!("{heading}\n\n{}\n\n{}", table(&header, rows), super::verdicts(&report.checks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise { sigma: 0.01, tau: 0.005, tau_df: 0.0 };

    #[test]
    fn the_gate_keeps_its_promises_over_ten_thousand_null_claims() {
        for (seed, shape) in [(1, Shape::Normal), (2, Shape::Heavy)] {
            let config = config(10_000);
            let pairs = pairs(&config, NOISE.sigma);
            for gain in [0.0, 0.01] {
                let row = row(&config, seed, shape, NOISE, pairs, gain);
                let check = check(&config, &row).unwrap();
                assert!(check.ok, "{check:?}");
            }
        }
    }

    #[test]
    fn a_true_gain_of_three_per_cent_is_found_and_not_flattered_twice() {
        for (seed, shape) in [(5, Shape::Normal), (6, Shape::Heavy)] {
            let config = config(2_000);
            let row = row(&config, seed, shape, NOISE, pairs(&config, NOISE.sigma), GAIN);
            assert!(check(&config, &row).unwrap().ok, "{row:?}");
            assert!(row.second_bias.unwrap().abs() < 0.001, "{row:?}");
        }
        // At two per cent only the lucky pass, and the first figure says so.
        let config = config(2_000);
        let row = row(&config, 7, Shape::Normal, NOISE, 2, 0.02);
        assert!(row.first_bias.unwrap() > 2.0 * row.second_bias.unwrap().abs(), "{row:?}");
    }

    #[test]
    fn a_lucky_re_roller_gains_nothing() {
        // A hundred authors try the same stack a hundred times each, every time as a recipe of its own.
        let config = config(TRIES * TRIES);
        let row = row(&config, 8, Shape::Heavy, NOISE, pairs(&config, NOISE.sigma), 0.0);
        assert_eq!(row.accepted, 0);
    }

    #[test]
    fn a_gate_that_breaks_its_promise_is_noticed() {
        let config = config(1_000);
        let loose = SignificanceRules { alpha_ppm: 100_000, ..config.significance.clone() };
        let lax = Config { significance: loose, ..config.clone() };
        let row = row(&lax, 3, Shape::Normal, NOISE, 2, 0.01);
        assert!(!check(&config, &row).unwrap().ok, "{row:?}");
    }

    #[test]
    fn a_seed_gives_the_same_table() {
        let report = run(config(20), 4, |_| {});
        assert_eq!(report, run(config(20), 4, |_| {}));
        assert!(show(&report).contains("100 BY BOTH"));
    }
}
