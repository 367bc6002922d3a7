//! Who works with whom: every kind of interaction is counted once, for the right pair, and drawn.

use super::Site;
use super::board::{answer, flag, said, titled, with};
use super::samples::Truth;
use super::talk::Talk;
use super::world::{World, peer};
use assay_protocol::ids::RecordId;
use assay_protocol::post::{Detail, Endorsement, Playbook, PostBody};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// What one member did with another, every count that is not 0.
fn between(answer: &Value, from: usize, to: usize) -> Value {
    let rows = answer["interactions"].as_array().unwrap();
    let (from, to) = (json!(peer(from)), json!(peer(to)));
    let found = rows.iter().find(|row| row["from"]["peer"] == from && row["to"]["peer"] == to);
    let Some(Value::Object(row)) = found.cloned() else { return json!({}) };
    let counts = row.into_iter().filter(|(_, value)| value.as_u64().is_some_and(|n| n > 0));
    Value::Object(counts.collect())
}

#[tokio::test]
async fn what_is_said_counts_once_a_kind_and_for_whom_it_is_said_to() {
    let mut world = World::new(1_000_000);
    let root = world.post(1, &titled("Int4", "who has numbers?"));
    let reply = PostBody { refs: vec![root], ..answer(root, "@bell @bell, and @curie: 1.31×") };
    let reply = world.post(2, &reply);
    world.post(1, &answer(root, "@ada myself, in my own thread"));
    let book = with(Detail::Playbook(Playbook { revises: None, table: None }), "1. read");
    let book = world.post(3, &book);
    world.post(4, &with(Detail::Endorsement(Endorsement { playbook: book }), "it works"));
    // An accusation is no conversation, whatever it quotes.
    let charge = PostBody { thread: Some(root), refs: vec![reply, root], ..flag(reply) };
    world.post(5, &charge);
    world.post(5, &PostBody { refs: vec![RecordId(peer(6).0)], ..said("see") });
    world.whisper(6, &answer(root, "@ada not ordered yet"));
    let site = Site::new(world);
    let all = site.json("/api/board/interactions").await;
    assert_eq!(between(&all, 2, 1), json!({"replies": 1, "mentions": 1, "quotes": 1, "total": 3}));
    assert_eq!(between(&all, 1, 0), json!({"mentions": 1, "total": 1}));
    assert_eq!(between(&all, 4, 3), json!({"quotes": 1, "total": 1}));
    assert_eq!(between(&all, 5, 2), json!({"flags": 1, "total": 1}));
    assert_eq!(between(&all, 5, 6), json!({"quotes": 1, "total": 1}));
    assert_eq!(all["total"], 5, "{all}");
    assert_eq!(
        between(&all, 2, 1),
        between(&site.json("/api/board/interactions?kind=words").await, 2, 1)
    );
    let flags = site.json("/api/board/interactions?kind=flags&limit=1").await;
    assert_eq!(
        (&flags["total"], between(&flags, 5, 2)),
        (&json!(1), json!({"flags": 1, "total": 1}))
    );
}

#[tokio::test]
async fn the_ledger_says_who_built_on_whom_and_who_measured() {
    let mut world = World::new(1_000_000);
    let first = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    world.settle(first, Truth::faster(1.3));
    let child = world.docket(2, world.base_with_bundle(2), Some(first), "faster yet", 1_200_000);
    world.settle(child, Truth::faster(1.2));
    // The fifth member claims what the second, third and fourth had a part in.
    let relayed = world.relay();
    world.settle(relayed, Truth::faster(1.9));
    world.open(4, relayed, 1_900_000);
    let rounds = &world.state.claim(relayed).unwrap().rounds;
    let seats = rounds.iter().flat_map(|round| round.reveals.keys());
    let seats: Vec<usize> =
        seats.filter_map(|seat| (0..7).find(|index| peer(*index) == *seat)).collect();
    let site = Site::new(world);
    let all = site.json("/api/board/interactions").await;
    for (to, part) in [(1, "built"), (2, "tried"), (3, "diagnosed")] {
        assert_eq!(between(&all, 4, to)["relays"], 1, "{part}");
    }
    assert_eq!(between(&all, 4, 3)["citations"], 1);
    assert_eq!(between(&all, 4, 6)["citations"], 1, "the spec");
    assert_eq!(between(&all, 2, 0)["parents"], 1);
    assert!(!seats.is_empty());
    for seat in &seats {
        let sat = seats.iter().filter(|other| *other == seat).count();
        assert_eq!(between(&all, *seat, 4)["attestations"], sat, "seat {seat}");
    }
    let work = site.json("/api/board/interactions?kind=work&peer=euler").await;
    let rows = work["interactions"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["total"].as_u64() > Some(0)));
    assert!(rows.iter().all(|row| row["from"]["name"] == "euler" || row["to"]["name"] == "euler"));
}

