//! Newcomers, leavers and keys that contradict themselves.

use super::world::{World, validators};
use crate::certificate::{Slot, VoteKind, proposal_bytes, vote_bytes as ballot_bytes};
use crate::equivocation::{Ballot, BallotKind, DoubleVote, Equivocation};
use crate::error::Reject;
use crate::fixtures::{self, key, peer};
use crate::ids::{BlobHash, BlockHash, ClaimId, PeerId, RecordId, RoundId};
use crate::measurement::Measurement;
use crate::membership::{DISCLOSURE_BYTES_MAX, Disclosure, Join, Leave, NAME_BYTES_MAX, Vouch};
use crate::peer::{Heard, Input, Peer};
use crate::plan::{Arm, Plan};
use crate::pool::applies;
use crate::randomness::{vrf_keypair, vrf_public};
use crate::record::{Body, Opening, Record, Seal};
use crate::standing::Rule;
use crate::state::{DISCLOSURES_PER_CLAIM_MAX, Membership, State};
use crate::verdict::Outcome;
use crate::wire;
use assay_proto::v1;
use ed25519_dalek::Signer;
use prost::Message;
use std::cell::Cell;
use std::rc::Rc;

fn vouch(newcomer: u8, epoch: u64) -> Body {
    let (operator, name) = (format!("operator {newcomer}"), format!("node {newcomer}"));
    Body::Vouch(Vouch { peer: peer(newcomer), operator, name, epoch })
}

impl World {
    fn validators(&self) -> Vec<u8> {
        validators(&self.peers[0])
    }

    /// Lets a further node follow the ledger; its number is the next one.
    pub(super) fn follow(&mut self) -> u8 {
        let number = u8::try_from(self.peers.len()).unwrap();
        self.peers.push(Peer::new(peer(number), self.state().clone()));
        number
    }

    fn sign(&self, number: u8, body: Body) -> Record {
        wire::sign(self.state().network(), &key(number), body)
    }

    fn membership(&self, number: u8) -> Membership {
        self.state().members()[&peer(number)].membership
    }

    fn standing(&self, number: u8) -> u64 {
        self.state().members()[&peer(number)].standing
    }

    /// A sixth node, vouched for by node 0 and on probation.
    fn with_newcomer(measure: impl Fn(u8, &Plan) -> Option<Measurement> + 'static) -> Self {
        let mut world = Self::new(measure);
        assert_eq!(world.follow(), 5);
        world.say(0, vouch(5, 0));
        world.run(6);
        assert_eq!(world.membership(5), Membership::Probation { agreements: 0 });
        world
    }
}

#[test]
fn a_vouched_node_joins_by_itself_and_takes_part_on_probation() {
    let mut world = World::with_newcomer(|_, plan| Some(fixtures::measurement(plan, 1.3)));
    let admission = world.state().members()[&peer(5)].admission.unwrap();
    assert_eq!(admission.by, peer(0));
    assert!(admission.joined_at > 0 && admission.full_at.is_none());
    assert_eq!((world.standing(5), world.state().draw_weight(peer(5))), (1, 0));
    assert!(!world.state().validators().contains_key(&peer(5)));
    assert!(world.state().pending_vouches().is_empty());

    let claim = world.claim(5, fixtures::child_recipe(9));
    world.run(20);
    assert_eq!(world.outcome(claim), Some(Outcome::Accepted), "a newcomer may claim");
    let other = world.claim(1, fixtures::child_recipe(8));
    world.run(20);
    let committee = &world.state().claim(other).unwrap().rounds[0].committee;
    let drawn = committee.seats.iter().chain(&committee.reserves);
    assert!(drawn.count() == 4, "the four others, without the newcomer");
    assert_eq!(world.state().claim(other).unwrap().rounds[0].shadows.len(), 1);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    assert_eq!(world.audit(&items).unwrap().head(), world.state().head());
}

