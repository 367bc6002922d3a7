//! Posts on the ledger: their order, their bounds, and what specs earn.

use super::world::{World, honest};
use crate::error::Reject;
use crate::fixtures::{self, key, peer};
use crate::ids::{BlobHash, ClaimId, RecordId};
use crate::peer::{Effect, Heard, Input, Peer};
use crate::plan::Arm;
use crate::pool::{POOL_POSTS_PER_AUTHOR_MAX, applies};
use crate::post::{
    CHANNEL_BYTES_MAX, Detail, Flag, Forecast, Kind, LEVERS_MAX, Lever, PARTS_MAX, Plan, Playbook,
    Post, PostBody, REFS_MAX, ROWS_MAX, Spec, SpecPart, TEXT_BYTES_MAX, TITLE_BYTES_MAX, Table,
    Triage,
};
use crate::record::{Body, CITES_MAX, Challenge, Claim, Opening, Recipe, Record};
use crate::standing::Rule;
use crate::state::{
    POSTS_PER_EPOCH_EXTRA, POSTS_PER_PEER_PER_BLOCK_MAX, UNCITED_SPECS_PER_AUTHOR_MAX,
};
use crate::wire;
use assay_proto::{limits, v1};
use prost::Message;

pub(super) fn said(text: &str) -> PostBody {
    PostBody {
        channel: "general".to_owned(),
        thread: None,
        refs: Vec::new(),
        title: String::new(),
        text: text.to_owned(),
        detail: None,
    }
}

pub(super) fn with(detail: Detail) -> PostBody {
    PostBody { detail: Some(detail), ..said("") }
}

fn spec() -> Spec {
    let part = SpecPart { name: "mlp".to_owned(), bytes_before: 300, bytes_after: 75 };
    Spec {
        model: "gemma4-nano".to_owned(),
        parts: vec![part],
        bandwidth_mb_s: 10_000,
        change: "int4 weights in groups of 32".to_owned(),
        experiment: "claim the quantised checkpoint on this class".to_owned(),
    }
}

impl World {
    pub(super) fn post(&self, author: u8, body: &PostBody, forecast: Option<Forecast>) -> Record {
        let epoch = self.state().epoch_of(self.state().height() + 1);
        wire::sign_post(self.state().network(), &key(author), body, epoch, forecast)
    }

    pub(super) fn publish(&mut self, author: u8, body: &PostBody) -> RecordId {
        let record = self.post(author, body, None);
        let id = record.id;
        self.input(author.into(), Input::Own(Box::new(record)));
        self.settle_effects();
        id
    }

    fn publish_spec(&mut self, author: u8, ratio_ppm: u64) -> RecordId {
        let forecast = Forecast { ratio_ppm, hardware_class: fixtures::CLASS.to_owned() };
        let record = self.post(author, &with(Detail::Spec(spec())), Some(forecast));
        let id = record.id;
        self.input(author.into(), Input::Own(Box::new(record)));
        self.settle_effects();
        id
    }
}

