//! Student's t distribution through the regularised incomplete beta function.

use std::cell::RefCell;
use std::collections::VecDeque;

/// P(T ≤ t) with `df` degrees of freedom.
///
/// F(t) = 1 − I_x(df/2, 1/2)/2 for t ≥ 0 with x = df/(df + t²) (Abramowitz & Stegun 26.7.1).
#[must_use]
pub fn student_t_cdf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * Beta::new(0.5 * df, 0.5).incomplete(df / (df + t * t));
    if t >= 0.0 { 1.0 - tail } else { tail }
}

/// Quantiles that are remembered.
const REMEMBERED: usize = 8;

thread_local! {
    /// Arguments and result of the latest calls: verdict after verdict asks for the same few numbers.
    static LATEST: RefCell<VecDeque<(f64, f64, f64)>> = const { RefCell::new(VecDeque::new()) };
}

/// The t with P(T > t) = `alpha` for 0 < alpha ≤ 0.5: what a one-sided test compares with.
///
/// Infinite when `df` is not positive or `alpha` not in range, so that nothing passes by accident.
#[must_use]
pub fn student_t_quantile(alpha: f64, df: f64) -> f64 {
    let usable = df > 0.0 && alpha > 0.0 && alpha <= 0.5;
    if !usable {
        return f64::INFINITY;
    }
    LATEST.with_borrow_mut(|latest| {
        let known = latest.iter().find(|(of_alpha, of_df, _)| (*of_alpha, *of_df) == (alpha, df));
        if let Some((.., t)) = known {
            return *t;
        }
        let t = bisected(alpha, df);
        latest.truncate(REMEMBERED - 1);
        latest.push_front((alpha, df, t));
        t
    })
}

/// Bisection on the upper tail, which is monotone; it ends at neighbouring doubles, or after 200 halvings.
fn bisected(alpha: f64, df: f64) -> f64 {
    let beta = Beta::new(0.5 * df, 0.5);
    let tail = |t: f64| 0.5 * beta.incomplete(df / (df + t * t));
    let mut high = 1.0;
    while tail(high) > alpha && high < 1e300 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        // Both ends were looked at, so that halving on would change nothing.
        if middle <= low || middle >= high {
            break;
        }
        if tail(middle) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The beta function of two parameters.
pub(super) struct Beta {
    a: f64,
    b: f64,
    /// −ln B(a, b).
    log_scale: f64,
}

impl Beta {
    pub(super) fn new(a: f64, b: f64) -> Self {
        Self { a, b, log_scale: libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) }
    }

    /// I_x(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8), evaluated with Lentz's
    /// method, whose steps grow with the root of the larger parameter; the symmetry
    /// I_x(a, b) = 1 − I_{1−x}(b, a) keeps it in the fast half.
    pub(super) fn incomplete(&self, x: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        if x >= 1.0 {
            return 1.0;
        }
        let Self { a, b, log_scale } = *self;
        let front = libm::exp(log_scale + a * libm::log(x) + b * libm::log1p(-x));
        if x < (a + 1.0) / (a + b + 2.0) {
            front * beta_fraction(a, b, x) / a
        } else {
            1.0 - front * beta_fraction(b, a, 1.0 - x) / b
        }
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if libm::fabs(value) < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..=20_000_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + coefficient * d);
            c = away_from_zero(1.0 + coefficient / c);
            change = c * d;
            fraction *= change;
        }
        if libm::fabs(change - 1.0) < 1e-16 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, StudentsT};

    #[test]
    fn distribution_agrees_with_statrs() {
        for df in [1.0, 2.0, 3.0, 7.0, 21.0, 45.0, 120.0, 1000.0] {
            let reference = StudentsT::new(0.0, 1.0, df).unwrap();
            for t in [-30.0, -3.0, -0.5, 0.0, 0.1, 1.0, 2.5, 5.0, 22.0, 400.0] {
                let difference = student_t_cdf(t, df) - reference.cdf(t);
                assert!(difference.abs() < 1e-11, "df {df}, t {t}: {difference}");
            }
        }
    }

    #[test]
    fn quantiles_agree_with_printed_tables() {
        // One-sided 0.1 % points of Student's t, as printed in the usual tables.
        for (df, table) in
            [(1.0, 318.309), (2.0, 22.327), (5.0, 5.893), (21.0, 3.527), (60.0, 3.232)]
        {
            let ours = student_t_quantile(0.001, df);
            assert!((ours - table).abs() < 6e-4, "df {df}: {ours}");
        }
    }

    #[test]
    fn what_is_remembered_is_what_was_computed() {
        let numbers = || (1..40_u32).flat_map(|df| [(0.001, f64::from(df)), (0.05, f64::from(df))]);
        for (alpha, df) in numbers().chain(numbers().rev()) {
            for _ in 0..2 {
                assert_eq!(student_t_quantile(alpha, df), bisected(alpha, df), "{alpha}, {df}");
            }
        }
    }

    #[test]
    fn nothing_passes_without_degrees_of_freedom() {
        assert_eq!(student_t_quantile(0.001, 0.0), f64::INFINITY);
        assert_eq!(student_t_quantile(0.0, 5.0), f64::INFINITY);
        assert_eq!(student_t_quantile(f64::NAN, 5.0), f64::INFINITY);
    }
}
