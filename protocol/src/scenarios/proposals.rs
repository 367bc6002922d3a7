//! Proposals, votes, and rounds before and after a change.

use super::world::World;
use crate::error::Reject;
use crate::fixtures::{self, key, peer};
use crate::genesis::Genesis;
use crate::ids::RecordId;
use crate::parameter::{Parameter, Proposal, Voice};
use crate::peer::{Heard, Input};
use crate::record::Body;
use crate::state::{Count, PROPOSALS_OPEN_MAX, PROPOSALS_PER_OPERATOR_MAX, Resolution, State};
use crate::verdict::Outcome;
use crate::wire;
use assay_proto::v1;
use prost::Message;

const WINDOW_MS: u64 = 30_000;

/// The child of every claim is 4 % faster, which is more than 1 % and not significantly more than 3 %.
fn world() -> World {
    of(fixtures::genesis())
}

fn of(genesis: Genesis) -> World {
    World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.04)))
}

fn change(parameter: Parameter, value: u64) -> Body {
    Body::Proposal(Proposal { parameter, value, why: "fewer ties".to_owned(), epoch: 0 })
}

/// Orders a proposal of a member's, and says its name.
fn propose(world: &mut World, author: u8, parameter: Parameter, value: u64) -> RecordId {
    let network = world.state().network();
    let record = wire::sign(network, &key(author), change(parameter, value));
    let id = record.id;
    world.input(author.into(), Input::Own(Box::new(record)));
    world.settle_effects();
    assert!(world.order_block());
    id
}

fn voice(proposal: RecordId, yes: bool) -> Body {
    Body::Voice(Voice { proposal, yes })
}

/// Orders what members say about a proposal.
fn vote(world: &mut World, proposal: RecordId, voices: &[(u8, bool)]) {
    for (number, yes) in voices {
        world.say(*number, voice(proposal, *yes));
    }
    world.settle_effects();
    assert!(world.order_block());
}

/// Lets the window pass and the delay after it.
fn pass(world: &mut World) {
    world.now_ms += WINDOW_MS;
    world.run(8);
}

fn resolution(world: &World, proposal: RecordId) -> Option<Resolution> {
    world.state().proposal(proposal).unwrap().resolution
}

fn audit(world: &World) {
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    assert_eq!(world.audit(&items).unwrap().head(), world.state().head());
}

fn first_outcome(world: &World, claim: crate::ids::ClaimId) -> Option<Outcome> {
    world.state().claim(claim).unwrap().rounds[0].outcome()
}

#[test]
fn an_adopted_value_judges_the_claims_after_it() {
    let mut world = world();
    let before = world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    assert_eq!(world.outcome(before), Some(Outcome::Accepted));

    let id = propose(&mut world, 1, Parameter::Eta, 30_000);
    vote(&mut world, id, &[(0, true), (1, true), (2, true), (3, false)]);
    let open = world.state().proposal(id).unwrap().clone();
    assert_eq!((open.before, open.word()), (10_000, "open"));
    assert_eq!(open.until_ms, Some(world.state().time_ms() - 50 + WINDOW_MS + 50));
    let standing = |number: u8| world.state().members()[&peer(number)].standing;
    let (yes, no) = (standing(0) + standing(1) + standing(2), standing(3));
    let count = Count { yes, no, all: yes + no + standing(4) };
    assert_eq!(world.state().count(&open), count);

    world.now_ms += WINDOW_MS;
    assert!(world.state().wants_block(world.now_ms));
    assert!(world.order_block());
    let decided = world.state().proposal(id).unwrap().clone();
    assert_eq!((decided.resolution, decided.count), (Some(Resolution::Adopted), Some(count)));
    assert_eq!(decided.effective_at, Some(world.state().height() + 3));
    for left in (0..3).rev() {
        assert_eq!(world.state().parameters().significance.eta_ppm, 10_000);
        assert!(world.state().wants_block(world.now_ms), "the value waits for its height");
        assert!(world.order_block());
        assert_eq!(world.state().parameters() == world.state().genesis(), left > 0);
    }
    assert!(!world.state().wants_block(world.now_ms));
    assert_eq!(world.state().parameters().significance.eta_ppm, 30_000);
    assert_eq!(world.state().genesis(), &fixtures::genesis(), "what names the network stays");
    let amendments: Vec<_> = world.state().amendments().map(|(at, by)| (at, by.id)).collect();
    assert_eq!(amendments, [(world.state().height(), id)]);

    let after = world.claim(0, fixtures::child_recipe(8));
    world.run(20);
    assert_eq!(world.outcome(after), Some(Outcome::Refuted), "4 % is not 3 % for sure");
    audit(&world);
}

