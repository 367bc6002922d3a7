//! Seats that say otherwise than the rest of their committee.

use super::world::World;
use crate::fixtures;
use crate::gates::Gate;
use crate::genesis::{Genesis, Quorum};
use crate::ids::ClaimId;
use crate::measurement::Measurement;
use crate::membership::Disclosure;
use crate::plan::Plan;
use crate::record::{Body, Challenge};
use crate::standing::Rule;
use crate::state::{Finding, Purpose};
use crate::verdict::Outcome;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Enough members for committees of five, which can do without two.
fn wide() -> Genesis {
    let mut genesis = fixtures::genesis_of(16);
    genesis.committee.seats = 5;
    genesis.committee.frontier = Quorum { seats: 5, quorum: 3 };
    genesis.committee.seats_max = 5;
    genesis
}

/// Who measured in each round, in the order in which they did.
type Turns = Rc<RefCell<BTreeMap<u32, Vec<u8>>>>;

/// A world in which the first `liars(round)` seats of every round answer by `lie`, the others honestly
/// that the child is 30 % faster. Also returns who measured in each round.
fn divided(
    liars: impl Fn(u32) -> usize + 'static,
    lie: impl Fn(&Plan) -> Measurement + 'static,
) -> (World, Turns) {
    let turns = Turns::default();
    let seen = Rc::clone(&turns);
    let world = World::of(wide(), move |number, plan| {
        let mut turns = turns.borrow_mut();
        let turn = turns.entry(plan.round.number).or_default();
        turn.push(number);
        let lies = turn.len() <= liars(plan.round.number);
        Some(if lies { lie(plan) } else { fixtures::measurement(plan, 1.3) })
    });
    (world, seen)
}

fn broken_path(plan: &Plan) -> Measurement {
    let mut measurement = fixtures::measurement(plan, 1.3);
    fixtures::child(plan, &mut measurement).path_breaks = 1;
    measurement
}

fn outcomes(world: &World, claim: ClaimId) -> Vec<(&'static str, Outcome)> {
    let rounds = world.state().claim(claim).unwrap().rounds.iter();
    rounds.map(|round| (round.purpose.word(), round.outcome().unwrap())).collect()
}

fn contradictions(world: &World, seat: u8) -> u64 {
    let member = &world.state().members()[&fixtures::peer(seat)];
    member.account.tallies().get(&Rule::Contradicted).map_or(0, |tally| tally.count)
}

#[test]
fn a_lone_veto_costs_a_round_and_its_owner() {
    let (mut world, turns) = divided(|round| usize::from(round == 1), broken_path);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(120);
    assert_eq!(
        outcomes(&world, claim),
        [
            ("first", Outcome::Contested),
            ("first", Outcome::Accepted),
            ("frontier", Outcome::Accepted)
        ]
    );
    let state = world.state().claim(claim).unwrap();
    let liar = turns.borrow()[&1][0];
    let dissent = &state.round(1).unwrap().verdict.as_ref().unwrap().dissent;
    assert_eq!(dissent.len(), 1);
    assert_eq!((dissent[0].seat, dissent[0].gate), (fixtures::peer(liar), Gate::Path));
    assert!(state.verdict().unwrap().dissent.is_empty());
    assert_eq!(contradictions(&world, liar), 1);
    let seats = |round| state.round(round).unwrap().committee.seats.clone();
    assert!(seats(1).iter().all(|seat| !seats(2).contains(seat)), "an independent committee");
}

#[test]
fn a_quorum_decides_where_two_committees_are_divided() {
    let (mut world, turns) = divided(|_| 1, broken_path);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(200);
    assert_eq!(
        outcomes(&world, claim),
        [
            ("first", Outcome::Contested),
            ("first", Outcome::Accepted),
            ("frontier", Outcome::Contested),
            ("frontier", Outcome::Accepted)
        ]
    );
    let state = world.state().claim(claim).unwrap();
    let liar = turns.borrow()[&4][0];
    let entry = state.verdict().unwrap();
    assert_eq!(entry.dissent[0].seat, fixtures::peer(liar));
    assert_eq!(entry.attested_by.len(), 4, "the entry rests on the others");
    assert!(entry.gates.iter().all(|gate| gate.pass), "{:?}", entry.gates);
    assert!(contradictions(&world, liar) >= 1);
}