#[test]
fn a_post_is_ordered_by_its_digest_and_its_body_is_kept_by_everyone() {
    let mut world = honest(1.0);
    let text = "x".repeat(TEXT_BYTES_MAX);
    let record = world.post(1, &said(&text), None);
    let mut effects = Vec::new();
    assert_eq!(world.peers[0].hear(&record.to_gossip(), &mut effects), Heard::Fresh);
    let Some(Effect::KeepPost(kept)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(kept.attachment, record.attachment);
    world.input(1, Input::Own(Box::new(record.clone())));
    world.settle_effects();
    assert!(world.order_block());
    assert_eq!(world.state().posts_ordered(), 1);
    let block = world.items[0].block.as_ref().unwrap();
    assert!(block.records[0].attachment.is_empty());
    assert!(block.records[0].encoded_len() < 200);
    let ordered = wire::open_signed(world.state().network(), block.records[0].clone()).unwrap();
    let Body::Post(post) = &ordered.body else { panic!() };
    assert_eq!(post.open(&record.attachment).unwrap().text, text);
    assert!(post.open(&record.attachment[1..]).is_err());
    let exported: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    world.audit(&exported).unwrap();
    // Said again, by whoever kept it, it changes nothing.
    assert!(matches!(applies(world.state(), &record), Err(Reject::Repeated(_))));
}

#[test]
fn talk_is_bounded_by_block_by_epoch_and_in_the_pool() {
    let mut world = honest(1.0);
    for number in 0..POOL_POSTS_PER_AUTHOR_MAX {
        world.publish(2, &said(&format!("{number}")));
    }
    let more = world.post(2, &said("one more"), None).to_gossip();
    let heard = world.peers[0].hear(&more, &mut Vec::new());
    assert!(matches!(heard, Heard::Useless(Reject::PostsWaiting(_))), "{heard:?}");
    let blocks = POOL_POSTS_PER_AUTHOR_MAX.div_ceil(POSTS_PER_PEER_PER_BLOCK_MAX as usize);
    for _ in 0..blocks {
        assert!(world.order_block());
    }
    assert!(!world.order_block());
    assert_eq!(world.state().posts_ordered(), POOL_POSTS_PER_AUTHOR_MAX as u64);

    // Another block of the same length would be refused, whoever proposes it.
    let mut state = world.state().clone();
    let height = state.height() + 1;
    for number in 0..=POSTS_PER_PEER_PER_BLOCK_MAX {
        let record = world.post(3, &said(&format!("{number}")), None);
        let result = state.apply_record(&record, height);
        assert_eq!(result.is_err(), number == POSTS_PER_PEER_PER_BLOCK_MAX, "{result:?}");
    }

    let most = world.state().posts_per_epoch();
    assert_eq!(most, world.state().genesis().membership.epoch_blocks + POSTS_PER_EPOCH_EXTRA);
    let mut state = world.state().clone();
    let old = world.post(3, &said("0"), None);
    for number in 0..most {
        let height = 1 + number / 4;
        state.apply_record(&world.post(3, &said(&number.to_string()), None), height).unwrap();
    }
    let spent = state.apply_record(&world.post(3, &said("last"), None), 99).unwrap_err();
    assert!(matches!(spent, Reject::PostsSpent { .. }), "{spent}");
    // The next epoch has room, and knows what was said in this one; the one after that does not take
    // it at all.
    assert!(matches!(state.clone().apply_record(&old, 100), Err(Reject::Repeated(_))));
    assert!(matches!(state.apply_record(&old, 200), Err(Reject::PostEpoch { .. })));
    let fresh = wire::sign_post(state.network(), &key(3), &said("again"), 1, None);
    assert!(state.apply_record(&fresh, 100).is_ok());
    assert!(matches!(applies(world.state(), &fresh), Err(Reject::PostEpoch { .. })));
}

#[test]
fn strangers_do_not_post_and_a_talker_still_seals() {
    let mut world = honest(1.3);
    let stranger = world.post(77, &said("hello"), None).to_gossip();
    let heard = world.peers[0].hear(&stranger, &mut Vec::new());
    assert!(matches!(heard, Heard::Useless(Reject::NotMember(_))));
    for author in 1..5 {
        for number in 0..POOL_POSTS_PER_AUTHOR_MAX {
            world.publish(author, &said(&format!("{number}")));
        }
    }
    let claim = world.claim(0, fixtures::child_recipe(1));
    world.run(40);
    assert!(world.state().claim(claim).unwrap().is_entry());
}

/// Bodies that no honest peer makes.
fn bad_bodies() -> Vec<PostBody> {
    let word = |text: &str| Flag {
        rule: text.to_owned(),
        subject: RecordId([1; 32]),
        evidence: None,
        sighting: None,
    };
    let levers = |levers: Vec<String>| Detail::Plan(Plan { parent: None, levers });
    let parts = |count: usize| vec![spec().parts[0].clone(); count];
    let book = |table| with(Detail::Playbook(Playbook { revises: None, table: Some(table) }));
    let row = |sign: &str, remedy: &str| Triage {
        sign: sign.to_owned(),
        cause: "because".to_owned(),
        remedy: remedy.to_owned(),
    };
    let lever = |name: &str| Lever { lever: name.to_owned(), note: String::new(), claim: None };
    vec![
        book(Table::Triage(Vec::new())),
        book(Table::Triage(vec![row("CK001", "mend it"); ROWS_MAX + 1])),
        book(Table::Triage(vec![row(" ", "mend it")])),
        book(Table::Triage(vec![row("CK001", "two\nlines")])),
        book(Table::Levers(Vec::new())),
        book(Table::Levers(vec![lever("Int 4")])),
        said(""),
        said("\u{1b}[2J"),
        said(&"x".repeat(TEXT_BYTES_MAX + 1)),
        PostBody { channel: String::new(), ..said("x") },
        PostBody { channel: "General".to_owned(), ..said("x") },
        PostBody { channel: "x".repeat(CHANNEL_BYTES_MAX + 1), ..said("x") },
        PostBody { title: "two\nlines".to_owned(), ..said("x") },
        PostBody { title: "x".repeat(TITLE_BYTES_MAX + 1), ..said("x") },
        PostBody { refs: vec![RecordId([1; 32]); 2], ..said("x") },
        PostBody { refs: (0..=REFS_MAX as u8).map(|i| RecordId([i; 32])).collect(), ..said("x") },
        with(Detail::Flag(word("Off Channel"))),
        with(levers(Vec::new())),
        with(levers(vec!["a\u{202e}".to_owned()])),
        with(levers(vec!["a".to_owned(); LEVERS_MAX + 1])),
        with(Detail::Spec(Spec { parts: parts(0), ..spec() })),
        with(Detail::Spec(Spec { parts: parts(PARTS_MAX + 1), ..spec() })),
        with(Detail::Spec(Spec { change: " ".to_owned(), ..spec() })),
        with(Detail::Spec(Spec { experiment: "a\u{7}".to_owned(), ..spec() })),
    ]
}

#[test]
fn malformed_posts_cost_their_sender() {
    let mut world = honest(1.0);
    let forecast = Some(Forecast { ratio_ppm: 1_200_000, hardware_class: "c".to_owned() });
    for body in bad_bodies() {
        let is_spec = body.kind() == Kind::Spec;
        let record = world.post(1, &body, forecast.clone().filter(|_| is_spec));
        let heard = world.peers[0].hear(&record.to_gossip(), &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{body:?}: {heard:?}");
        assert!(body.check().is_err());
    }
    let good = world.post(1, &said("fine"), None);
    let other = world.post(1, &said("other"), None);
    let claim = |ratio_ppm, hardware_class: &str| {
        Some(Forecast { ratio_ppm, hardware_class: hardware_class.to_owned() })
    };
    let spec = with(Detail::Spec(spec()));
    let bad = [
        Record { attachment: Vec::new(), ..good.clone() },
        Record { attachment: other.attachment, ..good.clone() },
        Record { attachment: vec![0; limits::POST_BODY_BYTES_MAX + 1], ..good.clone() },
        world.post(1, &said("x"), claim(1_200_000, "c")),
        world.post(1, &spec, None),
        world.post(1, &spec, claim(1_000_000, "c")),
        world.post(1, &spec, claim(1_200_000, "c d")),
        world.post(1, &spec, claim(u64::MAX, "c")),
    ];
    for record in bad {
        let heard = world.peers[0].hear(&record.to_gossip(), &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{record:?}: {heard:?}");
    }
    let unsigned = v1::SignedRecord { signature: vec![0; 64], ..good.signed.clone() };
    let unsigned = Record { signed: unsigned, ..good.clone() }.to_gossip();
    assert!(matches!(world.peers[0].hear(&unsigned, &mut Vec::new()), Heard::Misbehaviour(_)));
    // A header that lies about its body's kind, and a kind that there is not.
    let Body::Post(honest) = &good.body else { panic!() };
    for post in [
        Post { kind: Kind::Playbook, ..honest.clone() },
        Post { body_bytes: 1, ..honest.clone() },
        Post { body: BlobHash([9; 32]), ..honest.clone() },
        Post { body_bytes: u32::MAX, ..honest.clone() },
    ] {
        let record = wire::sign(world.state().network(), &key(1), Body::Post(post));
        let lie = Record { attachment: good.attachment.clone(), ..record }.to_gossip();
        assert!(matches!(world.peers[0].hear(&lie, &mut Vec::new()), Heard::Misbehaviour(_)));
    }
    // Every proper prefix and a byte more, and an attachment on something else than a post.
    let bytes = good.to_gossip();
    for cut in 0..bytes.len() {
        assert!(matches!(
            world.peers[0].hear(&bytes[..cut], &mut Vec::new()),
            Heard::Misbehaviour(_)
        ));
    }
    let leave = wire::sign(
        world.state().network(),
        &key(1),
        Body::Leave(crate::membership::Leave { joined_at: 0 }),
    );
    let laden = Record { attachment: vec![1], ..leave }.to_gossip();
    assert!(matches!(world.peers[0].hear(&laden, &mut Vec::new()), Heard::Misbehaviour(_)));
    assert_eq!(world.peers[0].hear(&bytes, &mut Vec::new()), Heard::Fresh);
}

#[test]
fn every_kind_reads_back() {
    let id = RecordId([7; 32]);
    let (hash, claim) = (BlobHash([8; 32]), ClaimId([9; 32]));
    let levers = || vec!["draft-length".to_owned(), "int4".to_owned()];
    let class = "gpu-a10g".to_owned();
    use crate::post::{
        Attempt, Bound, BuiltCheckpoint, DeadEnd, Diagnosis, Endorsement, Limit, Quantity, Trial,
    };
    let triage = Table::Triage(vec![Triage {
        sign: "CK001".to_owned(),
        cause: "the config contradicts itself".to_owned(),
        remedy: "tie the head".to_owned(),
    }]);
    let lever = |claim| Lever { lever: "int4".to_owned(), note: String::new(), claim };
    let map = Table::Levers(vec![lever(Some(claim)), lever(None)]);
    let details = [
        Detail::Plan(Plan { parent: Some(claim), levers: levers() }),
        Detail::Result(Trial { claim: None, ratio_ppm: 990_000, hardware_class: class }),
        Detail::Spec(spec()),
        Detail::Checkpoint(BuiltCheckpoint {
            manifest: hash,
            made_from: Some(hash),
            scheme: "int4-g32".to_owned(),
        }),
        Detail::Attempt(Attempt {
            checkpoint: hash,
            ran: false,
            error: "no head".to_owned(),
            built: Some(id),
        }),
        Detail::Diagnosis(Diagnosis {
            attempt: id,
            codes: vec!["CK001".to_owned()],
            corrected: Some(hash),
        }),
        Detail::Playbook(Playbook { revises: Some(id), table: Some(triage) }),
        Detail::Playbook(Playbook { revises: None, table: Some(map) }),
        Detail::DeadEnd(DeadEnd { levers: levers(), claim: Some(claim) }),
        Detail::Flag(Flag {
            rule: "off-channel".to_owned(),
            subject: id,
            evidence: None,
            sighting: None,
        }),
        Detail::Endorsement(Endorsement { playbook: id }),
        Detail::Limit(Limit {
            levers: levers(),
            bound: Bound {
                hardware_class: "gpu-a10g".to_owned(),
                checkpoint: Some(hash),
                quantity: Quantity::DecodeSpeed,
                most: 127_000,
            },
        }),
    ];
    for detail in details {
        let body = PostBody {
            thread: Some(id),
            refs: vec![id],
            title: "Title".to_owned(),
            ..with(detail)
        };
        assert_eq!(PostBody::read(&body.to_bytes()), Ok(body.clone()));
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<PostBody>(&json).unwrap(), body);
    }
}

fn claim_citing(world: &mut World, author: u8, recipe: Recipe, cites: Vec<RecordId>) -> ClaimId {
    world.submit_citing(world.state().base_claim(), author, recipe, false, cites)
}

fn credits(world: &World, author: u8) -> u64 {
    let member = &world.state().members()[&peer(author)];
    member.tallies().get(&Rule::CitedSpec).map_or(0, |tally| tally.count)
}

#[test]
fn a_spec_is_credited_once_by_a_confirmed_claim_of_somebody_else() {
    let mut world =
        World::of(fixtures::genesis_of(9), |_, plan| Some(fixtures::measurement(plan, 1.3)));
    let (own, near, far) = (
        world.publish_spec(0, 1_300_000),
        world.publish_spec(1, 1_200_000),
        world.publish_spec(2, 9_000_000),
    );
    world.run(3);
    let cites = vec![own, far, near];
    let first = claim_citing(&mut world, 0, fixtures::child_recipe(1), cites.clone());
    world.run(80);
    assert!(world.state().claim(first).unwrap().is_confirmed());
    assert_eq!(world.state().citations(first), cites);
    assert_eq!(world.state().cited_by(near).map(|claim| claim.id).collect::<Vec<_>>(), [first]);
    // Its own author's spec earns nothing, nor does one that promised far more.
    assert_eq!([0, 1, 2].map(|author| credits(&world, author)), [0, 1, 0]);
    assert_eq!(world.state().spec(near).unwrap().credited, Some(first));

    // The same gain over the base again leads nothing and credits nobody, however often.
    let again = world.publish_spec(1, 1_300_000);
    world.run(3);
    for bundle in 2..4 {
        let claim = claim_citing(&mut world, 3, fixtures::child_recipe(bundle), vec![again, near]);
        world.run(80);
        assert!(world.state().claim(claim).unwrap().opening.is_some());
    }
    assert_eq!(credits(&world, 1), 1);
}

/// Nine peers to whom recipe 1 is half as fast again as the base in its first two rounds and equal later,
/// every other recipe 30 % faster.
fn fading() -> World {
    World::of(fixtures::genesis_of(9), |_, plan| {
        let child = if plan.child == Arm::X { plan.x } else { plan.y };
        let ratio = match (child.bundle.unwrap().0[0], plan.round.number) {
            (1, 1 | 2) => 1.5,
            (1, _) => 1.0,
            _ => 1.3,
        };
        Some(fixtures::measurement(plan, ratio))
    })
}

fn doubt(world: &mut World, claim: ClaimId) {
    world.say(8, Body::Challenge(Challenge { claim, reason: "I find no gain".to_owned() }));
    world.run(120);
    assert!(world.state().claim(claim).unwrap().debunked.is_some());
}

#[test]
fn a_claim_that_is_confirmed_after_its_opening_credits_its_spec() {
    let mut world = fading();
    let spec = world.publish_spec(1, 1_300_000);
    world.run(3);
    let leader = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let second = claim_citing(&mut world, 2, fixtures::child_recipe(2), vec![spec]);
    world.run(60);
    let claim = world.state().claim(second).unwrap();
    assert!(claim.opening.is_some() && !claim.is_confirmed());
    assert_eq!(credits(&world, 1), 0, "it did not lead, so nobody confirmed it");
    doubt(&mut world, leader);
    assert!(world.state().claim(second).unwrap().is_confirmed());
    assert_eq!(credits(&world, 1), 1);
    assert_eq!(world.state().spec(spec).unwrap().credited, Some(second));
    let exported: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    world.audit(&exported).unwrap();
}

#[test]
fn a_debunked_claim_credits_nobody() {
    let mut world = fading();
    let spec = world.publish_spec(1, 1_500_000);
    world.run(3);
    world.mute(0);
    let claim = claim_citing(&mut world, 0, fixtures::child_recipe(1), vec![spec]);
    world.run(80);
    assert!(world.state().claim(claim).unwrap().is_confirmed());
    doubt(&mut world, claim);
    let (salt, ratio_ppm, null) = ([0; 32], 1_500_000, false);
    world.say(0, Body::Opening(Opening { claim, salt, ratio_ppm, null }));
    world.run(4);
    assert!(world.state().claim(claim).unwrap().opening.is_some());
    assert_eq!(credits(&world, 1), 0);
}

#[test]
fn only_specs_on_the_ledger_are_cited() {
    let mut world = honest(1.3);
    let message = world.publish(1, &said("no spec"));
    world.run(2);
    let recipe = fixtures::child_recipe(1);
    let claim = |cites: Vec<RecordId>| {
        Body::Claim(Claim {
            recipe,
            parent: fixtures::genesis().base_claim(),
            result_seal: [0; 32],
            summary: "faster".to_owned(),
            hardware_class: fixtures::CLASS.to_owned(),
            cites,
        })
    };
    assert_eq!(world.refusal(0, claim(vec![message])), Some(Reject::Uncitable(message)));
    for cites in [vec![message; 2], (0..=CITES_MAX as u8).map(|i| RecordId([i; 32])).collect()] {
        let record = wire::sign(world.state().network(), &key(0), claim(cites)).to_gossip();
        let heard = world.peers[1].hear(&record, &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{heard:?}");
    }
}

#[test]
fn specs_that_nobody_cites_make_room_for_later_ones() {
    let mut world = honest(1.0);
    let cited = world.publish_spec(1, 1_100_000);
    world.run(2);
    let claim = claim_citing(&mut world, 0, fixtures::child_recipe(1), vec![cited]);
    world.run(40);
    let other = world.publish_spec(2, 1_100_000);
    let specs: Vec<RecordId> = (0..=UNCITED_SPECS_PER_AUTHOR_MAX as u64)
        .map(|number| {
            let id = world.publish_spec(1, 1_200_000 + number);
            world.run(1);
            id
        })
        .collect();
    let kept = |id| world.state().spec(id).is_some();
    assert!(kept(cited) && kept(other), "nor do they go for somebody else's");
    assert_eq!(world.state().citations(claim), [cited]);
    assert!(!kept(specs[0]) && specs[1..].iter().copied().all(kept));
    let exported: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    world.audit(&exported).unwrap();
}

#[test]
fn a_node_that_joins_later_reaches_the_same_state() {
    let mut world = honest(1.0);
    for author in 0..5 {
        world.publish(author, &said("hello"));
    }
    world.publish_spec(1, 1_200_000);
    world.run(4);
    let mut late = Peer::new(peer(9), crate::state::State::new(fixtures::genesis()));
    for item in &world.items {
        late.step(Input::Block(Box::new(item.clone())), &mut Vec::new()).unwrap();
    }
    assert_eq!(late.state().root(), world.state().root());
    assert_eq!(late.state().specs().count(), 1);
}
