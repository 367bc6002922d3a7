//! Flags that a committee decides: what they cost whom, and who may say what about them.

use super::posts::{said, with};
use super::world::{World, vote};
use crate::error::Reject;
use crate::fixtures::{self, key, peer};
use crate::genesis::Quorum;
use crate::ids::{BlobHash, ClaimId, RecordId};
use crate::membership::Disclosure;
use crate::peer::Input;
use crate::post::{Detail, Flag, PostBody};
use crate::record::Body;
use crate::ruling::{Appeal, Ballot, Charge, Decision, Judgement, Offence, Ruling};
use crate::standing::Rule;
use crate::state::{APPEAL_BLOCKS, CHARGES_PER_EPOCH_MAX};
use crate::wire;
use prost::Message;

/// Nine peers, of whom no committee has more than three seats and the appeal's four.
pub(super) fn world() -> World {
    let mut genesis = fixtures::genesis_of(9);
    genesis.committee.frontier = Quorum { seats: 4, quorum: 3 };
    genesis.committee.seats_max = 4;
    World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.3)))
}

pub(super) fn flag(rule: &str, subject: RecordId, evidence: Option<BlobHash>) -> PostBody {
    with(Detail::Flag(Flag { rule: rule.to_owned(), subject, evidence, sighting: None }))
}

impl World {
    /// A post of peer 1 and a flag of peer 2 on it, both ordered.
    fn accuse(&mut self) -> RecordId {
        let subject = self.publish(1, &said("come to my private channel"));
        assert!(self.order_block());
        let ruling = self.publish(2, &flag("off-channel", subject, None));
        assert!(self.order_block());
        ruling
    }

    pub(super) fn ruling(&self, id: RecordId) -> &Ruling {
        self.state().ruling(id).unwrap()
    }

    pub(super) fn points(&self, number: u8) -> u64 {
        self.state().members()[&peer(number)].standing
    }

    pub(super) fn count(&self, number: u8, rule: Rule) -> u64 {
        self.state().members()[&peer(number)].tallies().get(&rule).map_or(0, |tally| tally.count)
    }

    /// The numbers of a hearing's seats.
    fn judges(&self, id: RecordId, hearing: u32) -> Vec<u8> {
        let seats = &self.ruling(id).hearing(hearing).unwrap().seats;
        (0..9).filter(|number| seats.contains(&peer(*number))).collect()
    }

    pub(super) fn replays(&self) {
        let exported: Vec<Vec<u8>> = self.items.iter().map(Message::encode_to_vec).collect();
        assert_eq!(self.audit(&exported).unwrap().state(), self.state());
    }
}

#[test]
fn an_upheld_flag_costs_the_accused_and_credits_the_seats() {
    let mut world = world();
    let id = world.accuse();
    assert_eq!(world.ruling(id).word(), "open");
    assert_eq!(world.ruling(id).accused, peer(1));
    world.run(8);
    let ruling = world.ruling(id);
    assert_eq!((ruling.decision(), ruling.word()), (Some(Decision::Upheld), "upheld"));
    assert_eq!(world.points(1), 7);
    assert_eq!(world.points(2), 10);
    let judges = world.judges(id, 1);
    assert_eq!(judges.len(), 3);
    assert!(!judges.contains(&1) && !judges.contains(&2), "no side sits");
    assert!(judges.iter().all(|judge| world.points(*judge) == 11));
    assert_eq!(ruling.hearings[0].lost, 3);
    world.replays();
}

#[test]
fn a_dismissed_flag_costs_its_author_and_whoever_judged_otherwise() {
    for quorum in [2, 3] {
        let mut genesis = fixtures::genesis_of(9);
        genesis.committee.quorum = quorum;
        let mut world = World::of(genesis, |_, _| None);
        let id = world.accuse();
        while world.judges(id, 1).is_empty() {
            assert!(world.order_block());
        }
        let odd = world.judges(id, 1)[0];
        world.judge = Box::new(move |number, _| {
            vote(if number == odd { Judgement::Upheld } else { Judgement::Dismissed })
        });
        world.run(8);
        let decided = quorum == 2;
        let decision = if decided { Decision::Dismissed } else { Decision::Undecided };
        assert_eq!(world.ruling(id).decision(), Some(decision));
        // Two of three are no quorum of three: then nobody pays.
        assert_eq!(world.points(2), if decided { 8 } else { 10 });
        assert_eq!(world.points(odd), if decided { 8 } else { 10 });
        assert_eq!(world.points(1), 10);
        world.replays();
    }
}