#[test]
fn an_open_round_keeps_the_numbers_of_its_call() {
    let mut genesis = fixtures::genesis();
    genesis.voting.delay_blocks = 1;
    let mut world = of(genesis);
    let eta = propose(&mut world, 1, Parameter::Eta, 30_000);
    vote(&mut world, eta, &[(0, true), (1, true), (2, true), (3, true)]);
    let seal = propose(&mut world, 2, Parameter::SealMs, 20_000);
    vote(&mut world, seal, &[(0, true), (1, true), (2, true), (3, true)]);
    world.now_ms += WINDOW_MS;
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.settle_effects();
    assert!(world.order_block() && world.order_block());
    assert_eq!(world.state().parameters().significance.eta_ppm, 30_000);
    assert_eq!(world.state().parameters().committee.seal_ms, 20_000);
    let called_at = world.state().claim(claim).unwrap().rounds[0].called_at.unwrap();
    assert_eq!(called_at + 1, world.state().height(), "called under the old values");
    assert!(world.order_block(), "drawn under the new");
    let state = world.state();
    let round = state.claim(claim).unwrap().open_round().unwrap();
    assert_eq!(state.parameters_of(round), &State::new(state.genesis().clone()).genesis().clone());
    let until_ms = match round.phase {
        crate::state::Phase::Sealing { until_ms, .. } => until_ms,
        phase => panic!("{phase:?}"),
    };
    assert_eq!(until_ms, state.time_ms() + 60_000, "the time to seal too");
    world.run(20);
    assert_eq!(first_outcome(&world, claim), Some(Outcome::Accepted));
    assert_eq!(world.outcome(claim), Some(Outcome::Refuted), "by a round called under the new");
    audit(&world);
}

#[test]
fn too_few_or_too_many_against_reject() {
    for (voices, expected) in [
        (&[(0, true), (1, true)][..], Resolution::Rejected),
        (&[(0, true), (1, true), (2, false), (3, false)], Resolution::Rejected),
        (&[], Resolution::Rejected),
        (&[(0, true), (1, true), (2, true)], Resolution::Adopted),
        (&[(0, true), (1, true), (2, true), (3, true), (4, false)], Resolution::Adopted),
    ] {
        let mut world = world();
        let id = propose(&mut world, 0, Parameter::Reserves, 0);
        if !voices.is_empty() {
            vote(&mut world, id, voices);
        }
        pass(&mut world);
        assert_eq!(resolution(&world, id), Some(expected), "{voices:?}");
        let reserves = world.state().parameters().committee.reserves;
        assert_eq!(reserves, u32::from(expected == Resolution::Rejected));
        audit(&world);
    }
}

#[test]
fn a_voice_counts_once_in_time_and_of_a_member() {
    let mut world = world();
    let id = propose(&mut world, 0, Parameter::Reserves, 2);
    let unknown = RecordId([9; 32]);
    assert_eq!(world.refusal(1, voice(unknown, true)), Some(Reject::UnknownProposal(unknown)));
    assert_eq!(world.refusal(1, voice(id, true)), None);
    assert_eq!(world.refusal(7, voice(id, true)), Some(Reject::NotMember(peer(7))));
    vote(&mut world, id, &[(1, false)]);
    for yes in [false, true] {
        assert_eq!(world.refusal(1, voice(id, yes)), Some(Reject::Repeated(peer(1))));
    }
    pass(&mut world);
    assert_eq!(world.refusal(2, voice(id, true)), Some(Reject::ProposalOver(id)));
    assert_eq!(world.refusal(1, voice(id, true)), Some(Reject::ProposalOver(id)));

    // A peer that is a block behind keeps what it cannot judge.
    let network = world.state().network();
    let early = wire::sign(network, &key(2), voice(unknown, true)).to_gossip();
    assert_eq!(world.peers[3].hear(&early, &mut Vec::new()), Heard::Fresh);
    let late = wire::sign(network, &key(2), voice(id, true)).to_gossip();
    let over = Heard::Useless(Reject::ProposalOver(id));
    assert_eq!(world.peers[3].hear(&late, &mut Vec::new()), over);
}