/// Newcomer 5 measures `ratio` beside seats that measure 1.3, on so many claims.
fn on_probation(ratio: f64, claims: u8) -> World {
    let mut world = World::with_newcomer(move |number, plan| {
        let ratio = if number == 5 { ratio } else { 1.3 };
        Some(fixtures::measurement(plan, ratio))
    });
    for bundle in 0..claims {
        world.claim(bundle % 5, fixtures::child_recipe(bundle + 1));
        world.run(20);
    }
    world
}

#[test]
fn a_newcomer_that_agrees_twice_is_drawn_like_anybody() {
    let world = on_probation(1.3, 1);
    assert_eq!(world.membership(5), Membership::Probation { agreements: 1 });
    let claim = world.state().claims().next().unwrap();
    let round = &claim.rounds[0];
    assert!(round.shadows[&peer(5)].agreed == Some(true) && !round.reveals.contains_key(&peer(5)));
    assert!(!round.verdict.as_ref().unwrap().attested_by.contains(&peer(5)));

    let world = on_probation(1.3, 3);
    assert_eq!(world.membership(5), Membership::Full);
    assert_eq!(world.state().draw_weight(peer(5)), world.standing(5));
    let admission = world.state().members()[&peer(5)].admission.unwrap();
    assert!(admission.full_at.unwrap() > admission.joined_at);
    assert!(!world.state().validators().contains_key(&peer(5)), "no validator's place is free");
    assert_eq!(world.refusal(5, vouch(6, 0)).map(|_| ()), Some(()), "standing is too low to vouch");
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    assert_eq!(world.audit(&items).unwrap().head(), world.state().head());
}

#[test]
fn a_newcomer_on_other_hardware_comes_in_by_what_it_counts() {
    // What breaks on its machine alone is neither for it nor against it.
    for (broken, expected) in [
        (0, Membership::Full),
        (1, Membership::Probation { agreements: 1 }),
        (2, Membership::Probation { agreements: 0 }),
    ] {
        let mut world = World::with_newcomer(move |number, plan| {
            let mut measurement = fixtures::measurement(plan, if number == 5 { 2.0 } else { 1.3 });
            if number == 5 {
                let child = if plan.child == Arm::X { plan.x } else { plan.y };
                let breaks = child.bundle.unwrap().0[0] > 2 - broken;
                measurement.environment.hardware_class = "other".to_owned();
                fixtures::child(plan, &mut measurement).path_breaks = breaks.into();
            }
            Some(measurement)
        });
        for bundle in 1..3 {
            world.claim(bundle, fixtures::child_recipe(bundle));
            world.run(20);
        }
        assert_eq!(world.membership(5), expected);
    }
}

#[test]
fn a_newcomer_that_measures_something_else_stays_on_probation() {
    let world = on_probation(2.0, 3);
    assert_eq!(world.membership(5), Membership::Probation { agreements: 0 });
    let rounds = world.state().claims().flat_map(|claim| &claim.rounds);
    let disagreed = rounds.filter(|round| {
        round.shadows.get(&peer(5)).is_some_and(|shadow| shadow.agreed == Some(false))
    });
    assert!(disagreed.count() >= 3);
    let claims = world.state().claims();
    assert!(claims.count() == 3, "and nobody's verdict waits for it");
}

