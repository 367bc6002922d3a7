//! The physics gate and its flags: what no machine of this kind should be able to do.

use super::{Evidence, Gate, GateResult, PPM, result};
use crate::ids::PeerId;
use serde::{Deserialize, Serialize};

/// How many times as long as the parent's the child's prefill may take before it is flagged.
const PREFILL_RATIO: f64 = 2.0;

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
    /// The figure that raised it, in millionths: share of the roofline, or ratio of prefill times.
    pub ppm: u64,
}

/// Share of what the seat's memory can deliver that the child's decode loops needed, weights alone.
/// Infinite where the seat measured no bandwidth.
#[allow(clippy::cast_precision_loss)]
fn roofline_share(seat: &Evidence<'_>) -> f64 {
    let child_ns = seat.pairs().fold(0_u64, |sum, pair| sum.saturating_add(pair.child_ns)) as f64;
    let child = seat.child();
    // A megabyte per second is a byte per microsecond.
    let floor_us = child.bytes_per_token as f64 * child.decoded_tokens as f64
        / seat.measurement.environment.bandwidth_mb_s as f64;
    floor_us * 1_000.0 / child_ns
}

/// Every flag that the raw data raise, seats in order of their keys.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn flags(evidence: &[Evidence<'_>]) -> Vec<Flag> {
    let mut flags = Vec::new();
    for seat in evidence {
        let share = roofline_share(seat);
        let prefill = seat.child().prefill_ns as f64 / seat.parent().prefill_ns as f64;
        for (kind, value, most) in
            [(FlagKind::Roofline, share, 1.0), (FlagKind::Prefill, prefill, PREFILL_RATIO)]
        {
            // NaN, from a seat without any figure, raises nothing; infinity does.
            if value > most {
                flags.push(Flag { kind, seat: seat.plan.seat, ppm: to_ppm(value) });
            }
        }
    }
    flags.sort_by_key(|flag| (flag.seat, flag.kind));
    flags
}

/// Raises a flag, never a rejection, when the child read its weights faster than the seat's
/// memory delivers them or hid work in its prefill; [`flags`] names the seats.
#[must_use]
pub fn physics(evidence: &[Evidence<'_>]) -> GateResult {
    let flagged = flags(evidence).len();
    let closest = evidence.iter().map(roofline_share).fold(0.0, f64::max);
    let detail = format!("{flagged} flags, at most {:.1} % of the roofline", closest * 100.0);
    result(Gate::Physics, true, detail)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn to_ppm(value: f64) -> u64 {
    // A float-to-integer cast saturates.
    libm::round(value * PPM) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Committee;

    #[test]
    fn faster_than_memory_is_flagged_with_its_figure_and_passes() {
        let mut committee = Committee::honest(1.0);
        assert_eq!(flags(&committee.evidence()), []);
        // 256 tokens of 10 MB at 10 GB/s take 0.256 s; all eight pairs together in 0.128 s.
        for pair in &mut committee.measurements[1].pairs {
            (pair.x_ns, pair.y_ns) = (16_000_000, 16_000_000);
        }
        let found = flags(&committee.evidence());
        let [flag] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((flag.kind, flag.seat), (FlagKind::Roofline, committee.plans[1].seat));
        assert_eq!(flag.ppm, 2_000_000);
        assert!(physics(&committee.evidence()).pass);
    }

    #[test]
    fn work_moved_into_the_prefill_is_flagged() {
        let mut committee = Committee::honest(1.3);
        committee.spoil(0, |arm| arm.prefill_ns *= 3);
        let found = flags(&committee.evidence());
        let [flag] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((flag.kind, flag.ppm), (FlagKind::Prefill, 3_000_000));
    }

    #[test]
    fn a_seat_without_bandwidth_is_flagged() {
        let mut committee = Committee::honest(1.0);
        committee.measurements[2].environment.bandwidth_mb_s = 0;
        let found = flags(&committee.evidence());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].ppm, u64::MAX);
    }
}
