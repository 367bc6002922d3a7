//! Records from strangers, and what a record means in another place.

use super::world::{honest, vote};
use crate::error::Reject;
use crate::fixtures::{self, key};
use crate::ids::{ClaimId, PeerId, RecordId, RoundId};
use crate::membership::Return;
use crate::parameter::{Parameter, Proposal, Voice};
use crate::peer::Heard;
use crate::record::{Body, Challenge, Claim, Opening, Record, Reveal, Seal, reveal_seal};
use crate::ruling::{Appeal, Ballot, Judgement};
use crate::state::State;
use crate::wire;
use prost::Message;

#[test]
fn hostile_records_are_told_from_useless_ones() {
    let mut world = honest(1.3);
    let network = world.peers[0].network();
    let claim = |name: &str| {
        let summary = name.to_owned();
        let parent = fixtures::genesis().base_claim();
        Body::Claim(Claim {
            recipe: fixtures::child_recipe(1),
            parent,
            result_seal: [0; 32],
            summary,
            hardware_class: fixtures::CLASS.to_owned(),
            cites: Vec::new(),
        })
    };
    let mut hear = |bytes: &[u8]| world.peers[0].hear(bytes, &mut Vec::new());
    let good = wire::sign(network, &key(1), claim("fine")).signed.encode_to_vec();
    assert_eq!(hear(&good), Heard::Fresh);
    assert_eq!(hear(&good), Heard::Known);
    let stranger = wire::sign(network, &key(77), claim("stranger")).signed.encode_to_vec();
    assert!(matches!(hear(&stranger), Heard::Useless(_)));
    let elsewhere = wire::sign(crate::ids::NetworkId([1; 32]), &key(1), claim("x"));
    assert!(matches!(hear(&elsewhere.signed.encode_to_vec()), Heard::Misbehaviour(_)));
    let control = wire::sign(network, &key(1), claim("\u{1b}[2J")).signed.encode_to_vec();
    assert!(matches!(hear(&control), Heard::Misbehaviour(_)));
    for cut in 0..good.len() {
        assert!(matches!(hear(&good[..cut]), Heard::Misbehaviour(_)), "cut at {cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(hear(&longer), Heard::Misbehaviour(_)));
}

/// A seat whose record is damaged in flight is never taken for another's.
#[test]
fn a_copied_seal_does_not_open() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.settle_effects();
    for _ in 0..3 {
        world.order_block();
    }
    let state = world.peers[0].state();
    let claim = state.claim(claim).unwrap();
    let round = claim.open_round().unwrap();
    let seats: Vec<PeerId> = round.committee.seats.clone();
    let plan = state.plan(claim, round, seats[0]).unwrap();
    let measurement = fixtures::measurement(&plan, 1.3);
    let id = round.id(claim.id);
    let original = reveal_seal(id, seats[0], &[1; 32], &measurement);
    assert_ne!(original, reveal_seal(id, seats[1], &[1; 32], &measurement));
    let later = RoundId { number: 2, ..id };
    assert_ne!(original, reveal_seal(later, seats[0], &[1; 32], &measurement));
}

/// Bytes that decode as a record of each kind keep their meaning through the wire.
#[test]
fn records_read_back_what_was_signed() {
    let network = State::new(fixtures::genesis()).network();
    let round = RoundId { claim: ClaimId([2; 32]), number: 1 };
    let plan = {
        let genesis = fixtures::genesis();
        let subject = crate::plan::Subject {
            beacon: crate::ids::Beacon([1; 32]),
            round,
            pairs: genesis.measurement.pairs,
            parent: genesis.challenge.base,
            child: fixtures::child_recipe(1),
        };
        crate::plan::plan(&genesis, &subject, fixtures::peer(1))
    };
    let bodies = [
        Body::Seal(Seal { round, commitment: [3; 32] }),
        Body::Reveal(Box::new(Reveal {
            round,
            salt: [4; 32],
            measurement: fixtures::measurement(&plan, 1.1),
        })),
        Body::Opening(Opening { claim: ClaimId([2; 32]), salt: [5; 32], ratio_ppm: 7, null: true }),
        Body::Challenge(Challenge { claim: ClaimId([2; 32]), reason: "slower".to_owned() }),
        Body::Return(Return { silent_since: 9 }),
        Body::Ballot(Ballot {
            charge: RecordId([6; 32]),
            hearing: 2,
            vote: vote(Judgement::Unable),
        }),
        Body::Appeal(Appeal { charge: RecordId([6; 32]) }),
        Body::Proposal(Proposal {
            parameter: Parameter::Eta,
            value: u64::MAX,
            why: "too many ties".to_owned(),
            epoch: 3,
        }),
        Body::Voice(Voice { proposal: RecordId([6; 32]), yes: false }),
        Body::Voice(Voice { proposal: RecordId([6; 32]), yes: true }),
    ];
    for body in bodies {
        let record: Record = wire::sign(network, &key(1), body);
        assert_eq!(wire::open(network, &record.signed.encode_to_vec()), Ok(record));
    }
}

/// What a seat says counts for the round that it names, while that is open, and for no other.
#[test]
fn what_is_said_in_one_round_means_nothing_in_another() {
    let mut world = honest(1.3);
    let network = world.peers[0].network();
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.settle_effects();
    world.order_block();
    let state = world.peers[0].state().clone();
    let apply = |state: &State, body: Body| {
        crate::pool::applies(state, &wire::sign(network, &key(1), body))
    };
    let seal = |number| Body::Seal(Seal { round: RoundId { claim, number }, commitment: [1; 32] });
    let early = apply(&state, seal(1));
    assert_eq!(early, Err(Reject::Phase { claim, what: "seal" }), "nobody was drawn yet");
    let missing = RoundId { claim, number: 2 };
    assert_eq!(apply(&state, seal(2)), Err(Reject::UnknownRound(missing)));
    let zero = wire::sign(network, &key(1), seal(0)).signed.encode_to_vec();
    assert!(matches!(wire::open(network, &zero), Err(Reject::Field { field: "round", .. })));

    world.run(20);
    let state = world.peers[0].state().clone();
    let over = RoundId { claim, number: 1 };
    assert_eq!(apply(&state, seal(1)), Err(Reject::RoundOver(over)));
    let (_, round) = state.round(over).unwrap();
    let (seat, measurement) = round.reveals.iter().next().unwrap();
    let late = Reveal { round: over, salt: [0; 32], measurement: measurement.as_ref().clone() };
    let number = (0..5).find(|i| fixtures::peer(*i) == *seat).unwrap();
    let late = wire::sign(network, &key(number), Body::Reveal(Box::new(late)));
    assert_eq!(crate::pool::applies(&state, &late), Err(Reject::RoundOver(over)));
}
