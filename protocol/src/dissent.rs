//! Dissent: seats whose own measurements stand against what all the others found.
//!
//! What one seat says must neither carry a claim nor sink it. The gates on counts fail at a single
//! break and the pooled bounds at a single wild seat, so a round that would refute a claim, or move it
//! out of the lossless track, is looked at once more: where only so few seats are at odds with the claim
//! that a quorum remains without them, and that quorum says otherwise, an independent committee
//! measures again. If that one is divided in the same way, its quorum decides, and the entry names who
//! dissented. Where the others are too few of the claim's class to time it, they are asked what those few
//! found: a claim in which they see no gain either is refuted, and one in which they do stays pending.
//!
//! A recipe that breaks on fewer machines than the committee can do without therefore becomes an entry
//! with its dissent on record, which anybody may challenge.

use crate::gates::{self, Evidence, Gate, PPM};
use crate::genesis::{Genesis, Quorum};
use crate::ids::PeerId;
use crate::standing::Middle;
use crate::verdict::{Outcome, SpeedClass, Verdict, decide};
use serde::{Deserialize, Serialize};

/// A seat that is at odds with a claim, and the first gate at which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dissent {
    /// The seat.
    pub seat: PeerId,
    /// What its own measurement says against the claim.
    pub gate: Gate,
}

impl Dissent {
    /// Whether the seat counted what noise cannot explain, so that it is wrong if the others are right.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !matches!(self.gate, Gate::Speed | Gate::Quality)
    }
}

/// Who decides, and by which rules.
#[derive(Debug, Clone, Copy)]
pub struct Committee<'a> {
    /// The network's rules.
    pub genesis: &'a Genesis,
    /// Seats and quorum.
    pub size: Quorum,
    /// The hardware class that the claim is about.
    pub class: SpeedClass<'a>,
}

