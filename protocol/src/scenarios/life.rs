//! The ordinary course of things, and the ways in which it ends.

use super::world::{World, honest};
use crate::fixtures;
use crate::state::Phase;
use crate::verdict::Outcome;

#[test]
fn a_real_gain_is_accepted_and_the_author_opens() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(40);
    assert_eq!(world.outcome(claim), Some(Outcome::Accepted));
    let state = world.peers[0].state().claim(claim).unwrap();
    let verdict = state.verdict().unwrap();
    let ratio = verdict.ratio.unwrap();
    assert!(ratio.low_ppm < ratio.ppm && ratio.ppm < ratio.high_ppm);
    assert!(ratio.ppm.abs_diff(1_300_000) < 10_000, "{ratio:?}");
    assert!(verdict.lossless);
    assert_eq!(verdict.attested_by.len(), 3);
    assert!(!verdict.attested_by.contains(&fixtures::peer(0)), "an author never sits");
    assert_eq!(state.opening.as_ref().unwrap().ratio_ppm, 1_500_000);
    for seat in &verdict.attested_by {
        assert!(world.state().members()[seat].standing > 10);
    }
}

#[test]
fn a_tie_is_refuted_by_the_speed_gate() {
    let mut world = honest(1.0);
    let claim = world.claim(1, fixtures::child_recipe(9));
    world.run(20);
    assert_eq!(world.outcome(claim), Some(Outcome::Refuted));
}

#[test]
fn speed_bought_with_other_tokens_is_refuted() {
    let mut world = World::new(|_, plan| {
        let mut measurement = fixtures::measurement(plan, 2.0);
        fixtures::child(plan, &mut measurement).identity_breaks = 200;
        fixtures::rescore(plan, &mut measurement, &mut |score, _| {
            score.agreements = 5;
            score.kl_micronats = 32 * 3_000_000;
        });
        Some(measurement)
    });
    let claim = world.claim(1, fixtures::child_recipe(9));
    world.run(20);
    let state = world.peers[0].state().claim(claim).unwrap();
    assert_eq!(state.outcome(), Some(Outcome::Refuted));
    assert!(!state.verdict().unwrap().lossless);
}

#[test]
fn a_reserve_steps_in_for_a_silent_seat() {
    let silent = std::cell::Cell::new(None);
    let mut world = World::new(move |number, plan| {
        let first = silent.get().unwrap_or(number);
        silent.set(Some(first));
        (number != first).then(|| fixtures::measurement(plan, 1.3))
    });
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let state = world.peers[0].state().claim(claim).unwrap();
    assert_eq!(state.outcome(), Some(Outcome::Accepted));
    assert_eq!(state.rounds[0].reserves_called, 1);
    let standings = world.peers[0].state().members().values();
    assert_eq!(standings.filter(|member| member.standing < 10).count(), 1);
}

#[test]
fn without_a_quorum_nothing_is_decided() {
    let mut world = World::new(|_, _| None);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    assert_eq!(world.outcome(claim), Some(Outcome::Inconclusive));
    assert!(world.peers[0].state().docket().next().is_none());
}

#[test]
fn claims_take_turns_and_a_recipe_is_docketed_once() {
    let mut world = honest(1.2);
    let first = world.claim(0, fixtures::child_recipe(1));
    let second = world.claim(1, fixtures::child_recipe(2));
    let again = world.claim(2, fixtures::child_recipe(1));
    world.settle_effects();
    world.order_block();
    for _ in 0..12 {
        world.settle_effects();
        world.order_block();
        world.now_ms += 50;
        let state = world.peers[3].state();
        let measured = state.docket().filter(|claim| claim.phase() != Phase::Docketed);
        assert!(measured.count() <= 1);
    }
    world.run(20);
    let state = world.peers[0].state();
    // Two authors raced for one recipe; whoever was ordered first has it.
    assert!(state.claim(first).is_some() != state.claim(again).is_some());
    assert_eq!(world.outcome(second), Some(Outcome::Accepted));
}

#[test]
fn an_idle_ledger_makes_no_blocks() {
    let mut world = honest(1.2);
    world.run(10);
    assert_eq!(world.items.len(), 0);
    world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let ordered = world.items.len();
    world.run(30);
    assert_eq!(world.items.len(), ordered);
}
