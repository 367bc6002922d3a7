//! Validators that are not there, and come back.

use super::world::{World, validators};
use crate::error::Reject;
use crate::fixtures::{self, key, peer};
use crate::ids::RecordId;
use crate::membership::Return;
use crate::peer::Heard;
use crate::record::Body;
use crate::state::{Admission, State};
use crate::wire;
use prost::Message;
use std::sync::Arc;

/// A world in which members 0 to 2 make one claim after the other.
fn busy(founders: u8) -> World {
    let mut genesis = fixtures::genesis_of(founders);
    genesis.membership.silent_blocks = 8 * u64::from(founders);
    genesis.check().unwrap();
    World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.0)))
}

/// Orders about as many blocks as `claims` claims take.
fn work(world: &mut World, first: u8, claims: u8) {
    for number in first..first + claims {
        world.claim(number % 3, fixtures::child_recipe(number));
        world.run(30);
    }
}

#[test]
fn a_validator_that_lets_its_turns_pass_loses_its_place_until_it_is_back() {
    let mut world = busy(5);
    work(&mut world, 10, 3);
    assert_eq!(validators(&world.peers[0]), [0, 1, 2, 3, 4]);
    assert!(world.state().turns().silent.is_empty(), "everybody has its turns");
    world.set_absent(4, true);
    work(&mut world, 20, 10);
    assert_eq!(validators(&world.peers[0]), [0, 1, 2, 3]);
    let silent = &world.state().turns().silent;
    let (away, since) = silent.iter().next().unwrap();
    assert_eq!((*away, silent.len()), (peer(4), 1));
    assert!(*since > 40);
    assert!(world.state().active_member(*away).is_some(), "it stays a member");

    // Only it may come back, and only from this silence.
    let back = |silent_since| Body::Return(Return { silent_since });
    let since = *since;
    let refused = |world: &World, number, since| {
        let height = world.state().height();
        Some(Reject::NotSilent { peer: peer(number), since, height })
    };
    assert_eq!(world.refusal(1, back(since)), refused(&world, 1, since));
    assert_eq!(world.refusal(4, back(since - 1)), refused(&world, 4, since - 1));
    assert_eq!(world.refusal(4, back(since)), None);

    // It says so by itself.
    world.set_absent(4, false);
    work(&mut world, 40, 1);
    assert_eq!(validators(&world.peers[0]), [0, 1, 2, 3, 4]);
    let again = world.refusal(4, back(since));
    assert_eq!(again, refused(&world, 4, since), "no return counts twice");
    work(&mut world, 50, 8);
    assert_eq!(validators(&world.peers[0]), [0, 1, 2, 3, 4]);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    world.audit(&items).unwrap();
}

#[test]
fn no_more_are_dropped_than_a_network_can_spare() {
    let mut world = busy(6);
    world.set_absent(5, true);
    world.set_absent(4, true);
    world.set_absent(3, true);
    work(&mut world, 10, 16);
    assert_eq!(validators(&world.peers[0]).len(), 4);
    assert_eq!(world.state().turns().silent.len(), 2, "the third stays, though it is silent");
}

#[test]
fn a_return_that_is_ahead_of_a_peer_waits_and_an_old_one_does_not() {
    let mut world = busy(5);
    work(&mut world, 10, 1);
    let height = world.state().height();
    let network = world.state().network();
    let mut heard = |silent_since| {
        let record = wire::sign(network, &key(4), Body::Return(Return { silent_since }));
        world.peers[1].hear(&record.to_gossip(), &mut Vec::new())
    };
    assert_eq!(heard(height + 1), Heard::Fresh);
    let since = height;
    let refused = Reject::NotSilent { peer: peer(4), since, height };
    assert_eq!(heard(height), Heard::Useless(refused));
}

/// Lets members propose in turn for `blocks` blocks, but for `away`.
fn propose(state: &mut State, blocks: u64, away: u8) {
    for _ in 0..blocks {
        state.height += 1;
        let set = state.validators();
        let present: Vec<_> = set.into_keys().filter(|other| *other != peer(away)).collect();
        let turn = usize::try_from(state.height).unwrap() % present.len();
        state.take_turn(present[turn]);
    }
}

#[test]
fn silence_never_lowers_the_faults_that_validators_tolerate() {
    let mut genesis = fixtures::genesis_of(7);
    genesis.membership.silent_blocks = 56;
    let mut state = State::new(genesis);
    propose(&mut state, 100, 6);
    assert_eq!(state.turns().heard_at[&peer(6)], 1);
    assert!(state.turns().silent.is_empty(), "six tolerate one fault, seven two");
    assert_eq!(state.validators().len(), 7);

    let mut newcomer = state.members()[&peer(0)].as_ref().clone();
    newcomer.operator = "somebody else".to_owned();
    let (by, vouch) = (peer(0), RecordId([1; 32]));
    newcomer.admission = Some(Admission { by, vouch, joined_at: 50, full_at: Some(90) });
    state.members.insert(peer(7), Arc::new(newcomer));
    propose(&mut state, 1, 6);
    assert_eq!(state.turns().silent[&peer(6)], 101);
    assert!(!state.validators().contains_key(&peer(6)));
    assert_eq!((state.validators().len(), state.turns().heard_at[&peer(7)]), (7, 101));

    // Whoever took the place and falls silent itself keeps it, until the first is back.
    propose(&mut state, 100, 7);
    assert!(!state.turns().silent.contains_key(&peer(7)));
    state.apply_return(peer(6), Return { silent_since: 101 }).unwrap();
    propose(&mut state, 1, 7);
    assert!(state.turns().heard_at.contains_key(&peer(6)));
    assert!(!state.validators().contains_key(&peer(7)));
    assert_eq!(state.validators().len(), 7);
}
