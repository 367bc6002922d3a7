//! What an auditor can be spared, and what it can hand on.

use super::world::{World, honest};
use crate::audit::{Auditor, Checkpoint, Proof, Prover, Trail, export_header};
use crate::fixtures::{self, child_recipe};
use crate::ids::{BlockHash, ClaimId};
use crate::membership::Leave;
use crate::record::Body;
use assay_proto::v1;
use prost::Message;
use serde_json::Value;

/// A ledger with an entry that was measured twice.
fn ledger() -> (World, ClaimId, Vec<Vec<u8>>) {
    let mut world = honest(1.3);
    let claim = world.claim(0, child_recipe(9));
    world.run(30);
    let items = world.items.iter().map(Message::encode_to_vec).collect();
    (world, claim, items)
}

fn prove(world: &World, claim: ClaimId, items: &[Vec<u8>]) -> (Proof, Trail) {
    let mut auditor = Auditor::new(world.state().genesis().clone());
    let (mut prover, mut trail) = (Prover::new(claim, auditor.state()), Trail::new(claim));
    for bytes in items {
        let item = auditor.feed(bytes).unwrap();
        prover.observe(&item, auditor.state());
        trail.observe(&item, auditor.state());
    }
    (prover.finish().unwrap(), trail)
}

#[test]
fn a_trusted_block_spares_signatures_but_binds_every_byte() {
    let (world, _, items) = ledger();
    let last = items.len() as u64;
    let checkpoint = Checkpoint { height: last, hash: world.state().head() };
    let audit = |items: &[Vec<u8>], checkpoint| {
        let mut auditor = Auditor::trusting(fixtures::genesis(), checkpoint);
        auditor.open(&export_header(world.state().network(), items.len() as u64)).unwrap();
        items.iter().try_for_each(|item| auditor.feed(item).map(|_| ()))?;
        auditor.close().map(|()| auditor)
    };
    let auditor = audit(&items, checkpoint).unwrap();
    assert_eq!(auditor.state(), world.state());
    let checked = auditor.checked();
    assert_eq!((checked.records, checked.certificate_signatures, checked.verdicts), (0, 0, 2));

    let half = Checkpoint { height: last / 2, hash: head_of(&items, last / 2) };
    assert!(audit(&items, half).unwrap().checked().records > 0);
    let other = Checkpoint { hash: BlockHash([1; 32]), ..half };
    assert_eq!(audit(&items, other).err().unwrap().code, "K01");
    let beyond = Checkpoint { height: last + 1, ..checkpoint };
    assert_eq!(audit(&items, beyond).err().unwrap().code, "K01");

    // A signature that nobody checks is still part of the body that the header names.
    for index in 0..items.len() {
        let mut item = v1::LedgerItem::decode(items[index].as_slice()).unwrap();
        let Some(record) = item.block.as_mut().unwrap().records.first_mut() else { continue };
        record.signature[3] ^= 1;
        let mut damaged = items.clone();
        damaged[index] = item.encode_to_vec();
        let fault = audit(&damaged, checkpoint).err().unwrap();
        assert_eq!(fault.place, format!("entry at height {}", index + 1));
        assert_eq!(fault.rule, "body root");
    }
}

fn head_of(items: &[Vec<u8>], height: u64) -> BlockHash {
    let mut auditor = Auditor::new(fixtures::genesis());
    items.iter().take(usize::try_from(height).unwrap()).for_each(|item| {
        auditor.feed(item).unwrap();
    });
    auditor.head()
}

#[test]
fn a_trail_has_everything_that_decided_a_claim_in_order() {
    let (world, claim, items) = ledger();
    let (_, trail) = prove(&world, claim, &items);
    let said: Vec<&str> = trail.events().iter().map(|event| event.what.as_str()).collect();
    let mut at = said.iter();
    for what in [
        "node 0 claims",
        "round 1 is opened: first",
        "round 1 is called",
        "round 1 has its beacon",
        "round 1: the committee is drawn",
        "seals its measurement of round 1",
        "round 1: sealing is over",
        "reveals what it sealed in round 1",
        "round 1 is settled: accepted",
        "round 2 is opened: frontier",
        "reveals what it sealed in round 2",
        "round 2 is settled: accepted",
        "the claim is an entry",
        "node 0 opens its own result",
    ] {
        assert!(at.any(|said| said.contains(what)), "{what} is not in its place of {said:#?}");
    }
    let called = trail.events().iter().find(|event| event.what.contains("is called")).unwrap();
    assert_eq!(called.detail["candidates"].as_array().unwrap().len(), 4);
    let seals = trail.events().iter().filter(|event| event.what.contains("seals its"));
    assert_eq!(seals.count(), 6);
}