#[test]
fn a_committee_that_was_short_of_its_class_settles_no_division() {
    let lie = |plan: &Plan| {
        if plan.round.number != 2 {
            return broken_path(plan);
        }
        let mut measurement = fixtures::measurement(plan, 1.3);
        measurement.environment.hardware_class = "another".to_owned();
        measurement
    };
    let liars = |round| [0, 1, 5, 1].get(round as usize).copied().unwrap_or(0);
    let (mut world, turns) = divided(liars, lie);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(250);
    assert_eq!(
        outcomes(&world, claim),
        [
            ("first", Outcome::Contested),
            ("first", Outcome::Pending),
            ("first", Outcome::Accepted),
            ("frontier", Outcome::Accepted)
        ]
    );
    let turns = turns.borrow();
    let dissent = &world.state().claim(claim).unwrap().rounds[2].verdict.as_ref().unwrap().dissent;
    assert_eq!(dissent[0].seat, fixtures::peer(turns[&3][0]));
    for liar in [turns[&1][0], turns[&3][0]] {
        assert_eq!(contradictions(&world, liar), 1, "each is charged once");
    }
    let items: Vec<Vec<u8>> = world.items.iter().map(prost::Message::encode_to_vec).collect();
    world.audit(&items).unwrap();
}

#[test]
fn what_a_majority_finds_refutes_at_once() {
    for liars in [3, 5] {
        let (mut world, _) = divided(move |_| liars, broken_path);
        let claim = world.claim(0, fixtures::child_recipe(9));
        world.run(120);
        assert_eq!(outcomes(&world, claim), [("first", Outcome::Refuted)]);
    }
}

#[test]
fn a_dissent_that_is_borne_out_costs_nothing() {
    let (mut world, turns) = divided(|round| if round == 1 { 1 } else { 5 }, broken_path);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(120);
    let found = outcomes(&world, claim);
    assert_eq!(found, [("first", Outcome::Contested), ("first", Outcome::Refuted)]);
    let first = turns.borrow()[&1][0];
    assert_eq!(contradictions(&world, first), 0);
}

#[test]
fn a_wild_time_or_a_wild_divergence_sinks_nothing_either() {
    let slow = |plan: &Plan| fixtures::measurement(plan, 0.2);
    let wild = |plan: &Plan| {
        let mut measurement = fixtures::measurement(plan, 1.3);
        fixtures::rescore(plan, &mut measurement, &mut |score, _| {
            score.kl_micronats = u64::from(u32::MAX);
        });
        measurement
    };
    type Lie = fn(&Plan) -> Measurement;
    for (gate, lie) in [(Gate::Speed, slow as Lie), (Gate::Quality, wild as Lie)] {
        let (mut world, turns) = divided(|round| usize::from(round == 1), lie);
        let claim = world.claim(0, fixtures::child_recipe(9));
        world.run(120);
        let state = world.state().claim(claim).unwrap();
        assert_eq!(outcomes(&world, claim)[0], ("first", Outcome::Contested), "{gate:?}");
        assert_eq!(state.outcome(), Some(Outcome::Accepted), "{gate:?}");
        assert_eq!(state.round(1).unwrap().verdict.as_ref().unwrap().dissent[0].gate, gate);
        // Figures are noisy, so that being off by them is no false count.
        assert_eq!(contradictions(&world, turns.borrow()[&1][0]), 0, "{gate:?}");
    }
}

