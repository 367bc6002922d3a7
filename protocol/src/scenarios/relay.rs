//! Relays: whom a claim credits for its checkpoint, and what no relay is.

use super::world::{World, honest};
use crate::error::Reject;
use crate::fixtures::{self, key, peer};
use crate::ids::{BlobHash, ClaimId, RecordId};
use crate::peer::{Heard, Input};
use crate::post::{Attempt, BuiltCheckpoint, Detail, Diagnosis, Link, Post, PostBody};
use crate::record::{Body, Recipe, Record};
use crate::standing::Rule;
use crate::state::{ClaimState, UNCITED_LINKS_PER_AUTHOR_MAX};
use crate::wire;
use prost::Message;

const BROKEN: BlobHash = BlobHash([0xb0; 32]);
const CORRECTED: BlobHash = BlobHash([0xc0; 32]);

fn body(detail: Detail) -> PostBody {
    PostBody {
        channel: "checkpoints".to_owned(),
        thread: None,
        refs: Vec::new(),
        title: String::new(),
        text: String::new(),
        detail: Some(detail),
    }
}

fn built(manifest: BlobHash) -> PostBody {
    let scheme = "int4-g32".to_owned();
    body(Detail::Checkpoint(BuiltCheckpoint { manifest, made_from: None, scheme }))
}

fn tried(ran: bool, built: Option<RecordId>) -> PostBody {
    let error = "the head is tied in words and not in bytes".to_owned();
    body(Detail::Attempt(Attempt { checkpoint: BROKEN, ran, error, built }))
}

fn diagnosed(attempt: RecordId, corrected: Option<BlobHash>) -> PostBody {
    let codes = vec!["CK001".to_owned()];
    body(Detail::Diagnosis(Diagnosis { attempt, codes, corrected }))
}

fn corrected() -> Recipe {
    Recipe { checkpoint: CORRECTED, ..fixtures::child_recipe(1) }
}

/// Nine peers to whom every recipe is 30 % faster than the base.
fn world() -> World {
    World::of(fixtures::genesis_of(9), |_, plan| Some(fixtures::measurement(plan, 1.3)))
}

impl World {
    fn record(&self, author: u8, body: &PostBody) -> Record {
        let epoch = self.state().epoch_of(self.state().height() + 1);
        wire::sign_post(self.state().network(), &key(author), body, epoch, None)
    }

    /// Has a post ordered.
    fn tell(&mut self, author: u8, body: &PostBody) -> RecordId {
        let record = self.record(author, body);
        let id = record.id;
        self.input(author.into(), Input::Own(Box::new(record)));
        self.run(2);
        id
    }

    /// Has a relay ordered by a builder, a runner and a diagnoser; answers the last post.
    fn relay(&mut self, [builder, runner, diagnoser]: [u8; 3]) -> [RecordId; 3] {
        let checkpoint = self.tell(builder, &built(BROKEN));
        let attempt = self.tell(runner, &tried(false, Some(checkpoint)));
        let diagnosis = self.tell(diagnoser, &diagnosed(attempt, Some(CORRECTED)));
        [checkpoint, attempt, diagnosis]
    }

    fn ship(&mut self, author: u8, recipe: Recipe, cites: Vec<RecordId>) -> ClaimId {
        let claim = self.submit_citing(self.state().base_claim(), author, recipe, false, cites);
        self.run(80);
        assert!(self.state().claim(claim).unwrap().is_confirmed());
        claim
    }

    fn relayed(&self) -> Vec<u64> {
        let tallies = |number| self.state().members()[&peer(number)].tallies();
        let count = |number| tallies(number).get(&Rule::Relayed).map_or(0, |tally| tally.count);
        (0..5).map(count).collect()
    }
}

