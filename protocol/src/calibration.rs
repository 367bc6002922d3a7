//! What the ledger has learned about a hardware class: how noisy it is and what its machines deliver.
//!
//! Every settled round adds its seats' own spread, so that noise is measured and not assumed: the next
//! rounds of the class draw as many pairs as that noise asks for, and their verdicts weigh seats by it.
//! The sums are integers, because they are part of the state that every peer must agree on.

use crate::gates::{Evidence, PPM};
use crate::genesis::{Quorum, SignificanceRules};
use crate::measurement::Environment;
use crate::statistics::{BetweenSeats, Noise, Pooled, Test, median, pairs_needed, seats_needed};
use serde::{Deserialize, Serialize};

/// Units of a squared log ratio in one.
const SQUARES: f64 = 1e12;
/// Units of a log in one.
const LOGS: f64 = 1e6;
/// A round counts at most this many times the variance known before it, so that one wild seat cannot
/// make a class unmeasurable.
const GROWTH_MAX: f64 = 4.0;
/// Most degrees of freedom that a τ is believed with.
const DF_MAX: f64 = 200.0;
/// Degrees of freedom, and attestations, that are remembered: beyond them what is older fades, because
/// drivers and machines change.
const REMEMBERED: u64 = 1_000;
/// Least variance of a pair's log ratio that a class is taken to have: clocks are no better.
const VARIANCE_LEAST: f64 = 1e-8;
/// Attestations of a class before its figures are held against a seat.
const SEATS_KNOWN_MIN: u64 = 5;
/// A seat's figures may be this many times the class's, or as small a part of them.
const FIGURE_FACTOR_MAX: f64 = 4.0;

/// A sum of squares with its degrees of freedom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Variance {
    squares: u64,
    df: u64,
}

impl Variance {
    #[allow(clippy::cast_precision_loss)]
    fn estimate(self) -> Option<f64> {
        (self.df > 0).then(|| self.squares as f64 / SQUARES / self.df as f64)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn add(&mut self, variance: f64, df: f64) {
        // Float to integer casts saturate and map NaN to zero; a round has at most some thousand pairs.
        self.squares = self.squares.saturating_add((variance * df * SQUARES) as u64);
        self.df = self.df.saturating_add(df as u64);
        self.squares = faded(self.squares, self.df);
        self.df = self.df.min(REMEMBERED);
    }
}

/// A sum over `count` as it is once no more than [`REMEMBERED`] count.
fn faded(sum: u64, count: u64) -> u64 {
    let kept = u128::from(sum) * u128::from(count.min(REMEMBERED)) / u128::from(count.max(1));
    u64::try_from(kept).unwrap_or(u64::MAX)
}

/// A geometric mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Typical {
    logs: u64,
    count: u64,
}

impl Typical {
    #[allow(clippy::cast_precision_loss)]
    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| libm::exp(self.logs as f64 / LOGS / self.count as f64))
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn add(&mut self, value: f64) {
        // A figure below one says that the probe did not run; its log would be no count.
        if value >= 1.0 {
            self.logs = self.logs.saturating_add((libm::log(value) * LOGS) as u64);
            self.count = self.count.saturating_add(1);
            self.logs = faded(self.logs, self.count);
            self.count = self.count.min(REMEMBERED);
        }
    }

    /// Adds what the seats of one round say, none counting as further from the one in the middle than a
    /// machine of the class may be: otherwise a single absurd figure would decide which machines are of
    /// the class for ever.
    #[allow(clippy::cast_precision_loss)]
    fn add_round(&mut self, values: impl Iterator<Item = u64>) {
        let values: Vec<f64> =
            values.filter(|value| *value > 0).map(|value| value as f64).collect();
        let Some(middle) = median(values.iter().copied()) else { return };
        let (least, most) = (middle / FIGURE_FACTOR_MAX, middle * FIGURE_FACTOR_MAX);
        values.into_iter().for_each(|value| self.add(value.clamp(least, most)));
    }

    /// The value, once it rests on enough to be held against a seat.
    fn known(self) -> Option<f64> {
        self.value().filter(|_| self.count >= SEATS_KNOWN_MIN)
    }

    #[allow(clippy::cast_precision_loss)]
    fn is_far_from(self, value: u64) -> bool {
        let Some(typical) = self.known() else { return false };
        let factor = value as f64 / typical;
        !(1.0 / FIGURE_FACTOR_MAX..=FIGURE_FACTOR_MAX).contains(&factor)
    }
}

/// Noise and figures of one hardware class, from the rounds that settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    rounds: u64,
    within: Variance,
    between: Variance,
    bandwidth_mb_s: Typical,
    compute_mflop_s: Typical,
    base_ps_per_token: Typical,
}