#[test]
fn vouching_has_its_limits() {
    let world = World::with_newcomer(|_, _| None);
    let refusal = |number, body| world.refusal(number, body);
    assert_eq!(refusal(1, vouch(6, 0)), None);
    assert_eq!(refusal(1, vouch(5, 0)), Some(Reject::Member(peer(5))));
    assert_eq!(refusal(1, vouch(2, 0)), Some(Reject::Member(peer(2))));
    assert_eq!(refusal(0, vouch(5, 0)), Some(Reject::Repeated(peer(0))));
    assert_eq!(refusal(9, vouch(6, 0)), Some(Reject::NotMember(peer(9))));
    assert!(matches!(refusal(5, vouch(6, 0)), Some(Reject::MayNotVouch(_))), "on probation");
    assert!(matches!(refusal(1, vouch(6, 1)), Some(Reject::MayNotVouch(_))), "another epoch");
    let taken = Vouch { peer: peer(6), operator: "o".into(), name: "node 3".into(), epoch: 0 };
    assert_eq!(refusal(1, Body::Vouch(taken)), Some(Reject::NameTaken("node 3".to_owned())));

    let mut world = world;
    world.say(0, vouch(6, 0));
    world.run(3);
    assert!(matches!(world.refusal(0, vouch(7, 0)), Some(Reject::MayNotVouch(_))), "two an epoch");
    assert_eq!(world.refusal(1, vouch(6, 0)), Some(Reject::Vouched(peer(6))));
    let poor = |genesis: &mut crate::genesis::Genesis| genesis.members[1].standing = 4;
    let mut genesis = fixtures::genesis();
    poor(&mut genesis);
    let state = State::new(genesis);
    let record = wire::sign(state.network(), &key(1), vouch(6, 0));
    assert!(matches!(applies(&state, &record), Err(Reject::MayNotVouch(_))), "standing too low");

    // Nobody who has none in an epoch has one in the next.
    let mut genesis = fixtures::genesis();
    (genesis.membership.epoch_blocks, genesis.membership.vouches_per_epoch) = (1, 0);
    let state = State::new(genesis);
    let record = wire::sign(state.network(), &key(1), vouch(6, 1));
    assert!(matches!(applies(&state, &record), Err(Reject::MayNotVouch(_))), "none an epoch");
}

#[test]
fn nobody_comes_in_without_a_vouch_of_its_own() {
    let mut world = World::new(|_, _| None);
    let vrf = vrf_public(&vrf_keypair(&key(5).to_bytes()));
    let join = |vouch, vrf| Body::Join(Join { vouch, vrf });
    let stranger = join(RecordId([1; 32]), vrf);
    assert_eq!(world.refusal(5, stranger), Some(Reject::NotVouched(peer(5))));
    let word = world.sign(0, vouch(5, 0));
    let id = word.id;
    world.input(0, Input::Own(Box::new(word)));
    world.run(3);
    assert_eq!(world.refusal(5, join(RecordId([1; 32]), vrf)), Some(Reject::NotVouched(peer(5))));
    assert_eq!(world.refusal(6, join(id, vrf)), Some(Reject::NotVouched(peer(6))));
    let stolen = world.state().members()[&peer(2)].vrf;
    assert_eq!(world.refusal(5, join(id, stolen)), Some(Reject::RandomKey(stolen)));
    let nonsense = PeerId([0xff; 32]);
    assert_eq!(world.refusal(5, join(id, nonsense)), Some(Reject::RandomKey(nonsense)));
    assert_eq!(world.refusal(5, join(id, vrf)), None);

    // The fixtures' epochs have 100 blocks; a vouch lapses when the one after its own is over.
    let mut late = world.state().clone();
    late.drop_lapsed_vouches(199);
    assert_eq!(late.pending_vouches().len(), 1);
    late.drop_lapsed_vouches(200);
    assert!(late.pending_vouches().is_empty());
    assert_ne!(late.root(), world.state().root());
}

#[test]
fn a_member_leaves_once_and_keeps_its_account() {
    let mut world = World::with_newcomer(|_, _| None);
    let joined_at = world.state().members()[&peer(5)].joined_at();
    let farewell = Body::Leave(Leave { joined_at });
    let stale = Body::Leave(Leave { joined_at: joined_at + 1 });
    assert_eq!(world.refusal(5, stale), Some(Reject::Repeated(peer(5))));
    world.say(5, farewell.clone());
    world.run(3);
    assert_eq!(world.membership(5), Membership::Left);
    assert_eq!(world.refusal(5, farewell.clone()), Some(Reject::NotMember(peer(5))));

    world.say(1, vouch(5, 0));
    world.run(6);
    assert_eq!(world.membership(5), Membership::Probation { agreements: 0 });
    assert_eq!(world.refusal(5, farewell), Some(Reject::Repeated(peer(5))), "an old farewell");

    world.say(4, Body::Leave(Leave { joined_at: 0 }));
    world.run(3);
    assert_eq!(world.validators(), [0, 1, 2, 3]);
    let last = world.refusal(3, Body::Leave(Leave { joined_at: 0 }));
    assert_eq!(last, Some(Reject::LastValidators(4)));
}

