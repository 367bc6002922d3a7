//! What somebody might do once it is known what would help: steer a draw, keep back, squat, re-roll.

use super::world::World;
use crate::draw;
use crate::error::Reject;
use crate::fixtures::{self, CLASS, peer};
use crate::frontier::Track;
use crate::genesis::Quorum;
use crate::membership::{Disclosure, Leave, Vouch};
use crate::record::{Body, Challenge, Claim};
use crate::standing::Rule;
use crate::state::{FRONTIER_ROUNDS_MAX, Finding, Membership};
use crate::verdict::Outcome;
use std::cell::RefCell;
use std::rc::Rc;

fn claim_body(world: &World, bundle: u8, class: &str) -> Body {
    Body::Claim(Claim {
        hardware_class: class.to_owned(),
        recipe: fixtures::child_recipe(bundle),
        parent: world.state().base_claim(),
        result_seal: [0; 32],
        summary: String::new(),
        cites: Vec::new(),
    })
}

fn count(world: &World, member: u8, rule: Rule) -> u64 {
    world.state().members()[&peer(member)].tallies().get(&rule).map_or(0, |tally| tally.count)
}

#[test]
fn nothing_said_after_the_call_changes_the_draw() {
    let mut world =
        World::of(fixtures::genesis_of(9), |_, plan| Some(fixtures::measurement(plan, 1.0)));
    let id = world.claim(0, fixtures::child_recipe(1));
    world.settle_effects();
    world.order_block();
    let round = world.state().claim(id).unwrap().round(1).unwrap();
    let (frozen, called_at) = (round.candidates.clone(), round.called_at.unwrap());
    assert_eq!((frozen.len(), round.beacon), (8, None));
    // Two peers go away in the very next block, before anybody knows the beacon.
    world.say(7, Body::Leave(Leave { joined_at: 0 }));
    world.say(8, Body::Leave(Leave { joined_at: 0 }));
    world.run(30);
    let round = world.state().claim(id).unwrap().round(1).unwrap();
    let drawn = draw::committee(round.beacon.unwrap(), round.id(id), &frozen, 3, 1);
    assert_eq!(round.committee, drawn);
    assert!(round.candidates.is_empty(), "nothing is kept of the list after the draw");
    assert!(round.settled_at.unwrap() > called_at + 2);
}

#[test]
fn whoever_keeps_back_what_others_showed_is_charged() {
    let mut world = World::new(|_, plan| Some(fixtures::measurement(plan, 1.3)));
    let id = world.claim(0, fixtures::child_recipe(1));
    // Blocks without settling effects after the seals: the reveal of one seat never comes.
    let silent = loop {
        world.settle_effects();
        world.order_block();
        world.now_ms += 50;
        let round = world.state().claim(id).unwrap().round(1).unwrap();
        if round.seals.len() >= 2 {
            break (1..5).rev().find(|n| round.committee.seats.contains(&peer(*n))).unwrap();
        }
    };
    world.mute(silent);
    world.run(60);
    let round = world.state().claim(id).unwrap().round(1).unwrap();
    assert_eq!(round.outcome(), Some(Outcome::Inconclusive));
    assert_eq!(round.reveals.len(), 2);
    for member in 1..5 {
        assert_eq!(count(&world, member, Rule::NoShow), u64::from(member == silent), "{member}");
    }
}

#[test]
fn a_recipe_about_which_nothing_was_decided_may_be_claimed_again() {
    let measured = Rc::new(RefCell::new(false));
    let works = Rc::clone(&measured);
    let mut world =
        World::new(move |_, plan| works.borrow().then(|| fixtures::measurement(plan, 1.3)));
    let squat = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    assert_eq!(world.outcome(squat), Some(Outcome::Inconclusive));
    *measured.borrow_mut() = true;
    let real = world.claim(1, fixtures::child_recipe(1));
    world.run(60);
    assert_eq!(world.outcome(real), Some(Outcome::Accepted));
    let again = world.refusal(2, claim_body(&world, 1, CLASS));
    assert!(matches!(again, Some(Reject::RecipeDocketed { claim, .. }) if claim == real));
}

