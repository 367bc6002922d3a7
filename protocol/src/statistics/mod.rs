//! Statistics that decide: the same bits on every machine.
//!
//! Only `+ − × ÷ √` and the `libm` crate are used, never the platform's own functions, because
//! every node and every auditor must reach the same verdict.

mod design;
mod pooled;
mod signed_rank;
mod student;

pub use design::{Noise, Test, pairs_needed, power, seats_needed};
pub use pooled::{BetweenSeats, Pooled, pool};
pub use signed_rank::signed_rank_p;
use student::Beta;
pub use student::{student_t_cdf, student_t_quantile};

/// The median, of an even number of values the mean of the two in the middle; `None` without values.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The probability that at least `successes` of `trials` independent trials succeed, each with
/// probability `p`: how likely a quorum is forged when a share `p` of the seats is dishonest, and how
/// surprising so many agreeing tokens would be at the least share allowed.
///
/// P(X ≥ k) = I_p(k, n − k + 1) (Abramowitz & Stegun 26.5.24), which unlike the sum of terms loses
/// nothing where a single term is below the smallest double.
#[must_use]
pub fn binomial_at_least(trials: u32, successes: u32, p: f64) -> f64 {
    if successes == 0 || p >= 1.0 {
        return 1.0;
    }
    if successes > trials || p <= 0.0 {
        return 0.0;
    }
    let (n, k) = (f64::from(trials), f64::from(successes));
    Beta::new(k, n - k + 1.0).incomplete(p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{Binomial, DiscreteCDF};

    #[test]
    fn forged_quorums_agree_with_the_binomial_tables() {
        for (n, t) in [(3, 3), (5, 4), (7, 5), (15, 10), (21, 14)] {
            for p in [0.1, 0.2, 1.0 / 3.0] {
                let reference = Binomial::new(p, u64::from(n)).unwrap().sf(u64::from(t) - 1);
                let ours = binomial_at_least(n, t, p);
                assert!((ours - reference).abs() <= 1e-9 * reference, "{n} {t} {p}");
            }
        }
        // The figure that the threat notes give for 5 of 7 with a fifth dishonest.
        assert!((binomial_at_least(7, 5, 0.2) - 0.0047).abs() < 5e-5);
        assert_eq!(binomial_at_least(5, 0, 0.2), 1.0);
        assert_eq!(binomial_at_least(5, 6, 0.2), 0.0);
    }

    #[test]
    fn tails_of_many_tokens_agree_with_statrs() {
        for (n, p) in [(192_u32, 0.9), (576, 0.9), (5_376, 0.95)] {
            let mean = f64::from(n) * p;
            let spread = (mean * (1.0 - p)).sqrt();
            for step in -4..=4 {
                let k = (mean + f64::from(step) * spread) as u32;
                let reference = Binomial::new(p, u64::from(n)).unwrap().sf(u64::from(k) - 1);
                let ours = binomial_at_least(n, k, p);
                assert!(
                    (ours - reference).abs() <= 1e-7 * reference,
                    "{n} {k} {p}: {ours} {reference}"
                );
            }
        }
        // All of them: p^n, where the sum of terms would begin with an underflow.
        assert!((binomial_at_least(64, 64, 0.9) - libm::pow(0.9, 64.0)).abs() < 1e-12);
        assert!(binomial_at_least(4_000_000, 3_600_000, 0.9) > 0.4);
    }
}