#[test]
fn a_proof_shows_a_claim_to_somebody_with_the_genesis_alone() {
    let (world, claim, items) = ledger();
    let (proof, _) = prove(&world, claim, &items);
    let bytes = serde_json::to_vec(&proof).unwrap();
    let proof = Proof::read(&bytes).unwrap();
    let proven = proof.verify(&fixtures::genesis()).unwrap();
    assert_eq!((proven.claim, proven.author), (claim, fixtures::peer(0)));
    assert_eq!((proven.signed_by, proven.set_changes), ((5, 5), 0));
    assert_eq!(proven.state["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(proven.state["rounds"][1]["verdict"]["outcome"], "accepted");
    assert!(proven.state["opening"].is_object(), "it is of the last event");
    assert!(!proven.state.to_string().contains("x_ns"), "samples come with the reveals");
    let rounds: Vec<u32> = proven.samples.iter().map(|sample| sample.round).collect();
    assert_eq!(rounds, [1, 1, 1, 2, 2, 2]);
    for sample in &proven.samples {
        let round = &world.state().claim(claim).unwrap().rounds[sample.round as usize - 1];
        assert_eq!(*round.reveals[&sample.seat], sample.measurement);
    }

    assert_eq!(proof.verify(&fixtures::genesis_of(6)).err().unwrap().code, "F01");
    assert_eq!(Proof::read(b"{}").err().unwrap().code, "F01");
    // Every leaf of the proof that somebody may change is bound.
    let whole: Value = serde_json::from_slice(&bytes).unwrap();
    type Change = fn(&mut Value);
    let changes: [(&str, Change, &str); 12] = [
        (
            "outcome",
            |v| {
                v["state"] = v["state"].as_str().unwrap().replace("accepted", "refuted").into();
            },
            "K02",
        ),
        ("history", |v| v["history_before"] = "00".repeat(32).into(), "K02"),
        ("short history", |v| v["history_before"] = "00".into(), "F01"),
        ("events", |v| v["events"] = serde_json::json!([]), "K02"),
        ("parts", |v| v["root_parts"][2] = "00".repeat(32).into(), "T02"),
        ("record", |v| v["record"] = "0a00".into(), "S01"),
        ("header", |v| v["block"]["header"] = "00".into(), "F01"),
        ("no reveal", |v| v["reveals"] = serde_json::json!([]), "R03"),
        ("another record", |v| v["reveals"][1] = v["record"].clone(), "R03"),
        ("a reveal twice", |v| v["reveals"][1] = v["reveals"][0].clone(), "R03"),
        ("unreadable reveal", |v| v["reveals"][5] = "0a00".into(), "S01"),
        ("network", |v| v["network"] = "00".repeat(32).into(), "F01"),
    ];
    for (name, change, code) in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        let fault = Proof::read(&serde_json::to_vec(&changed).unwrap())
            .and_then(|proof| proof.verify(&fixtures::genesis()))
            .err()
            .unwrap();
        assert_eq!(fault.code, code, "{name}: {}", fault.message);
    }
}

#[test]
fn a_proof_names_the_validators_since_the_genesis() {
    let mut world =
        World::of(fixtures::genesis_of(6), |_, plan| Some(fixtures::measurement(plan, 1.3)));
    world.say(5, Body::Leave(Leave { joined_at: 0 }));
    world.run(4);
    let claim = world.claim(0, child_recipe(9));
    world.run(30);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let (proof, _) = prove(&world, claim, &items);
    let genesis = fixtures::genesis_of(6);
    let proven = proof.verify(&genesis).unwrap();
    assert_eq!((proven.set_changes, proven.signed_by), (1, (5, 5)));

    let whole = serde_json::to_value(&proof).unwrap();
    let verify = |value: &Value| {
        Proof::read(&serde_json::to_vec(value).unwrap()).unwrap().verify(&genesis).err().unwrap()
    };
    let mut without = whole.clone();
    without["sets"] = serde_json::json!([]);
    // Five of six sign, which the genesis's validators would accept: more than two thirds of them did.
    without["block"]["certificate"] = whole["sets"][0]["block"]["certificate"].clone();
    assert_eq!(verify(&without).code, "C01");
    let mut others = whole.clone();
    let set = others["sets"][0]["validators"].as_object_mut().unwrap();
    set.insert("11".repeat(32), 1.into());
    assert_eq!(verify(&others).code, "T04");
    let mut twice = whole.clone();
    let again = whole["sets"][0].clone();
    twice["sets"].as_array_mut().unwrap().push(again);
    assert_eq!(verify(&twice).code, "H02");
}
