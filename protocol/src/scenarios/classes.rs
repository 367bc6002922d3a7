//! Machines of several hardware classes on one network.

use super::world::{World, honest};
use crate::fixtures::{self, CLASS};
use crate::measurement::Measurement;
use crate::plan::Plan;
use crate::state::PENDING_ROUNDS_MAX;
use crate::verdict::Outcome;

fn on_class(plan: &Plan, class: &str) -> Option<Measurement> {
    let mut measurement = fixtures::measurement(plan, 1.3);
    measurement.environment.hardware_class = class.to_owned();
    Some(measurement)
}

#[test]
fn speed_waits_for_seats_of_the_class_and_quality_does_not() {
    // Two of the four peers that may be drawn have other machines, so a quorum of three never comes.
    let mut world =
        World::new(|number, plan| on_class(plan, if number < 3 { "other" } else { CLASS }));
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(120);
    let state = world.state().claim(claim).unwrap();
    let round = state.round(1).unwrap();
    assert_eq!(round.outcome(), Some(Outcome::Pending));
    let verdict = round.verdict.as_ref().unwrap();
    assert!(verdict.timed_by < 3 && verdict.attested_by.len() == 3);
    assert!(verdict.ratio.is_none() && verdict.perplexity_child_ppm.is_some());
    assert!(state.rounds.len() <= PENDING_ROUNDS_MAX);
    assert!(world.state().docket().next().is_none(), "it takes no place from others");
    assert_eq!(world.state().classes().of(fixtures::peer(1)), Some("other"));
}

#[test]
fn a_pending_claim_finds_its_class_among_the_others() {
    // Three of six have other machines; once they said so, the draw passes them over.
    let mut world = World::of(fixtures::genesis_of(7), |number, plan| {
        on_class(plan, if (1..4).contains(&number) { "other" } else { CLASS })
    });
    let claims: Vec<_> = [8, 9, 10]
        .map(|recipe| {
            let claim = world.claim(0, fixtures::child_recipe(recipe));
            world.run(120);
            claim
        })
        .into();
    for claim in claims {
        let state = world.state().claim(claim).unwrap();
        let first = state.rounds.iter().find(|round| round.outcome() != Some(Outcome::Pending));
        let verdict = first.unwrap().verdict.as_ref().unwrap();
        assert_eq!((verdict.outcome, verdict.timed_by), (Outcome::Accepted, 3));
    }
}

#[test]
fn an_unconfirmed_claim_enters_by_the_round_that_accepted_it() {
    // The first committee is of another class, the second accepts, nobody confirms.
    let mut world = World::of(fixtures::genesis_of(7), |_, plan| match plan.round.number {
        1 => on_class(plan, "other"),
        2 => on_class(plan, CLASS),
        _ => None,
    });
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(200);
    let state = world.state().claim(claim).unwrap();
    let outcomes: Vec<_> = state.rounds.iter().filter_map(|round| round.outcome()).collect();
    assert_eq!(outcomes[..3], [Outcome::Pending, Outcome::Accepted, Outcome::Inconclusive]);
    assert_eq!((state.decided_by, state.outcome()), (Some(2), Some(Outcome::Accepted)));
    assert!(!state.is_confirmed());
}

#[test]
fn a_machine_that_only_bears_the_name_says_nothing_about_speed() {
    let strange = std::rc::Rc::new(std::cell::Cell::new(false));
    let of_name = std::rc::Rc::clone(&strange);
    let mut world = World::new(move |number, plan| {
        let mut measurement = fixtures::measurement(plan, 1.3);
        if of_name.get() && number == 4 {
            measurement.environment.bandwidth_mb_s *= 100;
        }
        Some(measurement)
    });
    world.claim(0, fixtures::child_recipe(8));
    world.run(60);
    world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let known = world.state().classes().calibration(CLASS);
    assert!(known.rounds() >= 2 && known.base_tps().is_some());
    strange.set(true);
    let claim = world.claim(1, fixtures::child_recipe(10));
    world.run(60);
    let state = world.state().claim(claim).unwrap();
    let seated = state.rounds.iter().filter(|round| round.reveals.contains_key(&fixtures::peer(4)));
    for round in seated {
        let verdict = round.verdict.as_ref().unwrap();
        assert_eq!(verdict.timed_by, verdict.attested_by.len() - 1);
    }
}

#[test]
fn quiet_classes_measure_fewer_pairs() {
    let mut rules = fixtures::genesis();
    rules.measurement.pairs_min = 2;
    // Three seats that differ by a per cent could find three per cent with no number of pairs.
    rules.significance.tau_ppm = 1_000;
    let mut world = World::of(rules, |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let first = world.claim(0, fixtures::child_recipe(8));
    world.run(60);
    let second = world.claim(1, fixtures::child_recipe(9));
    world.run(60);
    let pairs = |claim| world.state().claim(claim).unwrap().round(1).unwrap().pairs;
    assert_eq!(pairs(first), 8, "nothing is known yet");
    assert!(pairs(second) < 8);
}

#[test]
fn names_that_are_no_class_are_refused() {
    for name in ["", "tab\t", "two words", "naïve", &"x".repeat(121)] {
        assert!(!crate::record::is_class_name(name), "{name:?}");
    }
    assert!(crate::record::is_class_name("discrete-nvidia-geforce-rtx-4090"));
    let world = honest(1.0);
    assert_eq!(world.state().classes().measured().count(), 0);
}