#[test]
fn one_seat_cannot_debunk_an_entry() {
    let (mut world, turns) = divided(|round| usize::from(round == 3), broken_path);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(120);
    assert_eq!(outcomes(&world, claim).len(), 2);
    world.say(1, Body::Challenge(Challenge { claim, reason: "I doubt it".to_owned() }));
    world.run(120);
    let state = world.state().claim(claim).unwrap();
    let [.., third, fourth] = state.rounds.as_slice() else { panic!("four rounds") };
    assert_eq!(third.outcome(), Some(Outcome::Contested));
    assert_eq!((third.finding, fourth.finding), (None, Some(Finding::Upheld)));
    assert_eq!(third.purpose, fourth.purpose);
    assert!(matches!(fourth.purpose, Purpose::Challenge { .. }));
    assert!(state.stands());
    assert_eq!(contradictions(&world, turns.borrow()[&3][0]), 1);
    let items: Vec<Vec<u8>> = world.items.iter().map(prost::Message::encode_to_vec).collect();
    world.audit(&items).unwrap();
}

#[test]
fn one_seat_cannot_move_a_claim_out_of_the_lossless_track() {
    let lie = |plan: &Plan| {
        let mut measurement = fixtures::measurement(plan, 1.3);
        fixtures::child(plan, &mut measurement).identity_breaks = 1;
        measurement
    };
    let (mut world, _) = divided(|_| 1, lie);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(200);
    let entry = world.state().claim(claim).unwrap().verdict().unwrap();
    assert!(entry.lossless && entry.outcome == Outcome::Accepted);
    assert_eq!(entry.dissent[0].gate, Gate::Identity);

    let (mut world, _) = divided(|_| 3, lie);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(200);
    let entry = world.state().claim(claim).unwrap().verdict().unwrap();
    assert!(!entry.lossless && entry.outcome == Outcome::Accepted && entry.dissent.is_empty());
}

/// The measurement of a machine of another class than the claim's.
fn elsewhere(mut measurement: Measurement) -> Measurement {
    measurement.environment.hardware_class = "other".to_owned();
    measurement
}

#[test]
fn what_breaks_on_another_class_alone_charges_nobody() {
    let lies: [fn(&Plan) -> Measurement; 2] = [broken_path, |plan| elsewhere(broken_path(plan))];
    for (lie, charged) in lies.into_iter().zip([1, 0]) {
        let (mut world, turns) = divided(|round| usize::from(round == 1), lie);
        let claim = world.claim(0, fixtures::child_recipe(9));
        world.run(120);
        let found = outcomes(&world, claim);
        assert_eq!(found[..2], [("first", Outcome::Contested), ("first", Outcome::Accepted)]);
        assert_eq!(contradictions(&world, turns.borrow()[&1][0]), charged);
    }
}

/// Committees of seven with a quorum of five, of which five seats are of the claim's class. In `round` one
/// of these answers by `lie`; the others find what `ratio` says of each round.
fn just_a_quorum_of_class(
    round: u32,
    lie: impl Fn(&Plan) -> Measurement + 'static,
    ratio: impl Fn(u32) -> f64 + 'static,
) -> World {
    let mut genesis = fixtures::genesis_of(14);
    genesis.committee.seats = 7;
    genesis.committee.quorum = 5;
    genesis.committee.frontier = Quorum { seats: 7, quorum: 5 };
    genesis.committee.seats_max = 7;
    let turns = Turns::default();
    World::of(genesis, move |number, plan| {
        let mut turns = turns.borrow_mut();
        let turn = turns.entry(plan.round.number).or_default();
        turn.push(number);
        let honest = fixtures::measurement(plan, ratio(plan.round.number));
        Some(match turn.len() {
            1 if plan.round.number == round => lie(plan),
            1..=5 => honest,
            _ => elsewhere(honest),
        })
    })
}