/// Two machines with one key: both seal the same seat, each with a measurement of its own.
#[test]
fn a_seat_that_seals_twice_ends_its_key_and_its_seat_counts_as_silent() {
    // The one whose key is ended never measures by itself; the test speaks for it.
    let culprit = Rc::new(Cell::new(None));
    let silent = Rc::clone(&culprit);
    let mut world = World::new(move |number, plan| {
        (silent.get() != Some(number)).then(|| fixtures::measurement(plan, 1.3))
    });
    let claim = world.claim(0, fixtures::child_recipe(9));
    for _ in 0..3 {
        world.settle_effects();
        world.order_block();
    }
    let seats = world.state().claim(claim).unwrap().rounds[0].committee.seats.clone();
    let number = (0..5).find(|number| peer(*number) == seats[0]).unwrap();
    culprit.set(Some(number));
    let culprit = number;
    let round = RoundId { claim, number: 1 };
    let seal = |commitment| Body::Seal(Seal { round, commitment });
    let (one, other) = (world.sign(culprit, seal([1; 32])), world.sign(culprit, seal([2; 32])));
    let mut effects = Vec::new();
    assert_eq!(world.peers[0].hear(&one.signed.encode_to_vec(), &mut effects), Heard::Fresh);
    // Seals of rounds that it has no seat in push nothing out of sight.
    for number in 2..60 {
        let round = RoundId { claim, number };
        let stray = world.sign(culprit, Body::Seal(Seal { round, commitment: [3; 32] }));
        world.peers[0].hear(&stray.signed.encode_to_vec(), &mut effects);
    }
    assert_eq!(world.peers[0].hear(&other.signed.encode_to_vec(), &mut effects), Heard::Fresh);
    world.effects.extend(effects.into_iter().map(|effect| (0, effect)));
    world.run(40);

    assert_eq!(world.membership(culprit), Membership::Ended);
    assert_eq!((world.standing(culprit), world.state().draw_weight(peer(culprit))), (0, 0));
    assert_eq!(world.validators().len(), 4, "four remain, and they go on");
    assert!(!world.validators().contains(&culprit));
    let state = world.state().claim(claim).unwrap();
    assert_eq!(state.outcome(), Some(Outcome::Accepted), "a reserve stepped in");
    assert!(!state.rounds[0].seals.contains_key(&peer(culprit)));
    let again = vouch(culprit, 0);
    assert_eq!(world.refusal(0, again), Some(Reject::KeyEnded(peer(culprit))));
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    assert_eq!(world.audit(&items).unwrap().head(), world.state().head());
}

#[test]
fn whoever_vouched_for_an_ended_key_answers_for_it() {
    let mut world = World::with_newcomer(|_, _| None);
    let result = |ratio_ppm| {
        Body::Opening(Opening { claim: ClaimId([1; 32]), salt: [1; 32], ratio_ppm, null: false })
    };
    let proof = Equivocation::between(&world.sign(5, result(1)), &world.sign(5, result(2)));
    world.say(2, Body::Equivocation(Box::new(proof.clone().unwrap())));
    world.run(3);
    assert_eq!(world.membership(5), Membership::Ended);
    assert_eq!(world.standing(0), 1, "10 less 10, at the floor");
    let tally = world.state().members()[&peer(0)].tallies()[&Rule::VoucheeEnded];
    assert_eq!((tally.count, tally.points), (1, -9));
    let again = world.refusal(1, Body::Equivocation(Box::new(proof.unwrap())));
    assert_eq!(again, Some(Reject::Repeated(peer(5))));
}

