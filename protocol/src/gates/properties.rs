//! Properties of every gate: worse data never help, the order of seats is nothing, no input panics.

use super::{
    Evidence, FlagKind, GateResult, gain, identity, path, physics, quality, reach, repeat, shape,
    speed,
};
use crate::calibration::Calibration;
use crate::fixtures::{self, Committee};
use crate::genesis::Genesis;
use crate::ids::PeerId;
use crate::measurement::{ArmReport, MICRONATS_MAX, PAIR_NS_MAX, Pair, Score};
use crate::plan::Arm;
use crate::statistics::BetweenSeats;
use crate::verdict::SpeedClass;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What is known of a class before its first round.
fn known(genesis: &Genesis) -> BetweenSeats {
    Calibration::default().between(&genesis.significance)
}

fn unmeasured() -> SpeedClass<'static> {
    SpeedClass::unmeasured(fixtures::CLASS)
}

fn all(evidence: &[Evidence<'_>]) -> Vec<GateResult> {
    let genesis = fixtures::genesis();
    let gain = gain(&genesis.significance, known(&genesis), evidence);
    vec![
        identity(evidence),
        path(evidence),
        quality(&genesis, evidence),
        reach(evidence),
        shape(evidence),
        physics(&unmeasured(), evidence),
        speed(&genesis.significance, gain.as_ref()),
        repeat(evidence),
    ]
}

/// One way in which a child can be worse on one seat, by `amount` on prompt `pair`.
fn worsen(committee: &mut Committee, seat: usize, pair: usize, kind: u8, amount: u64) {
    let child = committee.plans[seat].child;
    let measurement = &mut committee.measurements[seat];
    let count = measurement.pairs.len();
    let (score, arm): (&mut Score, &mut ArmReport) = match child {
        Arm::X => (&mut measurement.pairs[pair % count].x_score, &mut measurement.x),
        Arm::Y => (&mut measurement.pairs[pair % count].y_score, &mut measurement.y),
    };
    match kind % 10 {
        0 => score.kl_micronats = (score.kl_micronats + amount).min(MICRONATS_MAX),
        1 => score.nll_micronats = (score.nll_micronats + amount).min(MICRONATS_MAX),
        2 => score.agreements = score.agreements.saturating_sub(amount as u32 % 64),
        3 => arm.identity_breaks += amount % 9,
        4 => arm.choice_breaks += amount % 9,
        5 => arm.path_breaks += amount % 9,
        6 => arm.reach_breaks += amount % 9,
        7 => arm.repeat_breaks += amount % 9,
        8 => arm.nonfinite_logits += amount % 9,
        _ => arm.shape[0] |= (amount % 2) as u8 * 128,
    }
}

/// The seats with a flag of this kind.
fn flagged(committee: &Committee, kind: FlagKind) -> BTreeSet<PeerId> {
    let flags = super::flags(&unmeasured(), &committee.evidence()).into_iter();
    flags.filter(|flag| flag.kind == kind).map(|flag| flag.seat).collect()
}

fn scored(kl: u64, agreements: u32, nll: i64) -> Committee {
    let mut committee = Committee::honest(1.3);
    let mut index = 0_u64;
    committee.rescore(|score, base_nll| {
        index += 1;
        score.kl_micronats = kl * (index * 7 % 13) / 6;
        score.agreements = agreements;
        score.nll_micronats = base_nll.saturating_add_signed(nll * (index as i64 * 5 % 11) / 5);
    });
    committee
}

proptest! {
    #[test]
    fn worse_data_never_turn_a_refusal_into_a_pass(
        kl in 0_u64..2_000_000,
        agreements in 27_u32..=32,
        nll in -2_000_000_i64..2_000_000,
        changes in prop::collection::vec((0_usize..3, 0_usize..8, 0_u8..10, 0_u64..30_000_000), 1..12),
    ) {
        let mut committee = scored(kl, agreements, nll);
        let mut before = all(&committee.evidence());
        for (seat, pair, kind, amount) in changes {
            worsen(&mut committee, seat, pair, kind, amount);
            let after = all(&committee.evidence());
            for (old, new) in before.iter().zip(&after) {
                prop_assert!(old.pass || !new.pass, "{old:?} became {new:?}");
            }
            before = after;
        }
    }

    #[test]
    fn a_slower_child_never_gains_speed(
        ratio in 0.9_f64..1.3,
        seat in 0_usize..3,
        more_percent in 100_u64..200,
    ) {
        let mut committee = Committee::honest(ratio);
        let slow = |committee: &Committee| {
            let genesis = fixtures::genesis();
            gain(&genesis.significance, known(&genesis), &committee.evidence()).unwrap()
        };
        let before = slow(&committee);
        let child = committee.plans[seat].child;
        // The whole seat becomes slower: its own spread stays as it was.
        for pair in &mut committee.measurements[seat].pairs {
            let ns = if child == Arm::X { &mut pair.x_ns } else { &mut pair.y_ns };
            *ns = *ns * more_percent / 100;
        }
        let after = slow(&committee);
        prop_assert!(after.pooled.mean <= before.pooled.mean + 1e-9);
        prop_assert!(after.rank_p >= before.rank_p - 1e-12);
    }

    #[test]
    fn a_longer_prefill_never_takes_a_flag_back(
        excess in prop::collection::vec(500_u32..5_000, 24),
        seat in 0_usize..3,
        pair in 0_usize..8,
        more in 0_u32..100_000,
    ) {
        let mut committee = Committee::honest(1.1);
        let times = committee.measurements.iter_mut().flat_map(|m| &mut m.pairs);
        for (pair, us) in times.zip(excess) {
            (pair.x_prefill_us, pair.y_prefill_us) = (us, us);
        }
        for (plan, measurement) in committee.plans.iter().zip(&mut committee.measurements) {
            let of_child = |pair: &mut Pair| match plan.child {
                Arm::X => pair.x_prefill_us *= 2,
                Arm::Y => pair.y_prefill_us *= 2,
            };
            measurement.pairs.iter_mut().for_each(of_child);
        }
        let before = flagged(&committee, FlagKind::Prefill);
        let child = committee.plans[seat].child;
        let longer = &mut committee.measurements[seat].pairs[pair];
        match child {
            Arm::X => longer.x_prefill_us += more,
            Arm::Y => longer.y_prefill_us += more,
        }
        prop_assert!(before.is_subset(&flagged(&committee, FlagKind::Prefill)));
    }

    #[test]
    fn no_claimed_bandwidth_hides_what_half_again_as_much_would_show(
        child_ns in 1_000_000_u64..100_000_000,
        claimed in 1_u64..,
    ) {
        let mut committee = Committee::honest(1.0);
        for pair in &mut committee.measurements[0].pairs {
            (pair.x_ns, pair.y_ns) = (child_ns, child_ns);
        }
        let mut with = |bandwidth_mb_s| {
            committee.measurements[0].environment.bandwidth_mb_s = bandwidth_mb_s;
            flagged(&committee, FlagKind::Roofline)
        };
        let plausible = with(15_000);
        prop_assert!(plausible.is_subset(&with(claimed)));
    }

    #[test]
    fn the_order_of_the_seats_changes_nothing(
        kl in 0_u64..2_000_000,
        agreements in 27_u32..=32,
        nll in -2_000_000_i64..2_000_000,
        shift in 0_usize..3,
        swap in any::<bool>(),
    ) {
        let committee = scored(kl, agreements, nll);
        let ordered = committee.evidence();
        let mut shuffled = ordered.clone();
        shuffled.rotate_left(shift);
        if swap {
            shuffled.swap(0, 1);
        }
        prop_assert_eq!(all(&ordered), all(&shuffled));
        let flags = |seats| super::flags(&unmeasured(), seats);
        prop_assert_eq!(flags(&ordered), flags(&shuffled));
    }

    #[test]
    fn no_figures_panic(
        figures in prop::collection::vec(any::<u64>(), 14),
        times in prop::collection::vec((1..=PAIR_NS_MAX, 0..=MICRONATS_MAX, any::<u32>()), 0..5),
        bandwidth in any::<u64>(),
    ) {
        let mut committee = Committee::honest(1.0);
        let arm = ArmReport {
            decoded_tokens: figures[0],
            scored_tokens: figures[1],
            identity_breaks: figures[2],
            near_ties: figures[3],
            choice_breaks: figures[4],
            path_breaks: figures[5],
            path_positions: figures[6],
            repeat_breaks: figures[7],
            repeat_positions: figures[8],
            nonfinite_logits: figures[9],
            shape: [figures[10] as u8; 32],
            bytes_per_token: figures[11],
            reach_positions: figures[12],
            reach_breaks: figures[13],
        };
        let measurement = &mut committee.measurements[1];
        measurement.environment.bandwidth_mb_s = bandwidth;
        measurement.x = arm.clone();
        measurement.y = arm;
        measurement.pairs.truncate(times.len());
        for (pair, (ns, micronats, agreements)) in measurement.pairs.iter_mut().zip(times) {
            pair.y_ns = ns;
            let score = Score { kl_micronats: micronats, agreements, nll_micronats: micronats };
            (pair.x_score, pair.y_score) = (score, score);
            pair.base_nll_micronats = micronats / 2;
        }
        prop_assert_eq!(all(&committee.evidence()).len(), 8);
    }
}