#[test]
fn too_few_to_time_a_claim_do_not_speak_for_it() {
    // The liar's figure is far off, and without it too few of the class are left to say how fast it is.
    let slow = |plan: &Plan| fixtures::measurement(plan, 0.5);
    let mut world = just_a_quorum_of_class(1, slow, |_| 1.0);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(120);
    assert_eq!(outcomes(&world, claim), [("first", Outcome::Refuted)]);

    // Nor do they protect an entry that became slow.
    let ratio = |round| if round < 3 { 1.3 } else { 1.0 };
    let mut world = just_a_quorum_of_class(3, slow, ratio);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(160);
    assert!(world.state().claim(claim).unwrap().is_confirmed());
    world.say(1, Body::Challenge(Challenge { claim, reason: "I find no gain".to_owned() }));
    world.run(120);
    let third = world.state().claim(claim).unwrap().round(3).unwrap();
    assert_eq!((third.outcome(), third.finding), (Some(Outcome::Refuted), Some(Finding::Debunked)));
}

#[test]
fn too_few_to_time_a_claim_that_see_its_gain_are_heard() {
    let mut world = just_a_quorum_of_class(1, broken_path, |_| 1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(160);
    assert_eq!(
        outcomes(&world, claim),
        [
            ("first", Outcome::Contested),
            ("first", Outcome::Accepted),
            ("frontier", Outcome::Accepted)
        ]
    );
}

#[test]
fn telling_of_a_trick_once_it_is_doubted_is_too_late() {
    let lie = |plan: &Plan| {
        let mut measurement = fixtures::measurement(plan, 1.3);
        fixtures::child(plan, &mut measurement).reach_breaks = 3;
        measurement
    };
    // The first committee that looks again is divided, the second is not.
    let liars = |round| [0, 0, 0, 2, 5][usize::try_from(round).unwrap()];
    for before_the_doubt in [true, false] {
        let (mut world, _) = divided(liars, lie);
        let claim = world.claim(0, fixtures::child_recipe(9));
        world.run(120);
        let rounds = |world: &World| world.state().claim(claim).unwrap().rounds.len();
        assert_eq!(rounds(&world), 2);
        let before = world.state().members()[&fixtures::peer(0)].standing;
        let challenge = Challenge { claim, reason: "the head is pruned".to_owned() };
        let text = "it prunes the head now and then".to_owned();
        let told = Disclosure { claim: Some(claim), text, evidence: None };
        let mut say = [Body::Challenge(challenge), Body::Disclosure(told)].map(Some);
        let order = if before_the_doubt { [(0, 1), (1, 0)] } else { [(1, 0), (0, 1)] };
        for (author, index) in order {
            world.say(author, say[index].take().unwrap());
            world.settle_effects();
            assert!(world.order_block());
        }
        assert_eq!(rounds(&world), 3, "told while the divided committee measures, or before");
        world.run(160);
        let rounds = outcomes(&world, claim);
        assert_eq!(
            rounds[2..],
            [("challenge", Outcome::Contested), ("challenge", Outcome::Refuted)]
        );
        let after = world.state().members()[&fixtures::peer(0)].standing;
        assert_eq!(before - after, if before_the_doubt { 0 } else { 5 });
    }
}

#[test]
fn a_contested_round_uses_up_no_try_at_the_front() {
    let turns = Turns::default();
    let mut world = World::of(wide(), move |number, plan| {
        let mut turns = turns.borrow_mut();
        let turn = turns.entry(plan.round.number).or_default();
        turn.push(number);
        match plan.round.number {
            2 if turn.len() == 1 => Some(broken_path(plan)),
            3 => None,
            _ => Some(fixtures::measurement(plan, 1.3)),
        }
    });
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(300);
    assert_eq!(
        outcomes(&world, claim),
        [
            ("first", Outcome::Accepted),
            ("frontier", Outcome::Contested),
            ("frontier", Outcome::Inconclusive),
            ("frontier", Outcome::Accepted)
        ]
    );
    assert!(world.state().claim(claim).unwrap().is_confirmed());
}
