//! Wilcoxon's signed-rank test: a second opinion on a gain that no outlier can buy.

/// Most values for which the distribution is summed exactly; above, the normal approximation is
/// better than a thousandth of the probability.
const EXACT_MAX: usize = 256;

/// P(W₊ ≥ the sum of the ranks of the positive values) where every value is equally likely to be
/// positive or negative: small when the values lie above zero. One without values that differ
/// from zero.
///
/// Zeros are dropped and equal magnitudes share the mean of their ranks; the probability is exact
/// for the magnitudes as observed (Wilcoxon, Biometrics Bulletin 1, 1945; Pratt and Gibbons,
/// Concepts of Nonparametric Theory, 1981, §3.3). Values that are not finite give one.
#[must_use]
pub fn signed_rank_p(values: &[f64]) -> f64 {
    if values.iter().any(|v| !v.is_finite()) {
        return 1.0;
    }
    let mut nonzero: Vec<f64> = values.iter().copied().filter(|v| *v != 0.0).collect();
    nonzero.sort_by(|a, b| libm::fabs(*a).total_cmp(&libm::fabs(*b)));
    let ranks = doubled_ranks(&nonzero);
    let positive: usize =
        nonzero.iter().zip(&ranks).filter(|(v, _)| **v > 0.0).map(|(_, rank)| rank).sum();
    if positive == 0 {
        // No sum is smaller.
        1.0
    } else if nonzero.len() <= EXACT_MAX {
        exact_tail(&ranks, positive)
    } else {
        normal_tail(&ranks, positive)
    }
}

/// Twice the mean rank of each of the values, which are sorted by magnitude: whole numbers.
fn doubled_ranks(sorted: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    let same = |a: &f64, b: &f64| libm::fabs(*a).total_cmp(&libm::fabs(*b)).is_eq();
    for tie in sorted.chunk_by(same) {
        let first = ranks.len() + 1;
        let shared = 2 * first + tie.len() - 1;
        ranks.extend(tie.iter().map(|_| shared));
    }
    ranks
}

/// P(W ≥ `least`), W the sum of the ranks whose coin shows heads.
fn exact_tail(ranks: &[usize], least: usize) -> f64 {
    // Without ties all doubled ranks are even, and only even sums can be reached.
    let step = if ranks.iter().all(|rank| rank % 2 == 0) { 2 } else { 1 };
    // Probability of every sum of the ranks so far.
    let mut chances = vec![1.0];
    for rank in ranks.iter().map(|rank| rank / step) {
        let mut next = vec![0.0; chances.len() + rank];
        next.iter_mut().zip(&chances).for_each(|(chance, without)| *chance += without);
        next.iter_mut().skip(rank).zip(&chances).for_each(|(chance, with)| *chance += with);
        next.iter_mut().for_each(|chance| *chance *= 0.5);
        chances = next;
    }
    chances.get(least.div_ceil(step)..).unwrap_or_default().iter().rev().sum()
}

/// The same by the normal distribution with the exact mean and variance and half a step of
/// continuity correction.
#[allow(clippy::cast_precision_loss)]
fn normal_tail(ranks: &[usize], least: usize) -> f64 {
    let mean = ranks.iter().map(|r| *r as f64).sum::<f64>() / 2.0;
    let variance = ranks.iter().map(|r| (*r as f64) * (*r as f64)).sum::<f64>() / 4.0;
    // Doubled ranks move in steps of two, so half a step is one.
    let z = (least as f64 - 1.0 - mean) / libm::sqrt(variance);
    0.5 * libm::erfc(z / core::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_scipy() {
        // scipy.stats.wilcoxon(x, alternative="greater", method="exact"), SciPy 1.17. Its exact method has
        // no ties, so the last case is the share of all sign flips of scipy.stats.rankdata's midranks.
        let cases: [(&[f64], f64); 6] = [
            (&[1.0, 2.0, 3.0, 4.0, 5.0], 0.03125),
            (&[0.3, -0.1, 0.5, 0.9, -0.2, 1.4, 0.8], 0.0390625),
            (&[-1.0, -2.0, 3.0], 0.625),
            (&[1.0, 1.0, 1.0, -1.0], 0.3125),
            (&[0.0, 0.0, 2.0, 3.0], 0.25),
            (&[2.0, 2.0, -2.0, 5.0, 7.0, -1.0, 9.0, 9.0], 0.03125),
        ];
        for (values, expected) in cases {
            let found = signed_rank_p(values);
            assert!((found - expected).abs() < 1e-12, "{values:?}: {found}");
        }
    }

    #[test]
    fn the_approximation_continues_the_exact_sum() {
        let values: Vec<f64> =
            (1..=250).map(|i| if i % 5 < 2 { -f64::from(i) } else { f64::from(i) }).collect();
        let ranks = doubled_ranks(&values);
        let positive = (1..=250).filter(|i| i % 5 >= 2).map(|i| 2 * i).sum();
        let (exact, near) = (exact_tail(&ranks, positive), normal_tail(&ranks, positive));
        assert!((exact / near - 1.0).abs() < 0.05, "{exact} {near}");
    }

    #[test]
    fn one_outlier_buys_nothing() {
        let mut values = vec![-0.01; 20];
        values.push(1e6);
        assert!(signed_rank_p(&values) > 0.9);
        assert_eq!(signed_rank_p(&[]), 1.0);
        assert_eq!(signed_rank_p(&[0.0, 0.0]), 1.0);
        assert_eq!(signed_rank_p(&[f64::NAN, 1.0]), 1.0);
    }

    #[test]
    fn a_thousand_values_are_no_burden() {
        let values: Vec<f64> = (0..1_000).map(|i| f64::from(i) - 100.5).collect();
        assert!(signed_rank_p(&values) < 1e-12);
    }
}
