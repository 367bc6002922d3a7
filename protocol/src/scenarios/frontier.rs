//! Claims that would lead their track, and the second committee that decides whether they do.

use super::world::World;
use crate::fixtures;
use crate::frontier::Track;
use crate::genesis::{Genesis, Quorum};
use crate::plan::{Arm, Plan};
use crate::record::Recipe;
use crate::state::{ClaimState, FRONTIER_ROUNDS_MAX, Purpose};
use crate::verdict::Outcome;
use std::collections::BTreeSet;

/// Enough members for two committees without a common seat.
fn wide() -> Genesis {
    let mut genesis = fixtures::genesis_of(12);
    genesis.committee.frontier = Quorum { seats: 5, quorum: 4 };
    genesis
}

/// The recipe that a plan measures.
fn child(plan: &Plan) -> Recipe {
    if plan.child == Arm::X { plan.x } else { plan.y }
}

fn purposes(claim: &ClaimState) -> Vec<Purpose> {
    claim.rounds.iter().map(|round| round.purpose).collect()
}

#[test]
fn the_number_of_a_record_is_the_second_committees() {
    let mut world = World::of(wide(), |_, plan| {
        let ratio = if plan.round.number == 1 { 1.5 } else { 1.3 };
        Some(fixtures::measurement(plan, ratio))
    });
    let id = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let (state, claim) = (world.state(), world.state().claim(id).unwrap());
    assert_eq!(purposes(claim), [Purpose::First, Purpose::Frontier]);
    assert_eq!(claim.outcome(), Some(Outcome::Accepted));
    let ratio = claim.verdict().unwrap().ratio.unwrap();
    assert!(ratio.ppm.abs_diff(1_300_000) < 10_000, "{ratio:?}");
    assert_eq!(claim.ratio_to_base_ppm, Some(ratio.ppm));
    // Nobody sat on both, and the author sat on neither.
    let [first, second] = claim.rounds.as_slice() else { panic!("two rounds") };
    let sat: BTreeSet<_> = first.committee.seats.iter().collect();
    assert!(!second.committee.seats.iter().any(|seat| sat.contains(seat)));
    assert_eq!((first.committee.seats.len(), second.committee.seats.len()), (3, 5));
    assert!(!second.committee.seats.contains(&fixtures::peer(0)));
    assert_eq!(state.sat_before(claim, 2), 0);
    assert!(second.opened_at == first.settled_at.unwrap() && first.beacon != second.beacon);
    assert_eq!(second.verdict.as_ref().unwrap().attested_by.len(), 5);
    assert!(
        state.leads(id, Track::Lossless)
            && state.frontier(Track::Lossy, fixtures::CLASS).is_empty()
    );
    assert_eq!(state.rank(claim), Some(1));
    assert_eq!(claim.settled_at, second.settled_at);
    assert!(claim.opening.is_some(), "the author opens after the second verdict");
}

#[test]
fn a_second_committee_that_refutes_decides() {
    let mut world = World::of(wide(), |_, plan| {
        let ratio = if plan.round.number == 1 { 1.3 } else { 1.0 };
        Some(fixtures::measurement(plan, ratio))
    });
    let id = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let claim = world.state().claim(id).unwrap();
    assert_eq!(claim.rounds[0].outcome(), Some(Outcome::Accepted));
    assert_eq!(claim.outcome(), Some(Outcome::Refuted));
    assert_eq!(claim.ratio_to_base_ppm, None);
    assert!(world.state().frontier(Track::Lossless, fixtures::CLASS).is_empty());
    let late = world.claim_on(id, 1, fixtures::child_recipe(10));
    world.run(20);
    assert!(world.state().claim(late).is_none(), "nothing builds on a refuted claim");
}

