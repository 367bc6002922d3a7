//! The physics gate and its flags: what no machine of this kind should be able to do.

use super::{Evidence, Gate, GateResult, result, to_ppm};
use crate::ids::PeerId;
use crate::statistics::{median, signed_rank_p};
use crate::verdict::SpeedClass;
use serde::{Deserialize, Serialize};

/// How many times as long as the parent's the child's prefill may take before it is flagged.
const PREFILL_RATIO: f64 = 2.0;
/// Probability with which a child whose prefill takes exactly so long is flagged all the same.
const PREFILL_ALPHA: f64 = 0.001;
/// A seat's memory is believed to deliver at most so many times what other machines of its class
/// deliver: a seat that claims more would lift its own floor out of the way.
const BANDWIDTH_FACTOR_MAX: f64 = 1.5;

/// What looks impossible or evasive. A flag refuses nothing: it is there for people and for later
/// rulings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlagKind {
    /// The child read its weights faster than the seat's memory delivers them.
    Roofline,
    /// The child's prefill, which is not timed for the ratio, took far longer than the parent's.
    Prefill,
}

/// One seat's flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// What is flagged.
    pub kind: FlagKind,
    /// On whose machine.
    pub seat: PeerId,
    /// The figure that raised it, in millionths: share of the roofline, or the median ratio of prefill
    /// times.
    pub ppm: u64,
}