#[test]
fn without_a_quorum_nothing_is_decided_and_the_subject_may_be_charged_again() {
    let mut world = world();
    let id = world.accuse();
    let subject = world.ruling(id).charge.subject;
    for number in 0..9 {
        world.mute(number);
    }
    world.run(30);
    assert_eq!(world.ruling(id).decision(), Some(Decision::Undecided));
    assert!((0..9).all(|number| world.points(number) == 10), "nobody pays");
    let appeal = world.refusal(1, Body::Appeal(Appeal { charge: id }));
    assert!(matches!(appeal, Some(Reject::Unappealable { .. })), "{appeal:?}");
    let again = world.publish(3, &flag("off-channel", subject, None));
    assert!(world.order_block());
    assert_eq!(world.ruling(again).by, peer(3));
    world.replays();
}

#[test]
fn seats_that_cannot_look_decide_nothing() {
    let mut world = world();
    world.judge = Box::new(|_, _| vote(Judgement::Unable));
    let id = world.accuse();
    world.run(8);
    assert_eq!(world.ruling(id).decision(), Some(Decision::Undecided));
    assert!((0..9).all(|number| world.points(number) == 10));
}

#[test]
fn an_appeal_that_succeeds_gives_back_what_was_taken() {
    let mut world = world();
    world.judge = Box::new(|_, case| {
        vote(if case.hearing == 1 { Judgement::Upheld } else { Judgement::Dismissed })
    });
    let id = world.accuse();
    let early = world.refusal(1, Body::Appeal(Appeal { charge: id }));
    assert!(matches!(early, Some(Reject::Unappealable { .. })), "{early:?}");
    world.run(8);
    assert_eq!(world.points(1), 7);
    for other in [2, 3] {
        let refusal = world.refusal(other, Body::Appeal(Appeal { charge: id }));
        assert!(matches!(refusal, Some(Reject::Unappealable { .. })), "{refusal:?}");
    }
    let first = world.judges(id, 1);
    world.say(1, Body::Appeal(Appeal { charge: id }));
    world.settle_effects();
    assert!(world.order_block());
    assert_eq!(world.ruling(id).word(), "appealed");
    assert_eq!(world.ruling(id).decision(), Some(Decision::Upheld), "it stands until then");
    world.run(8);
    assert_eq!(world.ruling(id).word(), "dismissed");
    assert_eq!((world.points(1), world.points(2)), (10, 8));
    assert_eq!(world.count(1, Rule::RulingReversed), 1);
    let second = world.judges(id, 2);
    assert_eq!(second.len(), 4);
    assert!(second.iter().all(|judge| !first.contains(judge)), "others look");
    assert!(first.iter().all(|judge| world.count(*judge, Rule::Misjudged) == 1));
    assert!(second.iter().all(|judge| world.count(*judge, Rule::Judged) == 1));
    let twice = world.refusal(2, Body::Appeal(Appeal { charge: id }));
    assert!(matches!(twice, Some(Reject::Unappealable { .. })), "{twice:?}");
    world.replays();
}

