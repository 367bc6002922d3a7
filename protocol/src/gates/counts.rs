//! Gates on counts of what must not happen.

use super::{Evidence, Gate, GateResult, result, sum};

/// Passes when every timed token is what the built-in bundle would have emitted, near-ties
/// excused. A recipe that passes is *lossless* relative to its checkpoint.
#[must_use]
pub fn identity(evidence: &[Evidence<'_>]) -> GateResult {
    let tokens = sum(evidence, |arm| arm.decoded_tokens);
    let excused = sum(evidence, |arm| arm.near_ties);
    // Told apart seat by seat: what one seat excuses excuses nothing on another.
    let breaks = sum(evidence, |arm| arm.identity_breaks.saturating_sub(arm.near_ties));
    let detail = format!("{breaks} of {tokens} tokens differ, and {excused} more at near-ties");
    result(Gate::Identity, tokens > 0 && breaks == 0, detail)
}

/// Passes when prefill and decode logits agree at every sampled position, and every timed token is
/// the argmax of the recipe's own logits of that very step. The second half needs no near-tie: a
/// recipe that emits another token than its own choice, such as a draft that is merely likely, is
/// not the greedy decoding that it says it is, whatever its logits look like.
#[must_use]
pub fn path(evidence: &[Evidence<'_>]) -> GateResult {
    let positions = sum(evidence, |arm| arm.path_positions);
    let breaks = sum(evidence, |arm| arm.path_breaks);
    let choices = sum(evidence, |arm| arm.choice_breaks);
    let detail = format!(
        "{breaks} of {positions} positions differ between prefill and decode, {choices} tokens are \
         not the recipe's own choice"
    );
    result(Gate::Path, positions > 0 && breaks == 0 && choices == 0, detail)
}

/// Passes when text and random token ids from the whole vocabulary, forced behind a long context,
/// have finite logits whose normaliser and probabilities are the built-in bundle's.
#[must_use]
pub fn reach(evidence: &[Evidence<'_>]) -> GateResult {
    let positions = sum(evidence, |arm| arm.reach_positions);
    let breaks = sum(evidence, |arm| arm.reach_breaks);
    let detail = format!("{breaks} of {positions} forced positions out of reach");
    result(Gate::Reach, positions > 0 && breaks == 0, detail)
}

/// Passes when every seat loaded the same shape for the child as for the parent, whose own shape
/// was compared in the same way all the way up to the base.
#[must_use]
pub fn shape(evidence: &[Evidence<'_>]) -> GateResult {
    let differing =
        evidence.iter().filter(|seat| seat.child().shape != seat.parent().shape).count();
    let detail =
        format!("{differing} of {} seats saw another shape than the parent's", evidence.len());
    result(Gate::Shape, !evidence.is_empty() && differing == 0, detail)
}

/// Passes when decoding a prompt again gave the same tokens.
#[must_use]
pub fn repeat(evidence: &[Evidence<'_>]) -> GateResult {
    let positions = sum(evidence, |arm| arm.repeat_positions);
    let breaks = sum(evidence, |arm| arm.repeat_breaks);
    let detail = format!("{breaks} of {positions} tokens differ when decoded again");
    result(Gate::Repeat, positions > 0 && breaks == 0, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Committee;
    use crate::measurement::ArmReport;

    #[test]
    fn near_ties_excuse_breaks_of_identity_and_nothing_else() {
        let mut committee = Committee::honest(1.2);
        assert!(identity(&committee.evidence()).pass);
        committee.spoil(0, |arm| {
            arm.identity_breaks = 2;
            arm.near_ties = 2;
        });
        assert!(identity(&committee.evidence()).pass);
        committee.spoil(1, |arm| arm.identity_breaks = 1);
        assert!(!identity(&committee.evidence()).pass);
    }

    #[test]
    fn a_token_that_the_own_logits_did_not_choose_fails_the_path() {
        let mut committee = Committee::honest(1.2);
        assert!(path(&committee.evidence()).pass);
        committee.spoil(2, |arm| arm.choice_breaks = 1);
        let found = path(&committee.evidence());
        assert!(!found.pass);
        assert!(found.detail.contains("1 tokens are not the recipe's own choice"), "{found:?}");
    }

    #[test]
    fn one_break_fails_path_reach_and_repeat() {
        type Gate = fn(&[Evidence<'_>]) -> GateResult;
        type Spoil = fn(&mut ArmReport);
        let gates: [(Gate, Spoil); 3] = [
            (path, |arm| arm.path_breaks = 1),
            (reach, |arm| arm.reach_breaks = 1),
            (repeat, |arm| arm.repeat_breaks = 1),
        ];
        for (gate, spoil) in gates {
            let mut committee = Committee::honest(1.2);
            assert!(gate(&committee.evidence()).pass);
            committee.spoil(1, spoil);
            assert!(!gate(&committee.evidence()).pass);
        }
    }

    #[test]
    fn nothing_looked_at_is_nothing_passed() {
        let mut committee = Committee::honest(1.2);
        for seat in 0..committee.seats() {
            committee.spoil(seat, |arm| {
                arm.decoded_tokens = 0;
                arm.path_positions = 0;
                arm.reach_positions = 0;
                arm.repeat_positions = 0;
            });
        }
        let evidence = committee.evidence();
        for gate in [identity, path, reach, repeat] {
            assert!(!gate(&evidence).pass);
            assert!(!gate(&[]).pass);
        }
        assert!(!shape(&[]).pass);
    }

    #[test]
    fn another_shape_on_one_seat_fails() {
        let mut committee = Committee::honest(1.2);
        assert!(shape(&committee.evidence()).pass);
        committee.spoil(2, |arm| arm.shape = [9; 32]);
        assert!(!shape(&committee.evidence()).pass);
    }
}
