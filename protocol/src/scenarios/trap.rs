//! Null claims and the seats that they catch.

use super::world::World;
use crate::fixtures;
use crate::verdict::Outcome;

/// A world in which the first seat drawn invents a gain that nobody else finds.
fn with_a_liar() -> World {
    let liar = std::cell::Cell::new(None);
    World::of(fixtures::genesis_of(9), move |number, plan| {
        let first = liar.get().unwrap_or(number);
        liar.set(Some(first));
        Some(fixtures::measurement(plan, if number == first { 1.5 } else { 1.0 }))
    })
}

#[test]
fn a_seat_that_invents_a_gain_is_caught_and_no_other() {
    let mut world = with_a_liar();
    let base = world.state().base_claim();
    let trap = world.submit(base, 0, fixtures::child_recipe(7), true);
    world.run(40);
    let claim = world.state().claim(trap).unwrap();
    assert_eq!(claim.outcome(), Some(Outcome::Refuted));
    assert!(claim.opening.as_ref().unwrap().null);
    let round = &claim.rounds[0];
    let liars: Vec<_> = round
        .reveals
        .iter()
        .filter(|(seat, measurement)| {
            let plan = world.state().plan(claim, round, **seat).unwrap();
            let evidence = crate::gates::Evidence { plan: &plan, measurement };
            evidence.log_ratios().iter().all(|log| *log > 0.3)
        })
        .map(|(seat, _)| *seat)
        .collect();
    assert_eq!(liars.len(), 1);
    assert_eq!(round.caught, liars);
}

#[test]
fn an_ordinary_claim_catches_nobody() {
    let mut world = with_a_liar();
    let claim = world.claim(0, fixtures::child_recipe(7));
    world.run(40);
    let claim = world.state().claim(claim).unwrap();
    assert!(claim.opening.is_some() && claim.rounds[0].caught.is_empty());
}

#[test]
fn calling_a_real_gain_null_hurts_no_honest_seat() {
    let mut world =
        World::of(fixtures::genesis_of(9), |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let base = world.state().base_claim();
    let claim = world.submit(base, 0, fixtures::child_recipe(7), true);
    world.run(60);
    let claim = world.state().claim(claim).unwrap();
    assert_eq!(claim.outcome(), Some(Outcome::Accepted));
    assert!(claim.opening.as_ref().unwrap().null);
    assert!(claim.rounds.iter().all(|round| round.caught.is_empty()));
}

#[test]
fn a_real_gain_called_null_with_a_liar_beside_it_hurts_no_honest_seat() {
    let liar = std::cell::Cell::new(None);
    let mut world = World::of(fixtures::genesis_of(9), move |number, plan| {
        let first = liar.get().unwrap_or(number);
        liar.set(Some(first));
        Some(fixtures::measurement(plan, if number == first { 0.3 } else { 1.3 }))
    });
    let base = world.state().base_claim();
    let claim = world.submit(base, 0, fixtures::child_recipe(7), true);
    world.run(60);
    let claim = world.state().claim(claim).unwrap();
    assert_eq!(claim.outcome(), Some(Outcome::Refuted), "the liar hides the gain");
    assert!(claim.opening.as_ref().unwrap().null);
    assert!(claim.rounds.iter().all(|round| round.caught.is_empty()));
}

#[test]
fn another_checkpoint_is_no_null_claim() {
    let mut world = with_a_liar();
    let base = world.state().base_claim();
    let mut recipe = fixtures::child_recipe(7);
    recipe.checkpoint = crate::ids::BlobHash([8; 32]);
    let claim = world.submit(base, 0, recipe, true);
    world.run(40);
    let claim = world.state().claim(claim).unwrap();
    assert!(claim.opening.is_some() && claim.rounds[0].caught.is_empty());
}
