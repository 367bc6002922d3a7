//! Limits, and the entries that go beyond them.

use super::world::{World, honest};
use crate::fixtures::{self, key};
use crate::ids::{BlobHash, ClaimId, RecordId};
use crate::peer::{Heard, Input};
use crate::post::{Bound, Detail, Limit, Post, PostBody, Quantity};
use crate::record::{Body, Challenge, Record};
use crate::state::LIMITS_PER_AUTHOR_MAX;
use crate::wire;
use assay_proto::v1;
use prost::Message;

fn bound(quantity: Quantity, most: u64) -> Bound {
    Bound { hardware_class: fixtures::CLASS.to_owned(), checkpoint: None, quantity, most }
}

fn body(bound: Bound) -> PostBody {
    PostBody {
        channel: "knowledge".to_owned(),
        thread: None,
        refs: Vec::new(),
        title: "int4 goes no further".to_owned(),
        text: String::new(),
        detail: Some(Detail::Limit(Limit { levers: vec!["int4".to_owned()], bound })),
    }
}

impl World {
    fn set_limit(&mut self, author: u8, bound: Bound) -> RecordId {
        let epoch = self.state().epoch_of(self.state().height() + 1);
        let record =
            wire::sign_post(self.state().network(), &key(author), &body(bound), epoch, None);
        let id = record.id;
        self.input(author.into(), Input::Own(Box::new(record)));
        self.settle_effects();
        assert!(self.order_block());
        id
    }

    fn fallen_to(&self, id: RecordId) -> Option<ClaimId> {
        let state = self.state();
        state.debunked_by(&state.limit(id).unwrap().bound).map(|claim| claim.id)
    }
}

/// Machines that see a gain of 30 % in the first rounds of a claim and none in later ones.
fn fading() -> World {
    World::new(|_, plan| {
        let ratio = if plan.round.number <= 2 { 1.3 } else { 1.0 };
        Some(fixtures::measurement(plan, ratio))
    })
}

#[test]
fn an_entry_beyond_a_limit_debunks_it_until_it_is_debunked_itself() {
    let mut world = fading();
    let ratio = |most| bound(Quantity::RatioToBase, most);
    let low = world.set_limit(1, ratio(1_200_000));
    let high = world.set_limit(1, ratio(1_400_000));
    let elsewhere = Bound { hardware_class: "gpu-a10g".to_owned(), ..ratio(1_000_001) };
    let elsewhere = world.set_limit(2, elsewhere);
    let recipe = fixtures::child_recipe(9);
    let named = |checkpoint| Bound { checkpoint: Some(checkpoint), ..ratio(1_200_000) };
    let same = world.set_limit(2, named(recipe.checkpoint));
    let other = world.set_limit(2, named(BlobHash([77; 32])));
    assert!([low, high, elsewhere, same, other].iter().all(|id| world.fallen_to(*id).is_none()));

    let claim = world.claim(0, recipe);
    world.run(60);
    assert!(world.state().claim(claim).unwrap().is_confirmed());
    assert_eq!(world.fallen_to(low), Some(claim));
    assert_eq!(world.fallen_to(same), Some(claim));
    assert!([high, elsewhere, other].iter().all(|id| world.fallen_to(*id).is_none()));

    world.say(3, Body::Challenge(Challenge { claim, reason: "too good".to_owned() }));
    world.run(60);
    assert!(!world.state().claim(claim).unwrap().stands());
    assert_eq!(world.fallen_to(low), None, "what debunked it stands no more");
    let exported: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let auditor = world.audit(&exported).unwrap();
    assert_eq!(auditor.state().limits().count(), 5);
}