#[test]
fn a_committee_too_small_to_confirm_leaves_the_number_unconfirmed() {
    let mut genesis = fixtures::genesis();
    genesis.committee.frontier = Quorum { seats: 9, quorum: 7 };
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let id = world.claim(0, fixtures::child_recipe(9));
    world.run(120);
    let claim = world.state().claim(id).unwrap();
    assert_eq!(claim.rounds.len(), 1 + FRONTIER_ROUNDS_MAX);
    let word = |round: &crate::state::Round| round.outcome().unwrap();
    assert_eq!(word(&claim.rounds[1]), Outcome::Inconclusive);
    assert_eq!(claim.outcome(), Some(Outcome::Accepted));
    assert!(!claim.is_confirmed() && !world.state().leads(id, Track::Lossless));
    // Nobody is charged for a quorum that could not come about.
    assert!(world.state().members().values().all(|member| member.standing >= 10));
}

#[test]
fn a_small_network_says_how_many_sat_on_both() {
    let mut world = World::new(|_, plan| Some(fixtures::measurement(plan, 1.3)));
    let id = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let claim = world.state().claim(id).unwrap();
    // Of the four who may sit, three sat; the fourth is drawn first and two sit again.
    assert_eq!(world.state().sat_before(claim, 2), 2);
    assert!(claim.is_confirmed());
}

#[test]
fn only_more_than_a_tie_is_measured_again() {
    let mut world = World::of(wide(), |_, plan| {
        let ratio = match child(plan).bundle.unwrap().0[0] {
            1 => 1.3,
            2 => 1.306,
            _ => 1.2,
        };
        Some(fixtures::measurement(plan, ratio))
    });
    let first = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let tie = world.claim(1, fixtures::child_recipe(2));
    world.run(60);
    let better = world.claim_on(first, 2, fixtures::child_recipe(3));
    world.run(60);
    let state = world.state();
    let claim = |id| state.claim(id).unwrap();
    assert_eq!(claim(tie).rounds.len(), 1, "a tie changes nothing");
    assert_eq!(claim(tie).outcome(), Some(Outcome::Accepted));
    assert_eq!(purposes(claim(better)), [Purpose::First, Purpose::Frontier]);
    let product = claim(better).ratio_to_base_ppm.unwrap();
    assert!(product.abs_diff(1_560_000) < 20_000, "{product}");
    let leaders: Vec<_> =
        state.frontier(Track::Lossless, fixtures::CLASS).into_iter().map(|(id, _)| id).collect();
    assert_eq!(leaders, [better]);
    assert_eq!(state.rank(claim(better)), Some(1));
    assert_eq!((state.rank(claim(first)), state.rank(claim(tie))), (Some(2), Some(2)));
}

#[test]
fn lossy_recipes_form_a_front_of_their_own() {
    let mut world = World::of(wide(), |_, plan| {
        let number = child(plan).bundle.unwrap().0[0];
        let mut measurement = fixtures::measurement(plan, if number == 3 { 1.3 } else { 1.6 });
        if number < 3 {
            fixtures::child(plan, &mut measurement).identity_breaks = 9;
            fixtures::rescore(plan, &mut measurement, &mut |score, _| {
                score.agreements -= 1;
                score.kl_micronats = 32 * 1_000 * u64::from(number);
            });
        }
        Some(measurement)
    });
    let clean = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let coarser = world.claim(1, fixtures::child_recipe(2));
    let lossless = world.claim(2, fixtures::child_recipe(3));
    world.run(120);
    let state = world.state();
    let leaders = |track| {
        state.frontier(track, fixtures::CLASS).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(leaders(Track::Lossy), [clean], "equally fast at twice the divergence is no gain");
    assert_eq!(leaders(Track::Lossless), [lossless], "slower, but in a track of its own");
    assert_eq!(state.claim(coarser).unwrap().rounds.len(), 1);
    let verdict = state.claim(clean).unwrap().verdict().unwrap();
    assert_eq!(verdict.kl_micronats, Some(1_000));
    assert_eq!(verdict.perplexity_ratio_ppm, Some(1_000_000));
}