#[test]
fn below_four_validators_an_ended_founder_keeps_its_ballot_and_a_newcomer_takes_it() {
    let mut state = State::new(fixtures::genesis());
    state.end_key(peer(4), 1).unwrap();
    assert_eq!(state.validators().len(), 4);
    state.end_key(peer(3), 1).unwrap();
    assert_eq!(state.validators().len(), 4, "one of the ended keys stays");
    let gone = [peer(3), peer(4)];
    assert_eq!(state.validators().keys().filter(|peer| gone.contains(peer)).count(), 1);
    assert_eq!(state.draw_weight(peer(3)) + state.draw_weight(peer(4)), 0);
}

fn ballot(slot: &Slot, number: u8, kind: BallotKind, block: Option<BlockHash>) -> Ballot {
    let message = match kind {
        BallotKind::Prevote => ballot_bytes(slot, VoteKind::Prevote, block),
        BallotKind::Precommit => ballot_bytes(slot, VoteKind::Precommit, block),
        BallotKind::Proposal(round) => proposal_bytes(slot, block.unwrap(), round),
    };
    Ballot { kind, block, signature: key(number).sign(&message).to_bytes() }
}

#[test]
fn a_validator_that_votes_twice_is_ended() {
    let mut world = World::new(|_, _| None);
    let network = world.state().network();
    let slot = Slot { network, era: 0, height: 7, round: 1 };
    let block = |n: u8| Some(BlockHash([n; 32]));
    let proof = |first: &Ballot, second: &Ballot| DoubleVote {
        validator: peer(4),
        era: 0,
        height: 7,
        round: 1,
        first: first.clone(),
        second: second.clone(),
    };
    let cast = |kind, block| ballot(&slot, 4, kind, block);
    let (one, two) = (cast(BallotKind::Prevote, None), cast(BallotKind::Prevote, block(2)));
    assert_eq!(proof(&one, &two).check(network), Ok(()));
    let proposals =
        (cast(BallotKind::Proposal(None), block(1)), cast(BallotKind::Proposal(Some(0)), block(1)));
    assert_eq!(proof(&proposals.0, &proposals.1).check(network), Ok(()));

    let later = cast(BallotKind::Precommit, block(2));
    let foreign = ballot(&slot, 3, BallotKind::Prevote, block(3));
    for (first, second) in [(&one, &one), (&two, &one), (&one, &later), (&one, &foreign)] {
        assert!(proof(first, second).check(network).is_err());
    }
    let mut nothing = proposals.0.clone();
    nothing.block = None;
    assert!(proof(&nothing, &proposals.1).check(network).is_err());
    let elsewhere = crate::ids::NetworkId([9; 32]);
    assert!(proof(&one, &two).check(elsewhere).is_err());

    world.say(1, Body::DoubleVote(Box::new(proof(&one, &two))));
    world.run(3);
    assert_eq!(world.membership(4), Membership::Ended);
    assert_eq!(world.validators(), [0, 1, 2, 3]);
}

#[test]
fn disclosures_stand_on_the_ledger_once_each() {
    let mut world = World::with_newcomer(|_, plan| Some(fixtures::measurement(plan, 1.3)));
    let claim = world.claim(1, fixtures::child_recipe(9));
    world.run(20);
    let told = |claim, text: &str| {
        Body::Disclosure(Disclosure { claim, text: text.to_owned(), evidence: None })
    };
    let root = world.state().root();
    world.say(1, told(Some(claim), "the gain comes from a shorter cache\nin prefill"));
    world.run(3);
    let height = world.state().height();
    assert_ne!(world.state().root(), root);
    assert!(world.state().is_self_disclosed(claim, height + 1));
    assert!(!world.state().is_self_disclosed(claim, 1), "told later than that");
    assert_eq!(world.refusal(1, told(Some(claim), "more")), Some(Reject::Repeated(peer(1))));
    let nowhere = ClaimId([9; 32]);
    assert_eq!(world.refusal(2, told(Some(nowhere), "x")), Some(Reject::UnknownClaim(nowhere)));
    assert_eq!(world.refusal(9, told(Some(claim), "x")), Some(Reject::NotMember(peer(9))));

    world.say(2, told(Some(claim), "seen elsewhere too"));
    world.say(2, told(None, "a trick that nobody claimed yet"));
    world.run(4);
    assert_eq!(world.state().disclosures_of(claim).count(), 2);
    assert_eq!(world.state().disclosures().count(), 3);
    let again = world.refusal(2, told(None, "another in the same epoch"));
    assert_eq!(again, Some(Reject::Repeated(peer(2))));
    const { assert!(DISCLOSURES_PER_CLAIM_MAX >= 4) };
}

