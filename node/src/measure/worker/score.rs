//! Arithmetic on rows of logits, in f64 on the host and outside the kernels.

use assay_protocol::measurement::MICRONATS_MAX;

/// Two logits no further apart than this many nats are a near-tie: rounding may swap them.
pub(super) const NEAR_TIE_NATS: f64 = 0.125;

/// Two log-probabilities of one token further apart than this many nats are not rounding: kernels
/// that add in another order or at half precision stay within hundredths.
const REACH_NATS: f64 = 1.0;
/// One token in so many may still be that far off.
const REACH_SHARE: usize = 1000;

/// Index of the largest logit; the lowest index wins a tie, as in the kernels. Values that are not
/// numbers lose.
pub(super) fn argmax(row: &[f32]) -> u32 {
    let mut best = (0_u32, f32::NEG_INFINITY);
    for (index, &logit) in (0_u32..).zip(row) {
        if logit > best.1 {
            best = (index, logit);
        }
    }
    best.0
}

/// Values in `rows` that are not finite.
pub(super) fn count_nonfinite(rows: &[f32]) -> u64 {
    rows.iter().fold(0, |count, logit| count + u64::from(!logit.is_finite()))
}

/// ln Σ exp(z), the normaliser of a softmax, in nats; `None` where a logit is not finite.
pub(super) fn log_sum_exp(row: &[f32]) -> Option<f64> {
    let highest = row.iter().fold(f64::NEG_INFINITY, |most, &z| most.max(f64::from(z)));
    let finite = !row.is_empty() && row.iter().all(|logit| logit.is_finite());
    finite.then(|| {
        let total: f64 = row.iter().map(|&z| (f64::from(z) - highest).exp()).sum();
        highest + total.ln()
    })
}

/// KL(base ‖ arm) = Σ p (ln p − ln q) over the vocabulary, in nats; `None` where a logit of either
/// is not finite or the rows differ in length.
pub(super) fn kl_divergence(base: &[f32], arm: &[f32]) -> Option<f64> {
    if base.len() != arm.len() {
        return None;
    }
    let (base_norm, arm_norm) = (log_sum_exp(base)?, log_sum_exp(arm)?);
    let terms = base.iter().zip(arm).map(|(&b, &a)| {
        let (log_p, log_q) = (f64::from(b) - base_norm, f64::from(a) - arm_norm);
        log_p.exp() * (log_p - log_q)
    });
    Some(terms.sum())
}

/// −ln p(token), in nats; `None` where a logit is not finite or the row has no such token.
pub(super) fn negative_log_likelihood(row: &[f32], token: u32) -> Option<f64> {
    let logit = row.get(usize::try_from(token).ok()?)?;
    Some(log_sum_exp(row)? - f64::from(*logit))
}

/// Whether `token` is within a near-tie of the row's largest logit.
pub(super) fn is_near_tie(row: &[f32], token: u32) -> bool {
    let at = |index: u32| usize::try_from(index).ok().and_then(|index| row.get(index));
    match (at(argmax(row)), at(token)) {
        (Some(&most), Some(&own)) => f64::from(most) - f64::from(own) <= NEAR_TIE_NATS,
        _ => false,
    }
}

/// Whether two rows that should be equal are not: another choice beyond a near-tie, or a logit that
/// is further away than a near-tie allows.
pub(super) fn rows_break(expected: &[f32], found: &[f32]) -> bool {
    let chosen = argmax(found);
    let other_choice = chosen != argmax(expected) && !is_near_tie(expected, chosen);
    // A difference that is not a number is not within the limit either.
    let close = |(&e, &f): (&f32, &f32)| (f64::from(e) - f64::from(f)).abs() <= NEAR_TIE_NATS;
    other_choice || expected.len() != found.len() || !expected.iter().zip(found).all(close)
}

/// Whether a token other than the largest of the row's own logits was emitted. Equal logits are
/// equally large, whatever their order.
pub(super) fn choice_breaks(row: &[f32], token: u32) -> bool {
    let own = usize::try_from(token).ok().and_then(|index| row.get(index));
    let largest = usize::try_from(argmax(row)).ok().and_then(|index| row.get(index));
    // A logit that is not a number is not the largest either.
    !own.zip(largest).is_some_and(|(own, largest)| own >= largest)
}

/// Whether a forced row is not the built-in kernels': a logit that is not finite, a normaliser
/// further away than a near-tie, or more than one token in [`REACH_SHARE`] whose log-probability is
/// off by more than [`REACH_NATS`], as those are that a pruned head leaves out.
pub(super) fn reach_breaks(expected: &[f32], found: &[f32]) -> bool {
    let (Some(e_norm), Some(f_norm)) = (log_sum_exp(expected), log_sum_exp(found)) else {
        return true;
    };
    if expected.len() != found.len() || (e_norm - f_norm).abs() > NEAR_TIE_NATS {
        return true;
    }
    let pairs = expected.iter().zip(found);
    let far = pairs.filter(|(e, f)| {
        let (e, f) = (f64::from(**e) - e_norm, f64::from(**f) - f_norm);
        (e - f).abs() > REACH_NATS
    });
    far.count() > expected.len() / REACH_SHARE
}