/// How much a round measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Seats and quorum.
    pub size: Quorum,
    /// Pairs that every seat measures.
    pub pairs: u32,
}

/// A probe that does not fit the class that a seat says it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misfit {
    /// Which figure, with its unit.
    pub figure: &'static str,
    /// What the seat's probe found.
    pub found: u64,
    /// The geometric mean over the class's earlier seats.
    pub typical: f64,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { figure, found, typical } = self;
        write!(f, "{figure} {found}, the class has {typical:.0}")
    }
}

impl Calibration {
    /// Rounds that it rests on.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Standard deviation of a pair's log ratio within a seat; `None` before the first round.
    #[must_use]
    pub fn sigma(&self) -> Option<f64> {
        self.within.estimate().map(libm::sqrt)
    }

    /// What is known about how far seats of the class differ: the genesis's assumption and the rounds'
    /// own estimates, each weighed by its degrees of freedom (Smyth's moderated variance, as in
    /// [`crate::statistics::pool`]).
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn between(&self, rules: &SignificanceRules) -> BetweenSeats {
        let (assumed, assumed_df) = (rules.tau_ppm as f64 / PPM, f64::from(rules.tau_df));
        let df = assumed_df + self.between.df as f64;
        let squares = assumed * assumed * assumed_df + self.between.squares as f64 / SQUARES;
        let capped = if df > DF_MAX { DF_MAX } else { df };
        BetweenSeats { tau: libm::sqrt(squares / df), df: capped }
    }