#[test]
fn a_tie_debunks_nothing_and_speeds_are_the_middle_seats() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let (state, entry) = (world.state(), world.state().claim(claim).unwrap());
    let (ratio, speed) =
        (entry.ratio_to_base_ppm.unwrap(), state.decode_speed_mtps(entry).unwrap());
    // The fixtures' machines decode alike, so that the middle seat says what every seat says.
    let round = entry.deciding().unwrap();
    let (seat, measurement) = round.reveals.iter().next().unwrap();
    let plan = state.plan(entry, round, *seat).unwrap();
    let evidence = crate::gates::Evidence { plan: &plan, measurement };
    let time_ns: u64 = evidence.times_ns(true).sum();
    let own = evidence.child().decoded_tokens as f64 * 1e12 / time_ns as f64;
    assert!((speed as f64 / own - 1.0).abs() < 0.02, "{speed} {own}");

    let eta = state.genesis().significance.eta_ppm;
    for (quantity, value) in [(Quantity::RatioToBase, ratio), (Quantity::DecodeSpeed, speed)] {
        assert_eq!(state.reach(&bound(quantity, 1), entry), Some(value));
        let tie =
            u64::try_from(u128::from(value) * 1_000_000 / u128::from(1_000_000 + eta)).unwrap();
        assert!(state.debunked_by(&bound(quantity, tie + 1)).is_none());
        assert_eq!(state.debunked_by(&bound(quantity, tie - 1)).map(|c| c.id), Some(claim));
        assert!(state.debunked_by(&bound(quantity, u64::MAX)).is_none());
    }
}

#[test]
fn an_authors_oldest_limit_makes_room() {
    let mut world = honest(1.0);
    let first = world.set_limit(1, bound(Quantity::DecodeSpeed, 1));
    let most = u64::try_from(LIMITS_PER_AUTHOR_MAX).unwrap();
    for value in 2..=most {
        world.set_limit(1, bound(Quantity::DecodeSpeed, value));
    }
    let others = world.set_limit(2, bound(Quantity::DecodeSpeed, 1));
    assert!(world.state().limit(first).is_some());
    let last = world.set_limit(1, bound(Quantity::DecodeSpeed, most + 1));
    let state = world.state();
    assert!(state.limit(first).is_none() && state.limit(last).is_some());
    assert!(state.limit(others).is_some());
}

#[test]
fn malformed_limits_cost_their_sender() {
    let mut world = honest(1.0);
    let network = world.state().network();
    let good = bound(Quantity::RatioToBase, 1_200_000);
    let signed = |body: &PostBody| wire::sign_post(network, &key(1), body, 0, None);
    let mut bad: Vec<Record> = [
        Bound { most: 0, ..good.clone() },
        Bound { hardware_class: "two words".to_owned(), ..good.clone() },
        Bound { hardware_class: String::new(), ..good.clone() },
    ]
    .into_iter()
    .map(|bound| signed(&body(bound)))
    .collect();
    // A header that bounds something else than its body says, or nothing, or what is no limit.
    let honest = signed(&body(good.clone()));
    let Body::Post(header) = &honest.body else { panic!() };
    let other = Bound { most: 1_300_000, ..good.clone() };
    for bound in [Some(other), None] {
        let record = wire::sign(network, &key(1), Body::Post(Post { bound, ..header.clone() }));
        bad.push(Record { attachment: honest.attachment.clone(), ..record });
    }
    let talk = PostBody { detail: None, text: "x".to_owned(), ..body(good.clone()) };
    let plain = signed(&talk);
    let Body::Post(header) = &plain.body else { panic!() };
    let laden = Body::Post(Post { bound: Some(good), ..header.clone() });
    bad.push(Record {
        attachment: plain.attachment.clone(),
        ..wire::sign(network, &key(1), laden)
    });
    for record in bad {
        let heard = world.peers[0].hear(&record.to_gossip(), &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{record:?}: {heard:?}");
    }
    // Both figures at once are no limit, however they are spelled.
    let both = v1::Bound {
        hardware_class: "c".to_owned(),
        checkpoint: vec![],
        ratio_to_base_ppm: 1,
        decode_speed_mtps: 1,
    };
    let detail = v1::Limit { levers: vec!["int4".to_owned()], bound: Some(both) };
    let text = v1::PostBody {
        channel: "knowledge".to_owned(),
        detail: Some(v1::post_body::Detail::Limit(detail)),
        ..v1::PostBody::default()
    };
    assert!(PostBody::read(&text.encode_to_vec()).is_err());
    assert_eq!(world.peers[0].hear(&honest.to_gossip(), &mut Vec::new()), Heard::Fresh);
}