#[tokio::test]
async fn the_drawing_and_the_table_show_the_same_pairs() {
    let site = Site::new(Talk::new(1_000_000).world);
    let (status, page) = site.get("/board/interactions").await;
    assert_eq!(status, StatusCode::OK);
    let all = site.json("/api/board/interactions").await;
    let rows = all["interactions"].as_array().unwrap();
    let mut pairs: Vec<[&str; 2]> = rows
        .iter()
        .map(|row| {
            let mut ends = ["from", "to"].map(|end| row[end]["peer"].as_str().unwrap());
            ends.sort_unstable();
            ends
        })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(page.matches("<g class=\"edge").count(), pairs.len());
    assert_eq!(page.matches("<a class=\"peer-node").count(), 7);
    let table = page.split("id=\"pairs\"").nth(1).unwrap();
    assert_eq!(table.matches("<tr>").count(), rows.len() + 1);
    assert!(page.contains("⚑") && page.contains("curie to bell: 1 reply, 1 mention"), "{page}");
    let (_, csv) = site.get("/api/board/interactions.csv").await;
    assert_eq!(csv.lines().count(), rows.len() + 1);
    assert!(csv.starts_with("from_peer,from_name,to_peer,to_name,replies,mentions,"), "{csv}");
    let (_, one) = site.get("/board/interactions?kind=words&peer=bell").await;
    assert!(one.contains("/api/board/interactions.csv?kind=words&amp;peer="), "{one}");
    assert!(site.get("/board").await.1.contains("href=\"/board/interactions\""));
    assert!(site.get("/peers/bell").await.1.contains("/board/interactions?peer="));
}

#[tokio::test]
async fn nobody_and_nonsense_are_told_what_there_is() {
    let site = Site::new(World::new(1_000));
    let (status, page) = site.get("/board/interactions").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Nobody has dealt with anybody yet") && !page.contains("peer-graph"));
    let (_, none) = site.get("/board/interactions?kind=flags").await;
    assert!(none.contains("Everything between all peers"));
    for (query, words) in [
        ("kind=gossip", "words, work, attestations, flags"),
        ("peer=nobody", "assay members"),
        ("x=1", "kind"),
    ] {
        let (status, page) = site.get(&format!("/board/interactions?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(page.contains(words), "{query}: {page}");
        let (status, _) = site.get(&format!("/api/board/interactions?{query}")).await;
        assert!(status.is_client_error(), "{query}");
    }
    let beyond = site.json("/api/board/interactions?offset=18446744073709551615").await;
    assert_eq!(beyond["interactions"], json!([]));
}

#[tokio::test]
async fn names_from_strangers_stay_words() {
    let mut genesis = super::world::genesis(1_000_000);
    genesis.members[1].name = "<script>alert(1)</script>\u{202e}".to_owned();
    let mut world = World::of(genesis);
    let root = world.post(1, &titled("a", "b"));
    world.post(2, &answer(root, "yes"));
    let (_, page) = Site::new(world).get("/board/interactions").await;
    assert!(!page.contains("<script>alert") && !page.contains('\u{202e}'));
    assert!(page.contains("2 peers"), "{page}");
}