/// Statements that no honest peer makes are refused at the door, at a cost to the sender.
#[test]
fn malformed_words_about_members_are_misbehaviour() {
    let mut world = World::new(|_, _| None);
    let sealed = |commitment| {
        Body::Seal(Seal { round: RoundId { claim: ClaimId([1; 32]), number: 1 }, commitment })
    };
    let (one, two) = (world.sign(1, sealed([1; 32])), world.sign(1, sealed([2; 32])));
    let foreign = world.sign(2, sealed([3; 32]));
    let slotless = world.sign(1, Body::Leave(Leave { joined_at: 0 }));
    assert!(Equivocation::between(&one, &one).is_none());
    assert!(Equivocation::between(&one, &foreign).is_none());
    assert!(Equivocation::between(&one, &slotless).is_none());
    let honest = Equivocation::between(&one, &two).unwrap();
    assert_eq!(Equivocation::between(&two, &one), Some(honest.clone()));
    let accusation = world.sign(2, Body::Equivocation(Box::new(honest.clone())));
    let bytes = accusation.signed.encode_to_vec();
    assert_eq!(wire::open(world.state().network(), &bytes), Ok(accusation.clone()));

    let (first, second) = if one.id < two.id { (&one, &two) } else { (&two, &one) };
    let pair = |first: &v1::SignedRecord, second: &v1::SignedRecord| {
        v1::record::Body::Equivocation(v1::Equivocation {
            first: Some(first.clone()),
            second: Some(second.clone()),
        })
    };
    let mut forged = second.signed.clone();
    forged.signature[0] ^= 1;
    let name = |name: &str, operator: &str| {
        v1::record::Body::Vouch(v1::Vouch {
            peer: vec![1; 32],
            operator: operator.to_owned(),
            name: name.to_owned(),
            epoch: 0,
        })
    };
    let told = |text: &str| {
        let text = text.to_owned();
        v1::record::Body::Disclosure(v1::Disclosure { text, ..Default::default() })
    };
    let bad = [
        pair(&second.signed, &first.signed),
        pair(&first.signed, &first.signed),
        pair(&first.signed, &foreign.signed),
        pair(&first.signed, &forged),
        pair(&accusation.signed, &accusation.signed),
        v1::record::Body::Equivocation(v1::Equivocation::default()),
        v1::record::Body::DoubleVote(v1::DoubleVote::default()),
        name("", "o"),
        name("n", ""),
        name(" n", "o"),
        name("n", "o\u{7}"),
        name(&"n".repeat(NAME_BYTES_MAX + 1), "o"),
        v1::record::Body::Join(v1::Join { vouch: vec![1; 31], vrf: vec![1; 32] }),
        told(""),
        told("\u{1b}[2J"),
        told(&"x".repeat(DISCLOSURE_BYTES_MAX + 1)),
        v1::record::Body::Disclosure(v1::Disclosure {
            claim: vec![1; 5],
            text: "x".to_owned(),
            evidence: BlobHash([1; 32]).to_vec(),
        }),
    ];
    for body in bad {
        let heard = hear_body(&mut world, 2, body.clone());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{body:?}: {heard:?}");
    }
}

/// Signs whatever a dishonest peer might and lets node 0 hear it.
fn hear_body(world: &mut World, author: u8, body: v1::record::Body) -> Heard {
    let signed = wire::sign_payload(
        world.state().network(),
        &key(author),
        v1::Record { body: Some(body) }.encode_to_vec(),
    );
    world.peers[0].hear(&signed.encode_to_vec(), &mut Vec::new())
}