#[test]
fn whom_an_appeal_bears_out_gets_back_what_it_was_outvoted_for() {
    let mut genesis = fixtures::genesis_of(9);
    genesis.committee.quorum = 2;
    genesis.committee.frontier = Quorum { seats: 4, quorum: 3 };
    genesis.committee.seats_max = 4;
    let mut world = World::of(genesis, |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let id = world.accuse();
    while world.judges(id, 1).is_empty() {
        assert!(world.order_block());
    }
    let honest = world.judges(id, 1)[0];
    world.judge = Box::new(move |number, case| {
        let upheld = case.hearing == 1 && number != honest;
        vote(if upheld { Judgement::Upheld } else { Judgement::Dismissed })
    });
    world.run(8);
    assert_eq!(world.ruling(id).decision(), Some(Decision::Upheld));
    assert_eq!(world.points(honest), 8);
    world.say(1, Body::Appeal(Appeal { charge: id }));
    world.run(12);
    assert_eq!(world.ruling(id).word(), "dismissed");
    assert_eq!(world.points(honest), 10);
    for other in world.judges(id, 1).into_iter().filter(|judge| *judge != honest) {
        assert!(world.points(other) < 10, "one for deciding so, and two for having been wrong");
    }
    world.replays();
}

#[test]
fn a_post_can_be_charged_for_an_epoch_after_its_order_whatever_epoch_it_says() {
    let mut world = world();
    let epoch_blocks = world.state().genesis().membership.epoch_blocks;
    let mut state = world.state().clone();
    let network = state.network();
    let old = wire::sign_post(network, &key(1), &said("go elsewhere"), 0, None);
    // The first epoch's post is ordered in the second, and a post of the third drives it from memory
    // no sooner than the third is over.
    state.apply_record(&old, epoch_blocks + 1).unwrap();
    let next = wire::sign_post(network, &key(1), &said("next"), 2, None);
    state.apply_record(&next, 2 * epoch_blocks).unwrap();
    let charge = wire::sign_post(network, &key(2), &flag("off-channel", old.id, None), 2, None);
    assert_eq!(state.apply_record(&charge, 2 * epoch_blocks + 1), Ok(()));
    world.order_block();
}

#[test]
fn an_appeal_in_vain_costs_once_more_and_has_its_time() {
    let mut world = world();
    world.judge = Box::new(|_, _| vote(Judgement::Dismissed));
    let id = world.accuse();
    world.run(8);
    assert_eq!(world.points(2), 8);
    let state = world.state().clone();
    let decided = world.ruling(id).hearings[0].decided_at.unwrap();
    let appeal = wire::sign(state.network(), &key(2), Body::Appeal(Appeal { charge: id }));
    let at = |height| state.clone().apply_record(&appeal, height);
    assert_eq!(at(decided + APPEAL_BLOCKS), Ok(()));
    assert!(matches!(at(decided + APPEAL_BLOCKS + 1), Err(Reject::Unappealable { .. })));
    world.say(2, Body::Appeal(Appeal { charge: id }));
    world.run(8);
    assert_eq!(world.ruling(id).word(), "dismissed");
    assert_eq!(world.points(2), 6);
    assert_eq!(world.count(2, Rule::VainAppeal), 1);
    world.replays();
}

#[test]
fn who_may_charge_whom_with_what() {
    let mut world = world();
    let id = world.accuse();
    let subject = world.ruling(id).charge.subject;
    let refusal = |world: &World, author, body: &PostBody| {
        let record = world.post(author, body, None);
        crate::pool::applies(world.state(), &record).err()
    };
    let again = refusal(&world, 3, &flag("off-channel", subject, None));
    assert_eq!(again, Some(Reject::Charged { ruling: id, word: "open" }));
    world.run(8);
    let again = refusal(&world, 3, &flag("off-channel", subject, None));
    assert_eq!(again, Some(Reject::Charged { ruling: id, word: "upheld" }));
    let unknown = RecordId([9; 32]);
    let unsaid = refusal(&world, 3, &flag("off-channel", unknown, None));
    assert_eq!(unsaid, Some(Reject::UnknownPost(unknown)));
    let own = world.publish(3, &said("mine"));
    world.order_block();
    let self_flag = refusal(&world, 3, &flag("off-channel", own, None));
    assert!(matches!(self_flag, Some(Reject::Unchargeable(_))), "{self_flag:?}");
    // Other rules are for people to read: nothing opens.
    assert_eq!(refusal(&world, 3, &flag("rudeness", unknown, None)), None);
    // One peer has so many charges in an epoch.
    let mut posts = Vec::new();
    for number in 0..=CHARGES_PER_EPOCH_MAX {
        posts.push(world.publish(1, &said(&format!("post {number}"))));
        world.order_block();
    }
    let mut state = world.state().clone();
    let start = state.height() + 1;
    for (post, height) in posts.iter().zip(start..) {
        let charge = world.post(4, &flag("off-channel", *post, None), None);
        let result = state.apply_record(&charge, height);
        let spent = height == start + u64::from(CHARGES_PER_EPOCH_MAX);
        assert_eq!(matches!(result, Err(Reject::ChargesSpent { .. })), spent, "{result:?}");
        assert_eq!(result.is_ok(), !spent);
    }
}

#[test]
fn a_duplicate_names_an_older_claim_of_somebody_else_that_is_no_ancestor() {
    let mut world = world();
    let first = world.claim(0, fixtures::child_recipe(1));
    world.run(40);
    let child = world.claim_on(first, 1, fixtures::child_recipe(2));
    world.run(40);
    let copy = world.claim(3, fixtures::child_recipe(3));
    world.run(40);
    let body = |subject: ClaimId, earlier: Option<ClaimId>| {
        let evidence = earlier.map(|claim| BlobHash(claim.0));
        flag("duplicate", RecordId(subject.0), evidence)
    };
    let refusal = |world: &World, author, body: &PostBody| {
        crate::pool::applies(world.state(), &world.post(author, body, None)).err()
    };
    for (subject, earlier) in [(copy, None), (child, Some(first)), (first, Some(copy))] {
        let refused = refusal(&world, 5, &body(subject, earlier));
        assert!(matches!(refused, Some(Reject::Unchargeable(_))), "{refused:?}");
    }
    let null = world.submit(world.state().base_claim(), 6, fixtures::child_recipe(4), true);
    let early = refusal(&world, 5, &body(null, Some(first)));
    world.settle_effects();
    world.order_block();
    let early = early.or_else(|| refusal(&world, 5, &body(null, Some(first))));
    assert!(matches!(early, Some(Reject::Phase { .. } | Reject::UnknownClaim(_))), "{early:?}");
    world.run(40);
    let refused = refusal(&world, 5, &body(null, Some(first)));
    assert!(matches!(refused, Some(Reject::Unchargeable(_))), "{refused:?}");
    let nothing = ClaimId([9; 32]);
    let unknown = refusal(&world, 5, &body(copy, Some(nothing)));
    assert_eq!(unknown, Some(Reject::UnknownClaim(nothing)));
    // An author that told of it before the flag pays nothing.
    let mut state = world.state().clone();
    let told = Disclosure { claim: Some(copy), text: "a copy".to_owned(), evidence: None };
    for told in [None, Some(Body::Disclosure(told))] {
        let lost = if told.is_some() { 0 } else { 3 };
        if let Some(told) = told {
            state.apply_record(&wire::sign(state.network(), &key(3), told), 1).unwrap();
        }
        let mut state = state.clone();
        let height = state.height() + 1;
        let charge = world.post(5, &body(copy, Some(first)), None);
        state.apply_record(&charge, height).unwrap();
        let before = state.members()[&peer(3)].standing;
        state.advance(height + 2, 0);
        for seat in state.ruling(charge.id).unwrap().hearings[0].seats.clone() {
            let number = (0..9).find(|number| peer(*number) == seat).unwrap();
            let vote = vote(Judgement::Upheld);
            let ballot = Ballot { charge: charge.id, hearing: 1, vote };
            let record = wire::sign(state.network(), &key(number), Body::Ballot(ballot));
            state.apply_record(&record, height + 3).unwrap();
        }
        state.advance(height + 3, 0);
        let ruling = state.ruling(charge.id).unwrap();
        assert_eq!(ruling.decision(), Some(Decision::Upheld));
        assert_eq!(ruling.hearings[0].lost, lost);
        assert_eq!(state.members()[&peer(3)].standing, before - lost);
    }
}

/// In a network of five, a duplicate's two authors and a third that flags it leave two to judge.
#[test]
fn a_charge_needs_enough_members_that_are_no_party() {
    let mut world = world();
    let first = world.claim(0, fixtures::child_recipe(1));
    world.run(40);
    let copy = world.claim(3, fixtures::child_recipe(3));
    world.run(40);
    let mut state = world.state().clone();
    let members = state.validators().len();
    let rules = |rule, subject, evidence| Charge { rule, subject, evidence, sighting: None };
    let subject = RecordId(copy.0);
    let duplicate = rules(Offence::Duplicate, subject, Some(BlobHash(first.0)));
    let solicits = rules(Offence::OffChannel, subject, None);
    for (quorum, by, charge, enough) in [
        (members - 3, 5, &duplicate, true),
        (members - 2, 5, &duplicate, false),
        (members - 2, 0, &duplicate, true),
        (members - 2, 5, &solicits, true),
        (members - 1, 5, &solicits, false),
    ] {
        let rules = &mut std::sync::Arc::make_mut(&mut state.genesis).committee;
        rules.quorum = u32::try_from(quorum).unwrap();
        assert_eq!(state.has_judges(peer(by), peer(3), charge), enough, "{quorum} {by}");
    }
    let path = rules(Offence::Path, subject, None);
    assert!(state.has_judges(peer(5), peer(3), &path), "a measurement finds its own seats");
}

/// Otherwise a friend's charge with the wrong claim would protect a copy for ever.
#[test]
fn a_duplicate_that_repeats_not_one_claim_may_repeat_another() {
    let mut world = world();
    let [first, other, copy] = [1, 2, 3].map(|number| {
        let claim = world.claim(number, fixtures::child_recipe(number));
        world.run(40);
        claim
    });
    let evidence = |earlier: ClaimId| Some(BlobHash(earlier.0));
    let wrong = world.post(5, &flag("duplicate", RecordId(copy.0), evidence(other)), None);
    let mut state = world.state().clone();
    let height = state.height() + 1;
    state.apply_record(&wrong, height).unwrap();
    let ruling = state.ruling(wrong.id).unwrap();
    let decided = |decision| {
        let mut hearings = ruling.hearings.clone();
        hearings[0].decision = Some(decision);
        Ruling { hearings, ..ruling.clone() }
    };
    let again = |earlier| Charge { evidence: evidence(earlier), ..ruling.charge };
    assert!(ruling.bars(&again(first)) && ruling.bars(&again(other)), "one at a time");
    assert!(decided(Decision::Dismissed).bars(&again(other)));
    assert!(!decided(Decision::Dismissed).bars(&again(first)));
    assert!(decided(Decision::Upheld).bars(&again(first)));
    assert!(!decided(Decision::Undecided).bars(&again(other)));
}

#[test]
fn ballots_count_once_from_seats_and_while_the_hearing_is_open() {
    let mut world = world();
    let id = world.accuse();
    let ballot =
        |hearing, finding| Body::Ballot(Ballot { charge: id, hearing, vote: vote(finding) });
    let early = world.refusal(3, ballot(1, Judgement::Upheld));
    assert_eq!(early, Some(Reject::NotSeated(peer(3))), "nobody is drawn yet");
    while world.judges(id, 1).is_empty() {
        assert!(world.order_block());
    }
    let judges = world.judges(id, 1);
    let root = world.state().root();
    let outsider = (0..9).find(|number| !judges.contains(number)).unwrap();
    let refused = world.refusal(outsider, ballot(1, Judgement::Upheld));
    assert_eq!(refused, Some(Reject::NotSeated(peer(outsider))));
    let missing = world.refusal(judges[0], ballot(2, Judgement::Upheld));
    assert_eq!(missing, Some(Reject::UnknownRuling(id)));
    let mut state = world.state().clone();
    let said = |finding| wire::sign(state.network(), &key(judges[0]), ballot(1, finding));
    let (one, other) = (said(Judgement::Upheld), said(Judgement::Dismissed));
    let height = state.height() + 1;
    state.apply_record(&one, height).unwrap();
    assert_ne!(state.root(), root, "what a seat said is under the root");
    assert_eq!(state.apply_record(&other, height), Err(Reject::Repeated(peer(judges[0]))));
    world.run(8);
    assert!(!world.ruling(id).hearings[0].is_open());
    let late = world.refusal(outsider, ballot(1, Judgement::Upheld));
    assert_eq!(late, Some(Reject::RulingOver(id)));
}

#[test]
fn a_seat_that_leaves_stays_silent_and_one_that_ends_is_not_heard() {
    let mut world = world();
    let id = world.accuse();
    while world.judges(id, 1).is_empty() {
        assert!(world.order_block());
    }
    let seat = world.judges(id, 1)[0];
    let mut state = world.state().clone();
    let vote = vote(Judgement::Upheld);
    let body = Body::Ballot(Ballot { charge: id, hearing: 1, vote });
    let height = state.height() + 1;
    state.apply_record(&wire::sign(state.network(), &key(seat), body), height).unwrap();
    assert_eq!(state.ruling(id).unwrap().hearings[0].ballots.len(), 1);
    state.end_key(peer(seat), height).unwrap();
    assert!(state.ruling(id).unwrap().hearings[0].ballots.is_empty());
}

/// Two nodes may notice the same post; one of the flags is ordered, and the other costs nobody anything.
#[test]
fn a_second_flag_on_its_way_is_dropped() {
    let mut world = world();
    let subject = world.publish(1, &said("elsewhere"));
    world.order_block();
    for author in [2, 3] {
        let record = world.post(author, &flag("off-channel", subject, None), None);
        world.input(author.into(), Input::Own(Box::new(record)));
    }
    world.run(10);
    assert_eq!(world.state().rulings().count(), 1);
    assert!(world.points(2) >= 10 && world.points(3) >= 10);
    assert_eq!(world.state().open_rulings().count(), 0);
}
