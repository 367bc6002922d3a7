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
pub use student::{student_t_cdf, student_t_quantile};

/// The probability that at least `successes` of `trials` independent trials succeed, each with
/// probability `p`: how likely a quorum is forged when a share `p` of the seats is dishonest.
///
/// Exact binomial sum; terms by the recurrence P(k+1) = P(k) · (n−k)/(k+1) · p/(1−p).
#[must_use]
pub fn binomial_at_least(trials: u32, successes: u32, p: f64) -> f64 {
    if successes == 0 || p >= 1.0 {
        return 1.0;
    }
    if successes > trials || p <= 0.0 {
        return 0.0;
    }
    let odds = p / (1.0 - p);
    let mut term = (0..trials).fold(1.0, |product, _| product * (1.0 - p));
    let mut tail = 0.0;
    for k in 0..=trials {
        if k >= successes {
            tail += term;
        }
        term *= f64::from(trials - k) / f64::from(k + 1) * odds;
    }
    tail
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
}
