//! A crowded docket: turns, limits, and what a claim is said to cost beforehand.

use super::world::World;
use crate::error::Reject;
use crate::fixtures;
use crate::ids::ClaimId;
use crate::record::{Body, Claim};

#[test]
fn who_floods_the_docket_waits_for_everyone_else() {
    let mut genesis = fixtures::genesis_of(9);
    for member in &mut genesis.members[..4] {
        member.operator = "flooder".to_owned();
    }
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.0)));
    let flood: Vec<ClaimId> =
        (0..4).map(|author| world.claim(author, fixtures::child_recipe(author))).collect();
    world.settle_effects();
    world.order_block();
    let modest = world.claim(5, fixtures::child_recipe(50));
    world.run(120);
    let settled = |id: ClaimId| world.state().claim(id).unwrap().settled_at.unwrap();
    let before = flood.iter().filter(|id| settled(**id) < settled(modest)).count();
    assert_eq!(before, 1, "the one that was being measured already");
}

#[test]
fn an_operator_has_so_many_open_claims_and_no_more() {
    let mut genesis = fixtures::genesis_of(9);
    genesis.committee.open_per_operator = 1;
    genesis.members[1].operator = genesis.members[0].operator.clone();
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.0)));
    world.claim(0, fixtures::child_recipe(1));
    world.settle_effects();
    world.order_block();
    let parent = world.state().base_claim();
    let second = Body::Claim(Claim {
        hardware_class: fixtures::CLASS.to_owned(),
        cites: Vec::new(),
        recipe: fixtures::child_recipe(2),
        parent,
        result_seal: [0; 32],
        summary: String::new(),
    });
    assert_eq!(world.refusal(1, second.clone()), Some(Reject::OperatorDocketFull(1)));
    assert_eq!(world.refusal(2, second.clone()), None);
    world.run(40);
    assert_eq!(world.refusal(1, second), None, "a verdict makes room");
}

#[test]
fn a_claims_cost_is_told_from_what_its_lineage_took() {
    let mut world = World::new(|_, plan| Some(fixtures::measurement(plan, 1.3)));
    let base = world.state().base_claim();
    assert_eq!(world.state().estimated_cost(base, None).total_ns, None, "nothing was measured yet");
    let id = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let cost = |parent| world.state().estimated_cost(parent, None);
    // Eight pairs of 32 tokens, two arms, three seats; the parent took about a second a pair.
    assert_eq!((cost(base).seats, cost(base).pairs, cost(base).tokens), (3, 8, 512));
    let base_ns = cost(base).token_ns.unwrap();
    assert!(base_ns.abs_diff(1_006_000_000 / 32) < 500_000, "{base_ns}");
    assert_eq!(cost(base).total_ns, Some(base_ns * 512 * 3));
    let child_ns = cost(id).token_ns.unwrap();
    assert!((child_ns as f64 * 1.3 / base_ns as f64 - 1.0).abs() < 0.01, "{child_ns}");
    assert_eq!(cost(ClaimId([9; 32])).total_ns, None);
    let charged = world.state().shares().spent_ms();
    assert_eq!(charged.keys().collect::<Vec<_>>(), ["operator 0"]);
}