/// Megabytes per second that machines of the seat's class deliver: what the ledger knows of the claim's
/// class, and else the median of the other seats. The ledger's figure comes first because no one committee
/// has it in its hands.
#[allow(clippy::cast_precision_loss)]
fn class_bandwidth_mb_s(
    class: &SpeedClass<'_>,
    seat: &Evidence<'_>,
    evidence: &[Evidence<'_>],
) -> Option<f64> {
    let own = seat.measurement.environment.hardware_class.as_str();
    let ledgered = class.calibration.known_bandwidth_mb_s().filter(|_| own == class.name);
    let others = || {
        let others = evidence.iter().filter(|other| other.plan.seat != seat.plan.seat);
        let others = others.map(|other| &other.measurement.environment);
        let alike = others.filter(|other| other.hardware_class == own && other.bandwidth_mb_s > 0);
        median(alike.map(|other| other.bandwidth_mb_s as f64))
    };
    ledgered.or_else(others)
}

/// Megabytes per second that the seat's memory is believed to deliver: what its own probe says, unless
/// the machines of its class make that implausible.
#[allow(clippy::cast_precision_loss)]
fn bandwidth_mb_s(class: &SpeedClass<'_>, seat: &Evidence<'_>, evidence: &[Evidence<'_>]) -> f64 {
    let known = class_bandwidth_mb_s(class, seat, evidence);
    let most = known.map_or(f64::INFINITY, |known| known * BANDWIDTH_FACTOR_MAX);
    let claimed = seat.measurement.environment.bandwidth_mb_s as f64;
    if claimed < most { claimed } else { most }
}

/// Share of what the seat's memory can deliver that the decode loops of the child, or of the parent, needed,
/// weights alone. Infinite where the seat measured no bandwidth.
#[allow(clippy::cast_precision_loss)]
fn share_of_memory(
    class: &SpeedClass<'_>,
    seat: &Evidence<'_>,
    evidence: &[Evidence<'_>],
    child: bool,
) -> f64 {
    let arm_ns = seat.times_ns(child).fold(0_u64, u64::saturating_add) as f64;
    let arm = if child { seat.child() } else { seat.parent() };
    // A megabyte per second is a byte per microsecond.
    let bytes = arm.bytes_per_token as f64 * arm.decoded_tokens as f64;
    let floor_us = bytes / bandwidth_mb_s(class, seat, evidence);
    floor_us * 1_000.0 / arm_ns
}

fn roofline_share(class: &SpeedClass<'_>, seat: &Evidence<'_>, evidence: &[Evidence<'_>]) -> f64 {
    share_of_memory(class, seat, evidence, true)
}

/// What machines of a class that is known deliver, in MB/s, and the share of it in millionths that the child
/// needed on that of its seats which lies in the middle, where that is more than all.
///
/// None where the parent needed more than all as well: then its weights fit into a cache, or the class's
/// figure is wrong, and neither says anything about the child.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn excess(class: &SpeedClass<'_>, evidence: &[Evidence<'_>]) -> Option<(u64, u64)> {
    let known = class.calibration.known_bandwidth_mb_s()?;
    let of_class = |seat: &&Evidence<'_>| class.fits(&seat.measurement.environment);
    let seats: Vec<Evidence<'_>> = evidence.iter().filter(of_class).copied().collect();
    let middle = |child: bool| {
        let shares = seats.iter().map(|seat| share_of_memory(class, seat, &seats, child));
        median(shares).map(to_ppm)
    };
    let (child, parent) = (middle(true)?, middle(false)?);
    let beyond = |ppm: u64| ppm > 1_000_000;
    // A bandwidth that is known is a geometric mean of counts from 1, so that the cast loses fractions alone.
    (beyond(child) && !beyond(parent)).then_some((known as u64, child))
}

/// How far each pair's prefill of the child lies above [`PREFILL_RATIO`] times the parent's, as logs.
fn prefill_excess(seat: &Evidence<'_>) -> Vec<f64> {
    let ratio = |child: u32, parent: u32| f64::from(child) / f64::from(parent);
    let ratios = seat.pairs().map(|pair| ratio(pair.child_prefill_us, pair.parent_prefill_us));
    ratios.map(|ratio| libm::log(ratio / PREFILL_RATIO)).collect()
}

/// Every flag that the raw data of a round raise whose claim is about `class`, seats in order of their keys.
///
/// A prefill is flagged where the lower bound of the signed ranks on its pairs' ratios exceeds
/// [`PREFILL_RATIO`], one-sided at [`PREFILL_ALPHA`]: on the seat's own pairs, or on those of all seats
/// together where one seat has too few. A busy moment lengthens a few prefills of either arm and
/// moves no rank but theirs, which a ratio of sums would not survive.
#[must_use]
pub fn flags(class: &SpeedClass<'_>, evidence: &[Evidence<'_>]) -> Vec<Flag> {
    let excess: Vec<Vec<f64>> = evidence.iter().map(prefill_excess).collect();
    let all: Vec<f64> = excess.iter().flatten().copied().collect();
    let together = signed_rank_p(&all) <= PREFILL_ALPHA;
    let mut flags = Vec::new();
    for (seat, excess) in evidence.iter().zip(excess) {
        let share = roofline_share(class, seat, evidence);
        // NaN, from a seat without any figure, raises nothing; infinity does.
        if share > 1.0 {
            flags.push(Flag { kind: FlagKind::Roofline, seat: seat.plan.seat, ppm: to_ppm(share) });
        }
        let slower = together || signed_rank_p(&excess) <= PREFILL_ALPHA;
        let typical = median(excess).filter(|typical| slower && *typical > 0.0);
        if let Some(typical) = typical {
            let ppm = to_ppm(libm::exp(typical) * PREFILL_RATIO);
            flags.push(Flag { kind: FlagKind::Prefill, seat: seat.plan.seat, ppm });
        }
    }
    flags.sort_by_key(|flag| (flag.seat, flag.kind));
    flags
}

/// Raises a flag, never a rejection, when the child read its weights faster than the seat's
/// memory delivers them or hid work in its prefill; [`flags`] names the seats.
#[must_use]
pub fn physics(class: &SpeedClass<'_>, evidence: &[Evidence<'_>]) -> GateResult {
    let flagged = flags(class, evidence).len();
    let shares = evidence.iter().map(|seat| roofline_share(class, seat, evidence));
    let closest = shares.fold(0.0, f64::max);
    let prefills = evidence.iter().filter_map(|seat| median(prefill_excess(seat)));
    let slowest = prefills.map(|excess| libm::exp(excess) * PREFILL_RATIO).fold(0.0, f64::max);
    let detail = format!(
        "{flagged} flags, at most {:.1} % of the roofline and {slowest:.2} times the parent's prefill",
        closest * 100.0
    );
    result(Gate::Physics, true, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibration;
    use crate::fixtures::{self, Committee};
    use crate::plan::Arm;

    fn flags(committee: &Committee) -> Vec<Flag> {
        super::flags(&SpeedClass::unmeasured(fixtures::CLASS), &committee.evidence())
    }

    /// Makes the child read 10 MB a token at twice what a memory of 10 GB/s delivers: 256 tokens in
    /// 0.128 s.
    fn too_fast(committee: &mut Committee, seat: usize) {
        for pair in &mut committee.measurements[seat].pairs {
            (pair.x_ns, pair.y_ns) = (16_000_000, 16_000_000);
        }
    }

    /// Multiplies the child's prefill on a seat's pairs from `from` to `to`.
    fn slow_prefill(
        committee: &mut Committee,
        seat: usize,
        pairs: std::ops::Range<usize>,
        by: u32,
    ) {
        let child = committee.plans[seat].child;
        for pair in &mut committee.measurements[seat].pairs[pairs] {
            match child {
                Arm::X => pair.x_prefill_us *= by,
                Arm::Y => pair.y_prefill_us *= by,
            }
        }
    }

    #[test]
    fn faster_than_memory_is_flagged_with_its_figure_and_passes() {
        let mut committee = Committee::honest(1.0);
        assert_eq!(flags(&committee), []);
        too_fast(&mut committee, 1);
        let found = flags(&committee);
        let [flag] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((flag.kind, flag.seat), (FlagKind::Roofline, committee.plans[1].seat));
        assert_eq!(flag.ppm, 2_000_000);
        let class = SpeedClass::unmeasured(fixtures::CLASS);
        assert!(physics(&class, &committee.evidence()).pass);
    }

    #[test]
    fn a_seat_cannot_claim_the_floor_away() {
        let mut committee = Committee::honest(1.0);
        too_fast(&mut committee, 1);
        committee.measurements[1].environment.bandwidth_mb_s = u64::MAX;
        let found = flags(&committee);
        let [flag] = found.as_slice() else { panic!("{found:?}") };
        // Half again as much as the others' memory is believed, and no more.
        assert_eq!((flag.kind, flag.ppm), (FlagKind::Roofline, 1_333_333));
        // A machine of another class has nobody here to be compared with.
        committee.measurements[1].environment.hardware_class = "another".to_owned();
        assert_eq!(flags(&committee), []);
    }

    #[test]
    fn a_committee_cannot_claim_the_floor_of_a_known_class_away() {
        let mut committee = Committee::honest(1.0);
        let genesis = fixtures::genesis();
        let pooled = {
            let evidence = committee.evidence();
            let between = Calibration::default().between(&genesis.significance);
            crate::gates::gain(&genesis.significance, between, &evidence).unwrap().pooled
        };
        let mut class = SpeedClass::unmeasured(fixtures::CLASS);
        let honest = committee.measurements[0].environment.clone();
        class.calibration.add(&genesis.significance, &pooled, [&honest; 4]);
        too_fast(&mut committee, 1);
        for measurement in &mut committee.measurements {
            measurement.environment.bandwidth_mb_s = 40_000;
        }
        let found = super::flags(&class, &committee.evidence());
        assert_eq!(found, [], "four attestations are too few to hold against a seat");
        class.calibration.add(&genesis.significance, &pooled, [&honest; 4]);
        let found = super::flags(&class, &committee.evidence());
        let [flag] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(flag.seat, committee.plans[1].seat);
        assert!((1_333_000..1_334_000).contains(&flag.ppm), "{flag:?}");
        // What is known of one class says nothing about another.
        class.name = "another";
        assert_eq!(super::flags(&class, &committee.evidence()), []);
    }

    #[test]
    fn an_entry_is_beyond_a_known_class_where_most_seats_say_so_and_its_parent_is_not() {
        let mut committee = Committee::honest(1.0);
        let mut class = SpeedClass::unmeasured(fixtures::CLASS);
        for seat in 0..committee.seats() {
            committee.spoil(seat, |child| child.bytes_per_token *= 40);
        }
        assert_eq!(excess(&class, &committee.evidence()), None, "nothing is known of the class");
        let genesis = fixtures::genesis();
        let honest = committee.measurements[0].environment.clone();
        let between = Calibration::default().between(&genesis.significance);
        let pooled = crate::gates::gain(&genesis.significance, between, &committee.evidence());
        class.calibration.add(&genesis.significance, &pooled.unwrap().pooled, [&honest; 5]);
        let (bandwidth, share) = excess(&class, &committee.evidence()).unwrap();
        assert!((9_999..=10_000).contains(&bandwidth), "{bandwidth}");
        assert!((1_200_000..1_300_000).contains(&share), "{share}");
        // One seat's figures do not carry it, and a parent as fast says that the figure is wrong.
        let mut one = Committee::honest(1.0);
        one.spoil(1, |child| child.bytes_per_token *= 40);
        assert_eq!(excess(&class, &one.evidence()), None);
        for measurement in &mut committee.measurements {
            measurement.x.bytes_per_token = 400_000_000;
            measurement.y.bytes_per_token = 400_000_000;
        }
        assert_eq!(excess(&class, &committee.evidence()), None);
    }

    #[test]
    fn a_somewhat_faster_memory_is_believed() {
        let mut committee = Committee::honest(1.0);
        for pair in &mut committee.measurements[1].pairs {
            (pair.x_ns, pair.y_ns) = (23_000_000, 23_000_000);
        }
        committee.measurements[1].environment.bandwidth_mb_s = 14_500;
        assert_eq!(flags(&committee), []);
    }

    #[test]
    fn work_moved_into_the_prefill_is_flagged() {
        let mut committee = Committee::honest(1.3);
        for seat in 0..committee.seats() {
            slow_prefill(&mut committee, seat, 0..8, 3);
        }
        let found = flags(&committee);
        assert_eq!(found.len(), committee.seats());
        for flag in found {
            assert_eq!(flag.kind, FlagKind::Prefill);
            assert!((2_990_000..3_010_000).contains(&flag.ppm), "{flag:?}");
        }
    }

    #[test]
    fn a_busy_moment_is_no_work_moved_into_the_prefill() {
        // One pair of each seat took a thousand times as long, which makes any sum of times absurd.
        let mut committee = Committee::honest(1.3);
        for seat in 0..committee.seats() {
            slow_prefill(&mut committee, seat, 2..3, 1_000);
        }
        assert_eq!(flags(&committee), []);
        // A prefill that is slower within what is allowed is not flagged for being so everywhere.
        let mut committee = Committee::honest(1.3);
        for seat in 0..committee.seats() {
            slow_prefill(&mut committee, seat, 0..8, 2);
            committee.measurements[seat].pairs.iter_mut().for_each(|pair| {
                let longer = |us: u32| us + us / 50;
                match committee.plans[seat].child {
                    Arm::X => pair.y_prefill_us = longer(pair.y_prefill_us),
                    Arm::Y => pair.x_prefill_us = longer(pair.x_prefill_us),
                }
            });
        }
        assert_eq!(flags(&committee), []);
    }

    #[test]
    fn a_seat_with_enough_pairs_is_flagged_alone() {
        let mut committee = Committee::honest(1.3);
        for seat in 0..committee.seats() {
            let pairs = committee.measurements[seat].pairs.clone();
            committee.measurements[seat].pairs.extend(pairs);
        }
        slow_prefill(&mut committee, 2, 0..16, 3);
        let found = flags(&committee);
        let [flag] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((flag.kind, flag.seat), (FlagKind::Prefill, committee.plans[2].seat));
    }

    #[test]
    fn a_seat_without_bandwidth_is_flagged() {
        let mut committee = Committee::honest(1.0);
        committee.measurements[2].environment.bandwidth_mb_s = 0;
        let found = flags(&committee);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].ppm, u64::MAX);
    }
}