#[test]
fn claims_that_wait_for_their_class_count_and_do_not_wait_for_ever() {
    let mut genesis = fixtures::genesis_of(9);
    genesis.committee.open_per_operator = 1;
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.3)));
    // Everybody attests one class; then a claim is about another.
    for (bundle, author) in [(1, 1), (2, 2), (3, 3)] {
        world.claim(author, fixtures::child_recipe(bundle));
        world.run(40);
    }
    let made_up = claim_body(&world, 9, "nobody-has-this");
    world.say(0, made_up);
    world.run(40);
    let id = world.state().claims().find(|claim| claim.hardware_class != CLASS).unwrap().id;
    assert_eq!(world.outcome(id), None, "it waits");
    let more = claim_body(&world, 10, "nor-this");
    assert_eq!(world.refusal(0, more), Some(Reject::OpenClaim(id)));
    let epoch = world.state().genesis().membership.epoch_blocks;
    let until = world.state().height() + epoch;
    for bundle in 20..40 {
        if world.state().height() > until {
            break;
        }
        world.claim(1 + bundle % 5, fixtures::child_recipe(bundle));
        world.run(12);
    }
    assert_eq!(world.outcome(id), Some(Outcome::Pending), "and enters as it is");
}

#[test]
fn another_class_is_another_ladder() {
    let mut world = World::of(fixtures::genesis_of(12), |number, plan| {
        let ratio = if number < 6 { 1.3 } else { 2.0 };
        let mut measurement = fixtures::measurement(plan, ratio);
        if number >= 6 {
            measurement.environment.hardware_class = "other".to_owned();
        }
        Some(measurement)
    });
    // Until it is known who is of which class, committees are mixed and the speed stays pending.
    for bundle in 20..26 {
        world.claim(0, fixtures::child_recipe(bundle));
        world.run(120);
    }
    let ours = world.claim(1, fixtures::child_recipe(1));
    world.run(120);
    let theirs = claim_body(&world, 2, "other");
    world.say(11, theirs);
    world.run(160);
    let theirs = world.state().claims().find(|claim| claim.hardware_class == "other").unwrap().id;
    let state = world.state();
    assert_eq!(
        (world.outcome(ours), world.outcome(theirs)),
        (Some(Outcome::Accepted), Some(Outcome::Accepted))
    );
    let first = state.frontier(Track::Lossless, CLASS)[0].0;
    assert!(state.leads(first, Track::Lossless) && state.leads(theirs, Track::Lossless));
    assert_eq!(
        state.rank(state.claim(ours).unwrap()),
        Some(1),
        "a tie with the first of its class"
    );
    // And no lineage goes from one to the other.
    let Body::Claim(mut child) = claim_body(&world, 3, CLASS) else { unreachable!() };
    child.parent = theirs;
    let refusal = world.refusal(0, Body::Claim(child));
    assert!(matches!(refusal, Some(Reject::ParentClass { parent, .. }) if parent == theirs));
}

#[test]
fn nobody_brings_peers_in_under_anothers_name() {
    let world = World::new(|_, _| None);
    let vouch = |operator: &str| {
        let (operator, name) = (operator.to_owned(), "newcomer".to_owned());
        Body::Vouch(Vouch { peer: peer(9), operator, name, epoch: 0 })
    };
    assert!(matches!(world.refusal(0, vouch("operator 1")), Some(Reject::MayNotVouch(_))));
    assert_eq!(world.refusal(1, vouch("operator 1")), None);
    assert_eq!(world.refusal(0, vouch("somebody new")), None);
}

#[test]
fn an_operator_doubts_an_entry_once_whatever_peer_it_uses() {
    let mut genesis = fixtures::genesis_of(9);
    genesis.members[4].operator = genesis.members[3].operator.clone();
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let id = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let challenge = || Body::Challenge(Challenge { claim: id, reason: "no".to_owned() });
    world.say(3, challenge());
    world.run(60);
    assert_eq!(world.state().claim(id).unwrap().latest().unwrap().finding, Some(Finding::Upheld));
    assert_eq!(world.refusal(4, challenge()), Some(Reject::Repeated(peer(4))));
    assert_eq!(world.refusal(5, challenge()), None);
}

#[test]
fn an_author_pays_for_what_its_entry_was_not_unless_it_said_so() {
    for told in [false, true] {
        let honest_rounds = 2;
        let mut world = World::of(fixtures::genesis_of(12), move |_, plan| {
            let mut measurement = fixtures::measurement(plan, 1.3);
            if plan.round.number > honest_rounds {
                fixtures::child(plan, &mut measurement).reach_breaks = 3;
            }
            Some(measurement)
        });
        let id = world.claim(0, fixtures::child_recipe(1));
        world.run(60);
        let before = world.state().members()[&peer(0)].standing;
        if told {
            let (claim, text) = (Some(id), "it prunes the head now and then".to_owned());
            world.say(0, Body::Disclosure(Disclosure { claim, text, evidence: None }));
            world.run(4);
        }
        world.say(3, Body::Challenge(Challenge { claim: id, reason: "pruned".to_owned() }));
        world.run(60);
        assert!(world.state().claim(id).unwrap().debunked.is_some());
        let after = world.state().members()[&peer(0)].standing;
        assert_eq!(before - after, if told { 0 } else { 5 }, "told: {told}");
    }
}