#[test]
fn all_four_of_a_relay_are_credited_and_the_ledger_tells_who_did_what() {
    let mut world = world();
    let links = world.relay([1, 2, 3]);
    let claim = world.ship(0, corrected(), vec![links[2]]);
    assert_eq!(world.relayed(), [1, 1, 1, 1, 0]);
    let state = world.state();
    let relay = state.relay_of(state.claim(claim).unwrap()).unwrap();
    assert_eq!(relay.links().map(|link| link.id), links);
    assert_eq!(relay.links().map(|link| link.author), [1, 2, 3].map(peer));
    assert!(relay.links().iter().all(|link| link.credited == Some(claim) && link.is_cited));
    assert_eq!(state.cited_by(links[2]).map(|claim| claim.id).collect::<Vec<_>>(), [claim]);
    let exported: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let audited = world.audit(&exported).unwrap();
    assert_eq!(audited.state().root(), state.root());
}

#[test]
fn nobody_is_credited_twice_nor_for_the_own_operators_claim() {
    let mut world = world();
    // The claim's author built it, and one peer both tried and diagnosed.
    let [_, attempt, diagnosis] = world.relay([0, 2, 2]);
    let first = world.ship(0, corrected(), vec![diagnosis]);
    assert_eq!(world.relayed(), [1, 0, 1, 0, 0]);
    assert_eq!(world.state().link(attempt).unwrap().credited, Some(first));
    assert_eq!(world.state().link(diagnosis).unwrap().credited, None);
}

#[test]
fn nothing_is_owed_for_the_checkpoint_that_the_parent_ran_anyway() {
    let mut world = world();
    let base = world.state().genesis().challenge.base;
    let checkpoint = world.tell(1, &built(BROKEN));
    let attempt = world.tell(2, &tried(false, Some(checkpoint)));
    let diagnosis = world.tell(3, &diagnosed(attempt, Some(base.checkpoint)));
    let recipe = Recipe { bundle: Some(BlobHash([66; 32])), ..base };
    let claim = world.ship(0, recipe, vec![diagnosis]);
    assert_eq!(world.relayed(), [0; 5]);
    assert!(world.state().relay_of(world.state().claim(claim).unwrap()).is_none());
}

#[test]
fn a_relay_of_one_alone_credits_nobody() {
    let mut world = world();
    let [.., diagnosis] = world.relay([0, 0, 0]);
    world.ship(0, corrected(), vec![diagnosis]);
    assert_eq!(world.relayed(), [0; 5]);
}

#[test]
fn a_claim_of_another_checkpoint_credits_no_relay() {
    let mut world = world();
    let [.., diagnosis] = world.relay([1, 2, 3]);
    let claim = world.ship(0, fixtures::child_recipe(1), vec![diagnosis]);
    assert_eq!(world.relayed(), [0; 5]);
    let claim = world.state().claim(claim).unwrap();
    assert!(world.state().relay_of(claim).is_none());
}

#[test]
fn a_chain_with_a_gap_is_no_relay() {
    let mut world = world();
    let checkpoint = world.tell(1, &built(BROKEN));
    let other = world.tell(1, &built(BlobHash([0xee; 32])));
    let of_other = world.tell(2, &tried(false, Some(other)));
    let ran = world.tell(2, &tried(true, Some(checkpoint)));
    let of_nothing = world.tell(2, &tried(false, None));
    let attempt = world.tell(2, &tried(false, Some(checkpoint)));
    assert!(world.state().link(of_other).is_some());
    assert!([ran, of_nothing].iter().all(|id| world.state().link(*id).is_none()));
    for attempt in [of_other, ran, of_nothing, checkpoint] {
        let diagnosis = world.tell(3, &diagnosed(attempt, Some(CORRECTED)));
        assert!(world.state().relay_behind(diagnosis).is_none());
    }
    let unmended = world.tell(3, &diagnosed(attempt, Some(BROKEN)));
    assert!(world.state().relay_behind(unmended).is_none(), "it corrects nothing");
    let diagnosis = world.tell(3, &diagnosed(attempt, Some(CORRECTED)));
    assert!(world.state().relay_behind(diagnosis).is_some());
    let without = world.tell(3, &diagnosed(attempt, None));
    // Only diagnoses that correct something can be cited, besides specs.
    let claim = |cites| {
        let recipe = corrected();
        Body::Claim(crate::record::Claim {
            recipe,
            parent: world.state().base_claim(),
            result_seal: [0; 32],
            summary: "faster".to_owned(),
            hardware_class: fixtures::CLASS.to_owned(),
            cites,
        })
    };
    for cited in [checkpoint, attempt, without] {
        assert_eq!(world.refusal(0, claim(vec![cited])), Some(Reject::Uncitable(cited)));
    }
    assert_eq!(world.refusal(0, claim(vec![diagnosis])), None);
}