    /// Seats and pairs with which a committee finds the gain that the genesis plans for in nine of ten
    /// claims. More pairs come before more seats, because a seat also loads and scores both recipes; the
    /// committee grows from the smallest up to `seats_max` only where its seats differ too much, or
    /// their pairs scatter too widely, for any number of pairs. Of a class that was never measured the
    /// smallest committee measures the most pairs.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn effort(
        &self,
        rules: &SignificanceRules,
        (smallest, seats_max): (Quorum, u32),
        (pairs_min, pairs_max): (u32, u32),
    ) -> Effort {
        let Some(sigma) = self.sigma() else { return Effort { size: smallest, pairs: pairs_max } };
        let BetweenSeats { tau, df } = self.between(rules);
        let noise = Noise { sigma, tau, tau_df: df };
        let share = |ppm: u64| ppm as f64 / PPM;
        let (alpha, eta) = (share(rules.alpha_ppm), share(rules.eta_ppm));
        let test = Test { alpha, eta, gain: share(rules.gain_ppm), power: 0.9 };
        match pairs_needed(smallest.seats, pairs_max, noise, test) {
            Some(pairs) => Effort { size: smallest, pairs: pairs.clamp(pairs_min, pairs_max) },
            None => {
                let seats = seats_needed(pairs_max, seats_max, noise, test).unwrap_or(seats_max);
                Effort { size: smallest.grown_to(seats), pairs: pairs_max }
            }
        }
    }

    /// Adds a settled round: its pooled ratio, and where its seats of this class measured.
    pub fn add<'a>(
        &mut self,
        rules: &SignificanceRules,
        pooled: &Pooled,
        environments: impl IntoIterator<Item = &'a Environment>,
    ) {
        let capped = |variance: f64, known: Option<f64>| match known {
            Some(known) if variance > GROWTH_MAX * known => GROWTH_MAX * known,
            _ => variance.max(VARIANCE_LEAST),
        };
        let tau = self.between(rules).tau;
        let within = capped(pooled.sigma * pooled.sigma, self.within.estimate());
        self.within.add(within, pooled.within_df);
        let between = capped(pooled.own_tau_squared, Some(tau * tau));
        self.between.add(between, pooled.own_tau_df);
        let environments: Vec<&Environment> = environments.into_iter().collect();
        self.bandwidth_mb_s.add_round(environments.iter().map(|seat| seat.bandwidth_mb_s));
        self.compute_mflop_s.add_round(environments.iter().map(|seat| seat.compute_mflop_s));
        self.rounds = self.rounds.saturating_add(1);
    }

    /// Adds how fast the machines of a round's seats decoded the base recipe, which was the parent's arm.
    pub fn add_base(&mut self, seats: &[Evidence<'_>]) {
        let ps_per_token = |seat: &Evidence<'_>| {
            let tokens = u128::from(seat.parent().decoded_tokens.max(1));
            let ps = seat.times_ns(false).map(u128::from).sum::<u128>() * 1_000 / tokens;
            u64::try_from(ps).unwrap_or(u64::MAX)
        };
        self.base_ps_per_token.add_round(seats.iter().map(ps_per_token));
    }

    /// Tokens a second that machines of the class decode with the base recipe, by their geometric mean;
    /// `None` before a claim on the base was measured.
    #[must_use]
    pub fn base_tps(&self) -> Option<f64> {
        self.base_ps_per_token.value().map(|ps| 1e12 / ps)
    }

    /// Memory bandwidth of the class in MB/s, and its arithmetic in MFLOP/s, by their geometric means.
    #[must_use]
    pub fn figures(&self) -> (Option<f64>, Option<f64>) {
        (self.bandwidth_mb_s.value(), self.compute_mflop_s.value())
    }

    /// Memory bandwidth of the class in MB/s, once enough of its seats attested it to be held against one.
    #[must_use]
    pub fn known_bandwidth_mb_s(&self) -> Option<f64> {
        self.bandwidth_mb_s.known()
    }

    /// Whether a seat's probes are those of this class, whatever its adapter calls itself.
    ///
    /// # Errors
    ///
    /// The first [`Misfit`].
    pub fn check(&self, environment: &Environment) -> Result<(), Misfit> {
        let figures = [
            ("bandwidth in MB/s", self.bandwidth_mb_s, environment.bandwidth_mb_s),
            ("arithmetic in MFLOP/s", self.compute_mflop_s, environment.compute_mflop_s),
        ];
        match figures.into_iter().find(|(_, typical, found)| typical.is_far_from(*found)) {
            Some((figure, typical, found)) => {
                Err(Misfit { figure, found, typical: typical.value().unwrap_or(0.0) })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::pool;
    use proptest::prelude::*;

    const RULES: SignificanceRules = SignificanceRules {
        alpha_ppm: 1_000,
        eta_ppm: 10_000,
        gain_ppm: 30_000,
        tau_ppm: 5_000,
        tau_df: 20,
    };

    const SMALLEST: Quorum = Quorum { seats: 7, quorum: 5 };

    /// A round whose pairs scatter by `sigma` and whose seats lie `tau` apart, exactly.
    fn round(seats: i32, sigma: f64, tau: f64) -> Pooled {
        let seats: Vec<Vec<f64>> = (0..seats)
            .map(|seat| {
                let mean = if seat % 2 == 0 { tau } else { -tau };
                (0..12).map(|pair| mean + if pair % 2 == 0 { sigma } else { -sigma }).collect()
            })
            .collect();
        pool(&seats, BetweenSeats { tau: 0.005, df: 20.0 }).unwrap()
    }

    fn environment(bandwidth_mb_s: u64, compute_mflop_s: u64) -> Environment {
        Environment { bandwidth_mb_s, compute_mflop_s, ..Environment::default() }
    }

    #[test]
    fn noise_is_what_the_rounds_show() {
        let mut class = Calibration::default();
        assert_eq!(class.sigma(), None);
        assert_eq!(class.between(&RULES).tau, 0.005);
        for _ in 0..400 {
            class.add(&RULES, &round(6, 0.02, 0.01), &[]);
        }
        // Twelve values ±0.02 have the variance 12·0.02²/11.
        assert!((class.sigma().unwrap() - 0.02 * (12.0_f64 / 11.0).sqrt()).abs() < 1e-6);
        // Six seats ±0.01 have 6·0.01²/5, less the noise of their means, σ²/12.
        let expected = (6.0e-4_f64 / 5.0 - 4.0e-4 / 11.0).sqrt();
        let BetweenSeats { tau, df } = class.between(&RULES);
        assert!((tau - expected).abs() < 1e-4, "{tau} {expected}");
        assert_eq!(df, 200.0);
    }

    #[test]
    fn one_absurd_figure_decides_nothing_about_a_class() {
        let mut class = Calibration::default();
        let honest = environment(20_000, 50_000);
        let absurd = environment(u64::MAX, 1);
        let seats: Vec<&Environment> =
            std::iter::repeat_n(&honest, 6).chain(std::iter::once(&absurd)).collect();
        class.add(&RULES, &round(7, 0.02, 0.005), seats);
        assert_eq!(class.check(&honest), Ok(()));
        assert!(class.check(&absurd).is_err());
    }

    #[test]
    fn what_is_old_fades() {
        let mut class = Calibration::default();
        let add = |class: &mut Calibration, sigma: f64, bandwidth_mb_s: u64, rounds: u32| {
            for _ in 0..rounds {
                let environment = environment(bandwidth_mb_s, 1);
                class.add(&RULES, &round(7, sigma, 0.0), [&environment; 7]);
            }
        };
        add(&mut class, 0.01, 10_000, 1_000);
        add(&mut class, 0.02, 5_000, 300);
        assert!((class.sigma().unwrap() - 0.0209).abs() < 1e-3, "{:?}", class.sigma());
        let bandwidth = class.figures().0.unwrap();
        assert!((5_000.0..6_000.0).contains(&bandwidth), "{bandwidth}");
        // A first round without any scatter does not fix the noise at nothing.
        let mut still = Calibration::default();
        add(&mut still, 0.0, 1, 1);
        add(&mut still, 0.02, 1, 40);
        assert!(still.sigma().unwrap() > 0.01, "{:?}", still.sigma());
    }

    #[test]
    fn noisy_classes_measure_more_pairs() {
        let pairs = |sigma: f64| {
            let mut class = Calibration::default();
            class.add(&RULES, &round(7, sigma, 0.0), &[]);
            class.effort(&RULES, (SMALLEST, 7), (4, 64)).pairs
        };
        let unknown = Calibration::default().effort(&RULES, (SMALLEST, 15), (4, 64));
        assert_eq!(unknown, Effort { size: SMALLEST, pairs: 64 });
        assert_eq!(pairs(0.001), 4);
        assert!(pairs(0.02) < pairs(0.04) && pairs(0.04) < pairs(0.08));
        assert_eq!(pairs(0.3), 64);
    }

    #[test]
    fn classes_whose_seats_differ_draw_more_of_them() {
        let effort = |tau: f64, seats_max: u32| {
            let mut class = Calibration::default();
            for _ in 0..20 {
                class.add(&RULES, &round(8, 0.01, tau), &[]);
            }
            class.effort(&RULES, (SMALLEST, seats_max), (4, 64))
        };
        assert_eq!(effort(0.0, 15).size, SMALLEST);
        let grown = effort(0.014, 30);
        assert_eq!(grown.pairs, 64);
        assert!(grown.size.seats > 7, "{grown:?}");
        // Seven seats need a quorum of five; the share stays, rounded up.
        assert_eq!(grown.size.quorum, (grown.size.seats * 5).div_ceil(7));
        assert!(effort(0.02, 30).size.seats > grown.size.seats);
        assert_eq!(effort(0.2, 9).size, Quorum { seats: 9, quorum: 7 });
        assert_eq!(effort(0.2, 7).size, SMALLEST);
    }

    #[test]
    fn one_wild_seat_does_not_make_a_class_unmeasurable() {
        let mut class = Calibration::default();
        for _ in 0..10 {
            class.add(&RULES, &round(7, 0.02, 0.005), &[]);
        }
        let before = (class.sigma().unwrap(), class.between(&RULES).tau);
        class.add(&RULES, &round(7, 20.0, 50.0), &[]);
        assert!(class.sigma().unwrap() < 2.0 * before.0);
        assert!(class.between(&RULES).tau < 2.0 * before.1);
    }

    #[test]
    fn a_machine_of_another_class_is_noticed_once_the_class_is_known() {
        let mut class = Calibration::default();
        let slow = environment(20_000, 50_000);
        class.add(
            &RULES,
            &round(4, 0.01, 0.0),
            &[slow.clone(), slow.clone(), slow.clone(), slow.clone()],
        );
        let fast = environment(2_000_000, 50_000);
        assert_eq!(class.check(&fast), Ok(()), "four seats say little");
        class.add(&RULES, &round(4, 0.01, 0.0), std::slice::from_ref(&slow));
        assert_eq!(class.check(&slow), Ok(()));
        assert_eq!(
            class.check(&environment(60_000, 20_000)),
            Ok(()),
            "a busy machine is no other class"
        );
        let misfit = class.check(&fast).unwrap_err();
        assert!(misfit.to_string().starts_with("bandwidth in MB/s 2000000"), "{misfit}");
        assert_eq!(class.check(&environment(20_000, 1)).unwrap_err().found, 1);
        assert!(class.check(&environment(0, 50_000)).is_err(), "a probe that did not run");
    }

    proptest! {
        #[test]
        fn nothing_attested_panics_or_overflows(
            sigma in 0.0_f64..1e6, tau in 0.0_f64..1e6, bandwidth: u64, compute: u64, rounds in 1..20,
        ) {
            let mut class = Calibration::default();
            for _ in 0..rounds {
                class.add(&RULES, &round(5, sigma, tau), &[environment(bandwidth, compute)]);
            }
            let pairs = class.effort(&RULES, (SMALLEST, 7), (4, 64)).pairs;
            prop_assert!((4..=64).contains(&pairs) && pairs % 2 == 0);
            prop_assert!(class.between(&RULES).tau.is_finite());
            let _ = class.check(&environment(compute, bandwidth));
        }
    }
}
