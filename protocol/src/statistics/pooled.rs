//! Pooling the seats of a committee: random effects, because machines differ.

use super::student_t_quantile;

/// A pooled mean with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooled {
    /// The pooled mean.
    pub mean: f64,
    /// Standard error of the mean, within and between seats.
    pub standard_error: f64,
    /// Between-seat standard deviation used.
    pub tau: f64,
    /// Within-seat standard deviation, pooled over the seats.
    pub sigma: f64,
    /// Degrees of freedom of the interval.
    pub df: f64,
    /// Degrees of freedom of [`Pooled::sigma`]: values less seats.
    pub within_df: f64,
    /// Between-seat variance as these seats alone estimate it.
    pub own_tau_squared: f64,
    /// Degrees of freedom of that estimate: seats less one.
    pub own_tau_df: f64,
}

impl Pooled {
    /// The bounds that the true mean lies within, each with one-sided error `alpha`.
    #[must_use]
    pub fn bounds(&self, alpha: f64) -> (f64, f64) {
        let reach = student_t_quantile(alpha, self.df) * self.standard_error;
        (self.mean - reach, self.mean + reach)
    }
}

/// What is known beforehand about how much machines of a class differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetweenSeats {
    /// Standard deviation between seats, estimated from earlier claims or assumed at genesis.
    pub tau: f64,
    /// Degrees of freedom that this estimate is worth.
    pub df: f64,
}

/// Pools one list of values per seat.
///
/// Model: seat i sees μ + bᵢ + eᵢⱼ with bᵢ ~ (0, τ²), eᵢⱼ ~ (0, σ²). σ² is the pooled within-seat
/// variance. A handful of seats says little about τ², so DerSimonian and Laird's moment estimate
/// (Controlled Clinical Trials 7, 1986, eq. 8 with weights wᵢ = nᵢ/σ²) is moderated by what is
/// known of the class, weighted by degrees of freedom as in Smyth's moderated variance
/// (Statistical Applications in Genetics and Molecular Biology 3, 2004, eq. 2):
/// τ² = (d₀τ₀² + (k−1)τ̂²)/(d₀ + k−1), with d₀ + k−1 degrees of freedom. The mean weighs seats by
/// 1/(τ² + σ²/nᵢ).
///
/// `None` with fewer than two values in every seat, without seats, or with values that are not
/// finite.
#[must_use]
pub fn pool(seats: &[Vec<f64>], known: BetweenSeats) -> Option<Pooled> {
    let counts: Vec<f64> = seats.iter().map(|values| count(values)).collect();
    let total: f64 = counts.iter().sum();
    let within_df = total - count(seats);
    if seats.iter().any(Vec::is_empty) || within_df < 1.0 {
        return None;
    }
    let means: Vec<f64> =
        seats.iter().zip(&counts).map(|(values, n)| values.iter().sum::<f64>() / n).collect();
    let squares: f64 = seats
        .iter()
        .zip(&means)
        .flat_map(|(values, mean)| values.iter().map(move |v| (v - mean) * (v - mean)))
        .sum();
    let sigma_squared = squares / within_df;

    let seat_df = count(seats) - 1.0;
    let df = known.df + seat_df;
    let estimated = between_variance(&means, &counts, sigma_squared);
    let tau_squared = (known.df * known.tau * known.tau + seat_df * estimated) / df;

    let weights: Vec<f64> =
        counts.iter().map(|n| 1.0 / (tau_squared + sigma_squared / n)).collect();
    let weight_sum: f64 = weights.iter().sum();
    let mean = weights.iter().zip(&means).map(|(w, m)| w * m).sum::<f64>() / weight_sum;
    let pooled = Pooled {
        mean,
        standard_error: libm::sqrt(1.0 / weight_sum),
        tau: libm::sqrt(tau_squared),
        sigma: libm::sqrt(sigma_squared),
        df,
        within_df,
        own_tau_squared: estimated,
        own_tau_df: seat_df,
    };
    (pooled.mean.is_finite() && pooled.standard_error.is_finite()).then_some(pooled)
}