/// Nats as a whole number of micronats, never below zero and never more than a measurement may
/// say.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn micronats(nats: f64) -> u64 {
    // Rounding can push a divergence of equal rows below zero; the cast saturates above.
    ((nats.max(0.0) * 1e6).round() as u64).min(MICRONATS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_row_has_the_log_of_its_length() {
        let row = [3.0_f32; 16];
        assert!((log_sum_exp(&row).unwrap() - 3.0 - 16_f64.ln()).abs() < 1e-12);
        assert!((negative_log_likelihood(&row, 5).unwrap() - 16_f64.ln()).abs() < 1e-12);
        assert_eq!(negative_log_likelihood(&row, 16), None);
    }

    #[test]
    fn divergence_is_zero_of_equal_rows_and_known_of_two_coins() {
        assert_eq!(micronats(kl_divergence(&[0.5, -2.0, 7.0], &[0.5, -2.0, 7.0]).unwrap()), 0);
        // Adding a constant to all logits changes no probability.
        assert!(kl_divergence(&[0.0, 1.0], &[5.0, 6.0]).unwrap().abs() < 1e-12);
        // KL((1/2, 1/2) ‖ (3/4, 1/4)) = ln 2 − ln 3 / 2.
        let arm = [3_f32.ln(), 0.0];
        let expected = 2_f64.ln() - 3_f64.ln() / 2.0;
        assert!((kl_divergence(&[0.0, 0.0], &arm).unwrap() - expected).abs() < 1e-7);
        assert_eq!(kl_divergence(&[0.0], &[0.0, 0.0]), None);
    }

    #[test]
    fn what_is_not_finite_is_counted_and_not_propagated() {
        let row = [1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(count_nonfinite(&row), 3);
        assert_eq!(log_sum_exp(&row), None);
        assert_eq!(log_sum_exp(&[]), None);
        assert_eq!(kl_divergence(&[0.0; 4], &row), None);
        assert!(rows_break(&[0.0; 4], &row));
        assert!(rows_break(&row, &row));
    }

    #[test]
    fn the_lowest_index_wins_a_tie() {
        assert_eq!(argmax(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(argmax(&[f32::NAN, -1.0]), 1);
        assert_eq!(argmax(&[]), 0);
    }

    #[test]
    fn near_ties_excuse_a_swap_and_no_more() {
        assert!(is_near_tie(&[1.0, 1.125], 0));
        assert!(!is_near_tie(&[1.0, 1.2], 0));
        assert!(!is_near_tie(&[1.0, 1.2], 9));
        assert!(!rows_break(&[1.0, 1.1], &[1.1, 1.0]));
        assert!(rows_break(&[1.0, 1.1], &[1.1, 0.9]));
        assert!(rows_break(&[1.0], &[1.0, 0.0]));
    }

    #[test]
    fn micronats_saturate() {
        assert_eq!(micronats(-1e-12), 0);
        assert_eq!(micronats(1.5), 1_500_000);
        assert_eq!(micronats(f64::INFINITY), MICRONATS_MAX);
        assert_eq!(micronats(f64::NAN), 0);
    }

    #[test]
    fn only_the_largest_logit_is_an_own_choice() {
        assert!(!choice_breaks(&[1.0, 2.0, 2.0], 1));
        assert!(!choice_breaks(&[1.0, 2.0, 2.0], 2));
        assert!(choice_breaks(&[1.0, 2.0, 1.999], 2));
        assert!(choice_breaks(&[1.0, 2.0], 2));
        assert!(choice_breaks(&[f32::NAN, 2.0], 0));
        assert!(!choice_breaks(&[f32::NAN, 2.0], 1));
    }

    #[test]
    fn rounding_reaches_and_a_pruned_tail_does_not() {
        let full: Vec<f32> = (0..4096).map(|i| (i % 97) as f32 * 0.1).collect();
        let rounded: Vec<f32> = full.iter().map(|z| z + 0.01 * (z * 1e3).sin()).collect();
        assert!(!reach_breaks(&full, &rounded));
        // Half of a percent of the vocabulary set far below: its mass is too small for the normaliser.
        let mut pruned = full.clone();
        pruned.iter_mut().step_by(200).for_each(|z| *z = -30.0);
        let norms = (log_sum_exp(&full).unwrap(), log_sum_exp(&pruned).unwrap());
        assert!((norms.0 - norms.1).abs() < NEAR_TIE_NATS);
        assert!(reach_breaks(&full, &pruned));
        pruned[0] = f32::NEG_INFINITY;
        assert!(reach_breaks(&full, &pruned));
        let shifted: Vec<f32> = full.iter().map(|z| z + 0.2).collect();
        assert!(reach_breaks(&full, &shifted));
    }
}