#[test]
fn a_runner_up_whom_nobody_confirmed_gives_way_to_the_next() {
    let mut genesis = fixtures::genesis_of(12);
    genesis.committee.frontier = Quorum { seats: 4, quorum: 3 };
    // Recipe 1 leads until it is debunked. Nobody answers for recipe 2's second committee.
    let mut world = World::of(genesis, |_, plan| {
        let child = if plan.child == crate::plan::Arm::X { plan.x } else { plan.y };
        let (bundle, round) = (child.bundle.unwrap().0[0], plan.round.number);
        let ratio = match (bundle, round) {
            (1, 1 | 2) => 1.5,
            (1, _) => 1.0,
            (2, 1) => 1.4,
            (2, _) => return None,
            _ => 1.3,
        };
        Some(fixtures::measurement(plan, ratio))
    });
    let claims: Vec<_> = (1..4)
        .map(|bundle| {
            let id = world.claim(bundle, fixtures::child_recipe(bundle));
            world.run(80);
            id
        })
        .collect();
    assert!(world.state().leads(claims[0], Track::Lossless));
    world.say(9, Body::Challenge(Challenge { claim: claims[0], reason: "slow".to_owned() }));
    world.run(300);
    let state = world.state();
    assert!(state.claim(claims[0]).unwrap().debunked.is_some());
    let second = state.claim(claims[1]).unwrap();
    assert!(!second.is_confirmed() && second.rounds.len() == 1 + FRONTIER_ROUNDS_MAX);
    assert!(state.leads(claims[2], Track::Lossless), "the track does not stay empty");
}

#[test]
fn whoever_joins_after_the_call_measures_beside_no_seat() {
    let mut world = World::new(|_, plan| Some(fixtures::measurement(plan, 1.0)));
    assert_eq!(world.follow(), 5);
    let first = world.claim(0, fixtures::child_recipe(1));
    let (operator, name) = ("operator 5".to_owned(), "node 5".to_owned());
    for body in [None, Some(Body::Vouch(Vouch { peer: peer(5), operator, name, epoch: 0 })), None] {
        // The claim is docketed and called, then the vouch is ordered, and with the draw the joining.
        body.into_iter().for_each(|vouch| world.say(1, vouch));
        world.settle_effects();
        assert!(world.order_block());
    }
    let round = world.state().claim(first).unwrap().round(1).unwrap();
    assert!(round.drawn_at_ms.is_some() && world.state().members().contains_key(&peer(5)));
    assert!(round.shadows.is_empty() && round.newcomers.is_empty());
    world.run(20);
    let second = world.claim(2, fixtures::child_recipe(2));
    world.settle_effects();
    world.order_block();
    let named = |world: &World| {
        let round = world.state().claim(second).unwrap().round(1).unwrap();
        let newcomers = round.newcomers.iter().map(|found| found.peer).collect::<Vec<_>>();
        (newcomers, round.shadows.keys().copied().collect::<Vec<_>>())
    };
    assert_eq!(named(&world), (vec![peer(5)], vec![]));
    world.run(20);
    assert_eq!(named(&world), (vec![], vec![peer(5)]));
}

#[test]
fn coming_back_brings_no_new_vouches() {
    let mut genesis = fixtures::genesis_of(7);
    genesis.membership.vouches_per_epoch = 1;
    genesis.membership.epoch_blocks = 10_000;
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let vouch = |number: u8| {
        let (operator, name) = (format!("operator {number}"), format!("node {number}"));
        Body::Vouch(Vouch { peer: peer(number), operator, name, epoch: 0 })
    };
    let is_spent = |refusal: Option<Reject>| matches!(refusal, Some(Reject::MayNotVouch(_)));
    world.say(6, vouch(20));
    world.run(2);
    assert!(is_spent(world.refusal(6, vouch(21))));
    world.say(6, Body::Leave(Leave { joined_at: 0 }));
    world.run(2);
    world.say(0, vouch(6));
    world.run(4);
    for bundle in 1..4 {
        world.claim(bundle, fixtures::child_recipe(bundle));
        world.run(30);
    }
    let member = &world.state().members()[&peer(6)];
    assert!(member.membership == Membership::Full && member.admission.is_some());
    assert!(member.standing >= 5);
    assert!(is_spent(world.refusal(6, vouch(21))));
    assert_eq!(world.refusal(5, vouch(21)), None);
}