/// DerSimonian and Laird's τ²; zero when the seats disagree no more than their own noise.
fn between_variance(means: &[f64], counts: &[f64], sigma_squared: f64) -> f64 {
    if means.len() < 2 || sigma_squared <= 0.0 {
        // Without noise inside the seats, all that differs is between them.
        let grand = means.iter().sum::<f64>() / count(means);
        let squares: f64 = means.iter().map(|m| (m - grand) * (m - grand)).sum();
        return if means.len() < 2 { 0.0 } else { squares / (count(means) - 1.0) };
    }
    let weights: Vec<f64> = counts.iter().map(|n| n / sigma_squared).collect();
    let sum: f64 = weights.iter().sum();
    let sum_of_squares: f64 = weights.iter().map(|w| w * w).sum();
    let mean = weights.iter().zip(means).map(|(w, m)| w * m).sum::<f64>() / sum;
    let q: f64 = weights.iter().zip(means).map(|(w, m)| w * (m - mean) * (m - mean)).sum();
    let excess = (q - (count(means) - 1.0)) / (sum - sum_of_squares / sum);
    if excess > 0.0 { excess } else { 0.0 }
}

/// A length as a float; exact for every list that fits a message.
#[allow(clippy::cast_precision_loss)]
fn count<T>(values: &[T]) -> f64 {
    values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: BetweenSeats = BetweenSeats { tau: 0.01, df: 20.0 };

    #[test]
    fn a_worked_example_by_hand() {
        // Three seats of two values: means 0.10, 0.20, 0.30; every within variance 0.0002.
        let seats = vec![vec![0.09, 0.11], vec![0.19, 0.21], vec![0.29, 0.31]];
        let pooled = pool(&seats, KNOWN).unwrap();
        assert!((pooled.mean - 0.2).abs() < 1e-12);
        assert!((pooled.sigma * pooled.sigma - 0.0002).abs() < 1e-12);
        // Equal weights w = 2/σ² = 10^4: Q = 10^4·0.02 = 200,
        // τ̂² = (200 − 2)/(3·10^4 − 10^4) = 0.0099, τ² = (20·0.0001 + 2·0.0099)/22.
        let tau_squared = 0.0218 / 22.0;
        assert!((pooled.tau * pooled.tau - tau_squared).abs() < 1e-12);
        assert_eq!(pooled.df, 22.0);
        // SE² = (τ² + σ²/2)/3.
        let error_squared = pooled.standard_error * pooled.standard_error;
        assert!((error_squared - (tau_squared + 0.0001) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn agreement_by_luck_earns_no_certainty() {
        let pooled = pool(&vec![vec![0.1, 0.1]; 5], KNOWN).unwrap();
        // τ² falls to no less than the share of the known estimate, 20/24 of 0.01².
        assert!((pooled.tau * pooled.tau - 0.0001 * 20.0 / 24.0).abs() < 1e-12);
    }

    #[test]
    fn too_little_gives_nothing() {
        assert_eq!(pool(&[], KNOWN), None);
        assert_eq!(pool(&[vec![1.0], vec![2.0]], KNOWN), None);
        assert_eq!(pool(&[vec![1.0, 2.0], vec![]], KNOWN), None);
        assert_eq!(pool(&[vec![f64::INFINITY, 0.0]], KNOWN), None);
    }

    proptest! {
        #[test]
        fn the_mean_lies_among_the_seats(
            seats in prop::collection::vec(prop::collection::vec(-1.0_f64..1.0, 2..8), 1..6),
        ) {
            let pooled = pool(&seats, KNOWN).unwrap();
            let means: Vec<f64> = seats.iter().map(|v| v.iter().sum::<f64>() / v.len() as f64).collect();
            let low = means.iter().copied().fold(f64::INFINITY, f64::min);
            let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(low - 1e-9 <= pooled.mean && pooled.mean <= high + 1e-9);
            let (bottom, top) = pooled.bounds(0.001);
            prop_assert!(bottom <= pooled.mean && pooled.mean <= top);
        }
    }
}