#[test]
fn members_of_one_operator_have_one_voice_with_the_weight_of_its_best() {
    let mut genesis = fixtures::genesis_of(7);
    for number in [0, 5, 6] {
        genesis.members[number].operator = "many".to_owned();
        genesis.members[number].standing = 500;
    }
    let mut world = of(genesis);
    let weights = world.state().voice_weights();
    assert_eq!((weights.len(), weights["many"]), (5, 20), "a third of 60");
    let id = propose(&mut world, 0, Parameter::Reserves, 2);
    vote(&mut world, id, &[(5, true)]);
    for sybil in [0, 6] {
        let refusal = world.refusal(sybil, voice(id, true));
        assert_eq!(refusal, Some(Reject::OperatorSpoke(peer(5))));
    }
    let count = world.state().count(world.state().proposal(id).unwrap());
    assert_eq!(count, Count { yes: 20, no: 0, all: 60 });
    pass(&mut world);
    assert_eq!(resolution(&world, id), Some(Resolution::Rejected));

    // Its members have no more proposals than another operator's one.
    for value in 3..3 + PROPOSALS_PER_OPERATOR_MAX as u64 {
        propose(&mut world, 0, Parameter::Reserves, value);
    }
    let full = Some(Reject::ProposalsFull(PROPOSALS_PER_OPERATOR_MAX));
    assert_eq!(world.refusal(6, change(Parameter::Reserves, 9)), full);
    assert_eq!(world.refusal(1, change(Parameter::Reserves, 9)), None);
}

#[test]
fn proposals_have_their_limits() {
    let mut world = world();
    let unfit = |world: &World, parameter, value| {
        matches!(world.refusal(1, change(parameter, value)), Some(Reject::Unproposable(_)))
    };
    assert!(unfit(&world, Parameter::Eta, 10_000), "it is so already");
    assert!(unfit(&world, Parameter::NullShare, 500_001), "out of range");
    assert!(unfit(&world, Parameter::Eta, 30_001), "more than the gain that is planned for");
    assert!(unfit(&world, Parameter::Seats, 2), "fewer than the quorum");
    assert!(unfit(&world, Parameter::Seats, 1 << 32), "no number of seats");
    assert_eq!(world.refusal(7, change(Parameter::Gain, 40_000)), Some(Reject::NotMember(peer(7))));
    let of_epoch = |epoch| {
        let why = "later".to_owned();
        Body::Proposal(Proposal { parameter: Parameter::Gain, value: 40_000, why, epoch })
    };
    let (said, epoch) = (1, 0);
    let refused = Some(Reject::ProposalEpoch { said, epoch });
    assert_eq!(world.refusal(1, of_epoch(said)), refused);

    let id = propose(&mut world, 1, Parameter::Gain, 40_000);
    let again = change(Parameter::Gain, 40_000);
    assert_eq!(world.refusal(1, again.clone()), Some(Reject::Repeated(peer(1))));
    assert_eq!(world.refusal(2, again), Some(Reject::Proposed(id)));
    assert_eq!(world.refusal(2, change(Parameter::Gain, 40_001)), None);
    pass(&mut world);
    let replayed = world.refusal(1, change(Parameter::Gain, 40_000));
    assert_eq!(replayed, Some(Reject::Repeated(peer(1))), "a rejected one is not made again");
    assert_eq!(world.refusal(2, change(Parameter::Gain, 40_000)), None);

    let mut genesis = fixtures::genesis_of(9);
    genesis.members[8].standing = 1;
    let mut world = of(genesis);
    let low = world.refusal(8, change(Parameter::Reserves, 2));
    assert_eq!(low, Some(Reject::Standing { peer: peer(8), needed: 2 }));
    for number in 0..PROPOSALS_OPEN_MAX {
        let author = u8::try_from(number % 8).unwrap();
        propose(&mut world, author, Parameter::Reserves, number as u64 + 2);
    }
    assert_eq!(world.state().open_proposals().count(), PROPOSALS_OPEN_MAX);
    let full = world.refusal(0, change(Parameter::Reserves, 60));
    assert_eq!(full, Some(Reject::ProposalsFull(PROPOSALS_PER_OPERATOR_MAX)));
    let mut newcomer = world.state().members()[&peer(0)].as_ref().clone();
    newcomer.operator = "somebody else".to_owned();
    let mut state = world.state().clone();
    state.members.insert(peer(9), newcomer.into());
    let record = wire::sign(state.network(), &key(9), change(Parameter::Reserves, 60));
    let full = crate::pool::applies(&state, &record).err();
    assert_eq!(full, Some(Reject::ProposalsFull(PROPOSALS_OPEN_MAX)));
}