/// Decides a round on the revealed measurements, and looks once more at what only a few seats stand
/// against. `refutes` says whether a verdict stands against the claim; `contested_before`, whether the
/// round before this one, but for those that were short of seats of the class, was contested for the same
/// purpose.
#[must_use]
pub fn weigh(
    committee: &Committee<'_>,
    evidence: &[(PeerId, Evidence<'_>)],
    contested_before: bool,
    refutes: impl Fn(&Verdict) -> bool,
) -> Verdict {
    let Committee { genesis, size, class } = committee;
    let all = decide(genesis, *size, class, evidence);
    let refuted = refutes(&all);
    if !refuted && (all.lossless || all.outcome == Outcome::Inconclusive) {
        return all;
    }
    let dissent = dissenters(genesis, class, evidence);
    let dissents = |seat: PeerId| dissent.iter().any(|found| found.seat == seat);
    let others: Vec<_> = evidence.iter().filter(|(seat, _)| !dissents(*seat)).copied().collect();
    let quorum = usize::try_from(size.quorum).unwrap_or(usize::MAX);
    if dissent.is_empty() || others.len() < quorum {
        return all;
    }
    let rest = decide(genesis, *size, class, &others);
    // Too few of a class to accept anything can still say whether they too found no gain. What they did
    // not find either is no dispute, and their silence would be no word for the claim.
    let is_mute = all.timed_by >= quorum && rest.timed_by < quorum;
    let says_otherwise = match is_mute.then(|| u32::try_from(rest.timed_by).ok()).flatten() {
        Some(timed) => {
            !refutes(&decide(genesis, Quorum { quorum: timed, ..*size }, class, &others))
        }
        None => !refutes(&rest),
    };
    let differs = (refuted || rest.lossless) && says_otherwise;
    match (differs, contested_before) {
        (false, _) => all,
        (true, true) => Verdict { dissent, ..rest },
        (true, false) => Verdict { outcome: Outcome::Contested, dissent, ..all },
    }
}

/// The seats at odds with a claim: those whose own counts break a gate, whose own figures lie beyond the
/// quality bounds, or whose speed lies further from the others' than noise explains; and those that saw
/// other tokens than the built-in bundle's, where fewer than half did. Every seat is judged by its own
/// data and the middle of its round.
#[must_use]
pub fn dissenters(
    genesis: &Genesis,
    class: &SpeedClass<'_>,
    evidence: &[(PeerId, Evidence<'_>)],
) -> Vec<Dissent> {
    let timed: Vec<(PeerId, Vec<f64>)> = evidence
        .iter()
        .filter(|(_, seat)| class.fits(&seat.measurement.environment))
        .map(|(peer, seat)| (*peer, seat.log_ratios()))
        .collect();
    let middle = Middle::of(
        &class.calibration,
        &genesis.significance,
        timed.iter().map(|(_, logs)| logs.as_slice()),
    );
    let is_outlier = |peer| {
        let logs = timed.iter().find(|(seat, _)| *seat == peer).map(|(_, logs)| logs);
        let fit = middle.zip(logs).and_then(|(middle, logs)| middle.place(logs));
        fit.is_some_and(|fit| !fit.in_range)
    };
    let differs = |seat: &Evidence<'_>| !gates::identity(&[*seat]).pass;
    let differing = evidence.iter().filter(|(_, seat)| differs(seat)).count();
    let is_lossless = differing < evidence.len().div_ceil(2);
    let of_seat = |(peer, seat): &(PeerId, Evidence<'_>)| {
        let gate = match broken_gate(*seat) {
            Some(gate) => gate,
            None if !is_within_bounds(genesis, *seat) => Gate::Quality,
            None if is_outlier(*peer) => Gate::Speed,
            None if is_lossless && differs(seat) => Gate::Identity,
            None => return None,
        };
        Some(Dissent { seat: *peer, gate })
    };
    evidence.iter().filter_map(of_seat).collect()
}

/// The first gate on counts that a seat's own measurement breaks.
#[must_use]
pub(crate) fn broken_gate(seat: Evidence<'_>) -> Option<Gate> {
    let exact = [gates::path, gates::reach, gates::shape, gates::repeat];
    exact.iter().map(|gate| gate(&[seat])).find(|found| !found.pass).map(|found| found.gate)
}

/// Whether a seat's own figures lie within the quality bounds. Its estimates and not their upper bounds
/// are compared: the few prompts of one seat bound too widely to say anything.
#[allow(clippy::cast_precision_loss)]
fn is_within_bounds(genesis: &Genesis, seat: Evidence<'_>) -> bool {
    let bounds = &genesis.challenge;
    gates::quality_figures(genesis, &[seat]).is_some_and(|found| {
        seat.child().nonfinite_logits == 0
            && found.kl <= bounds.kl_max_micronats as f64 / PPM
            && found.agreement >= bounds.agreement_min_ppm as f64 / PPM
            && found.perplexity_ratio <= bounds.perplexity_ratio_max_ppm as f64 / PPM
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, Committee};

    fn of(committee: &Committee) -> Vec<(u8, Gate)> {
        let evidence: Vec<(PeerId, Evidence<'_>)> =
            (1..4).map(fixtures::peer).zip(committee.evidence()).collect();
        let class = SpeedClass::unmeasured(fixtures::CLASS);
        let number = |seat| (1..4).find(|number| fixtures::peer(*number) == seat).unwrap();
        dissenters(&fixtures::genesis(), &class, &evidence)
            .into_iter()
            .map(|found| (number(found.seat), found.gate))
            .collect()
    }

    #[test]
    fn seats_that_agree_do_not_dissent() {
        for ratio in [0.5, 1.0, 1.3] {
            assert_eq!(of(&Committee::honest(ratio)), []);
        }
    }

    #[test]
    fn each_kind_of_dissent_is_named_by_its_gate() {
        let mut committee = Committee::honest(1.3);
        committee.spoil(0, |arm| arm.path_breaks = 1);
        committee.spoil(2, |arm| arm.nonfinite_logits = 1);
        assert_eq!(of(&committee), [(1, Gate::Path), (3, Gate::Quality)]);

        let mut committee = Committee::honest(1.3);
        let plan = committee.plans[1].clone();
        committee.measurements[1] = fixtures::measurement(&plan, 0.4);
        assert_eq!(of(&committee), [(2, Gate::Speed)]);

        let mut committee = Committee::honest(1.3);
        let plan = committee.plans[0].clone();
        fixtures::rescore(&plan, &mut committee.measurements[0], &mut |score, _| {
            score.kl_micronats = u64::from(u32::MAX);
        });
        assert_eq!(of(&committee), [(1, Gate::Quality)]);
    }

    #[test]
    fn other_tokens_are_dissent_where_most_saw_the_same() {
        let mut committee = Committee::honest(1.3);
        committee.spoil(0, |arm| arm.identity_breaks = 1);
        assert_eq!(of(&committee), [(1, Gate::Identity)]);
        committee.spoil(2, |arm| arm.identity_breaks = 5);
        assert_eq!(of(&committee), [], "a lossy recipe and no dissent");
    }

    #[test]
    fn a_seat_that_looked_at_nothing_is_at_odds() {
        let mut committee = Committee::honest(1.3);
        committee.spoil(1, |arm| arm.reach_positions = 0);
        assert_eq!(of(&committee), [(2, Gate::Reach)]);
    }
}