#[test]
fn links_that_nobody_cites_make_room_for_later_ones() {
    let mut world = world();
    let cited = world.relay([1, 2, 3]);
    world.ship(0, corrected(), vec![cited[2]]);
    let others: Vec<RecordId> = (0..=UNCITED_LINKS_PER_AUTHOR_MAX as u8)
        .map(|number| world.tell(1, &built(BlobHash([number; 32]))))
        .collect();
    let kept = |id: &RecordId| world.state().link(*id).is_some();
    assert!(cited.iter().all(kept) && !kept(&others[0]) && others[1..].iter().all(kept));
}

#[test]
fn a_header_that_says_otherwise_than_its_body_costs_its_sender() {
    let mut world = honest(1.0);
    let good = world.record(1, &built(BROKEN));
    let Body::Post(post) = &good.body else { panic!() };
    let link = |manifest, previous| Some(Link { manifest, previous });
    let message =
        world.record(1, &PostBody { text: "hello".to_owned(), detail: None, ..built(BROKEN) });
    let attempt = world.record(1, &tried(false, Some(good.id)));
    let ran = world.record(1, &tried(true, Some(good.id)));
    let header = |record: &Record| match &record.body {
        Body::Post(post) => post.clone(),
        _ => panic!(),
    };
    let lies = [
        (&good, Post { link: None, ..post.clone() }),
        (&good, Post { link: link(CORRECTED, None), ..post.clone() }),
        (&good, Post { link: link(BROKEN, Some(good.id)), ..post.clone() }),
        (&message, Post { link: link(BROKEN, None), ..header(&message) }),
        (&attempt, Post { link: link(BROKEN, None), ..header(&attempt) }),
        (&attempt, Post { link: link(BROKEN, Some(attempt.id)), ..header(&attempt) }),
        (&ran, Post { link: link(BROKEN, Some(good.id)), ..header(&ran) }),
    ];
    for (honest, post) in lies {
        let record = wire::sign(world.state().network(), &key(1), Body::Post(post.clone()));
        let lie = Record { attachment: honest.attachment.clone(), ..record }.to_gossip();
        let heard = world.peers[0].hear(&lie, &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{post:?}: {heard:?}");
    }
    for record in [good, message, attempt, ran] {
        assert_eq!(world.peers[0].hear(&record.to_gossip(), &mut Vec::new()), Heard::Fresh);
    }
}

/// Otherwise the shipper of a correction could be charged with repeating whoever claimed the broken one.
#[test]
fn a_claim_owes_its_relay_what_was_published_before_the_claim_that_it_resembles() {
    let mut world = world();
    let broken = Recipe { checkpoint: BROKEN, ..fixtures::child_recipe(7) };
    let early = world.claim(5, broken);
    world.run(80);
    let [_, _, diagnosis] = world.relay([0, 1, 2]);
    let between = world.claim(6, Recipe { bundle: None, ..broken });
    world.run(80);
    let base = world.state().base_claim();
    let shipped = world.submit_citing(base, 3, corrected(), false, vec![diagnosis]);
    world.run(80);
    let unrelated = world.claim(4, fixtures::child_recipe(8));
    world.run(80);
    let state = world.state();
    let claim = |id| state.claim(id).unwrap();
    assert_eq!(state.owed_to_relay(claim(shipped), claim(between)), [BROKEN, CORRECTED]);
    // Whoever had the checkpoint before the relay said so may be repeated by it.
    assert_eq!(state.owed_to_relay(claim(shipped), claim(early)), []);
    assert_eq!(state.owed_to_relay(claim(unrelated), claim(between)), []);
    let by_builder = ClaimState { author: peer(0), ..claim(early).clone() };
    assert_eq!(state.owed_to_relay(claim(shipped), &by_builder), [BROKEN]);
}