#[test]
fn what_no_longer_fits_when_its_time_comes_is_void() {
    let mut world = world();
    let all = [(0, true), (1, true), (2, true), (3, true), (4, true)];
    let eta = propose(&mut world, 0, Parameter::Eta, 30_000);
    let gain = propose(&mut world, 1, Parameter::Gain, 20_000);
    vote(&mut world, eta, &all);
    vote(&mut world, gain, &all);
    pass(&mut world);
    assert_eq!(resolution(&world, eta), Some(Resolution::Adopted));
    assert_eq!(resolution(&world, gain), Some(Resolution::Void), "less than η is by then");
    let rules = &world.state().parameters().significance;
    assert_eq!((rules.eta_ppm, rules.gain_ppm), (30_000, 30_000));
    assert!(!world.state().wants_block(world.now_ms));
    audit(&world);
}

#[test]
fn the_state_root_covers_proposals_voices_and_the_numbers_in_force() {
    let mut world = world();
    let id = propose(&mut world, 0, Parameter::Reserves, 2);
    let state = world.state().clone();
    let with = |body| {
        let mut next = state.clone();
        let record = wire::sign(state.network(), &key(1), body);
        next.apply_record(&record, state.height() + 1).unwrap();
        next.root()
    };
    let roots = [state.root(), with(voice(id, true)), with(voice(id, false))];
    let other = with(change(Parameter::Reserves, 3));
    assert!(!roots.contains(&other) && roots[0] != roots[1] && roots[1] != roots[2]);
    assert_ne!(roots[0], roots[2]);

    // Whoever left has no voice any more; another genesis is another network, an amended one is not.
    vote(&mut world, id, &[(1, true), (2, true), (3, true)]);
    let mut left = world.state().clone();
    let leave = Body::Leave(crate::membership::Leave { joined_at: 0 });
    left.apply_record(&wire::sign(left.network(), &key(3), leave), left.height() + 1).unwrap();
    let proposal = left.proposal(id).unwrap();
    assert_eq!(left.count(proposal), Count { yes: 20, no: 0, all: 40 });
    let network = world.state().network();
    pass(&mut world);
    assert_eq!(world.state().parameters().committee.reserves, 2);
    assert_eq!(world.state().network(), network);
}

#[test]
fn hostile_proposals_and_voices_are_stopped_at_the_door() {
    let world = world();
    let network = world.state().network();
    let good = v1::Proposal { parameter: 19, value: 20_000, why: "ties".to_owned(), epoch: 0 };
    let open = |body: v1::record::Body| {
        let payload = v1::Record { body: Some(body) }.encode_to_vec();
        let signed = wire::sign_payload(network, &key(1), payload);
        wire::open(network, &signed.encode_to_vec())
    };
    let proposal = |proposal: v1::Proposal| open(v1::record::Body::Proposal(proposal));
    assert!(proposal(good.clone()).is_ok());
    for parameter in [0, 26, u32::MAX] {
        let refused = proposal(v1::Proposal { parameter, ..good.clone() });
        assert!(matches!(refused, Err(Reject::Field { field: "parameter", .. })));
    }
    for why in [String::new(), "  ".to_owned(), "a\nb".to_owned(), "x".repeat(201)] {
        let refused = proposal(v1::Proposal { why, ..good.clone() });
        assert!(matches!(refused, Err(Reject::Field { field: "why", .. })));
    }
    for bytes in [0, 31, 33] {
        let voice = v1::Voice { proposal: vec![1; bytes], yes: true };
        let refused = open(v1::record::Body::Voice(voice));
        assert!(matches!(refused, Err(Reject::Field { field: "proposal", .. })));
    }
}
