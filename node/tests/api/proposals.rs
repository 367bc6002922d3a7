//! Proposals and the numbers in force, as the API and the page show them.

use super::Site;
use super::board::said;
use super::samples::Truth;
use super::world::{World, peer};
use assay_node::board::Since;
use assay_protocol::ids::RecordId;
use assay_protocol::parameter::{Parameter, Proposal, Voice};
use assay_protocol::post::PostBody;
use assay_protocol::record::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

fn propose(world: &mut World, author: usize, parameter: Parameter, value: u64) -> RecordId {
    let why = "fewer <b>ties</b>".to_owned();
    let epoch = world.state.epoch_of(world.state.height() + 1);
    world.say(author, Body::Proposal(Proposal { parameter, value, why, epoch }))
}

fn vote(world: &mut World, proposal: RecordId, voices: &[(usize, bool)]) {
    for (member, yes) in voices {
        world.say(*member, Body::Voice(Voice { proposal, yes: *yes }));
    }
}

fn row<'a>(rows: &'a Value, key: &str, value: &Value) -> &'a Value {
    rows.as_array().unwrap().iter().find(|row| row[key] == *value).unwrap()
}

#[tokio::test]
async fn proposals_are_listed_with_their_votes_and_what_became_of_them() {
    let mut world = World::new(1_000_000);
    let claim = world.docket(0, world.base_with_bundle(9), None, "fused head", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    let gain = propose(&mut world, 1, Parameter::Gain, 40_000);
    vote(&mut world, gain, &[(0, true), (1, true), (2, true), (3, false), (4, true), (5, true)]);
    let weights = world.state.voice_weights();
    let all: u64 = weights.values().sum();
    let open = propose(&mut world, 2, Parameter::Reserves, 0);

    let site = Site::new(world.clone());
    let rows = site.json("/api/proposals").await;
    assert_eq!(rows[0]["id"], json!(open), "the latest first");
    let first = row(&rows, "id", &json!(gain));
    assert_eq!(
        (&first["state"], &first["parameter"]),
        (&json!("open"), &json!("significance.gain_ppm"))
    );
    assert_eq!((&first["before"], &first["value"]), (&json!(30_000), &json!(40_000)));
    assert_eq!(first["count"]["all"], all);
    assert_eq!(first["voices"].as_array().unwrap().len(), 6);
    assert!(first["in_force_from"].is_null() && first["unit"] == "millionths");
    let (_, page) = site.get("/knowledge").await;
    assert!(page.contains("&lt;b&gt;ties") && !page.contains("<b>ties"), "{page}");
    assert!(
        page.contains("significance.gain_ppm") && page.contains(&format!("/board/threads/{gain}"))
    );

    vote(&mut world, open, &[(0, false)]);
    world.wait(60_000);
    let since = world.state.height() + 1;
    let site = Site::new(world);
    let rows = site.json("/api/proposals").await;
    assert_eq!(row(&rows, "id", &json!(open))["state"], "rejected");
    let shown = site.json(&format!("/api/proposals/{}", gain.short())).await;
    assert_eq!((&shown["state"], &shown["count"]["all"]), (&json!("adopted"), &json!(all)));
    assert!(shown["in_force_from"].as_u64().unwrap() <= since);
    let parameters = site.json("/api/parameters").await;
    assert_eq!(parameters.as_array().unwrap().len(), Parameter::ALL.len());
    let changed = row(&parameters, "parameter", &json!("significance.gain_ppm"));
    assert_eq!((&changed["value"], &changed["genesis"]), (&json!(40_000), &json!(30_000)));
    assert_eq!((&changed["set_by"], &changed["since"]), (&json!(gain), &shown["in_force_from"]));
    let kept = row(&parameters, "parameter", &json!("committee.seats"));
    assert!(kept["set_by"].is_null() && kept["since"] == 0 && kept["value"] == kept["genesis"]);
    let genesis = site.json("/api/genesis").await;
    assert_eq!(genesis["significance"]["gain_ppm"], 30_000, "what the network started from");

    for unknown in ["ffffffff", "zz", "ff"] {
        let (status, answer) = site.get(&format!("/api/proposals/{unknown}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(answer.contains("assay proposal list"), "{answer}");
    }
}

#[tokio::test]
async fn a_ledger_without_proposals_says_how_to_make_one() {
    let site = Site::new(World::new(1_000_000));
    assert_eq!(site.json("/api/proposals").await, json!([]));
    let (_, page) = site.get("/knowledge").await;
    assert!(page.contains("assay proposal new") && page.contains("committee.frontier.quorum"));
}

#[test]
fn the_digest_tells_of_a_vote_first_to_those_who_have_not_voted() {
    let mut world = World::new(1_000_000);
    let proposal = propose(&mut world, 1, Parameter::Gain, 40_000);
    vote(&mut world, proposal, &[(0, true)]);
    let why = "why not 35000?".to_owned();
    let thread = PostBody { thread: Some(proposal), text: why, ..said("") };
    world.post(2, &thread);
    let told = |world: &World, member, height| {
        let since = Since { height, me: peer(member), lines: 40 };
        let digest = world.board.digest(&world.state, since);
        let group = digest.groups.into_iter().find(|group| group.id == proposal).unwrap();
        let lines = group.lines.into_iter().map(|line| (line.why, line.relevance));
        (group.title, lines.collect::<Vec<_>>())
    };
    let (title, lines) = told(&world, 3, 0);
    assert_eq!(title, "significance.gain_ppm 30000 → 40000");
    assert_eq!((lines[0].0.as_str(), lines.len()), ("proposal", 2));
    assert!(lines[0].1 > told(&world, 0, 0).1[0].1, "whoever voted need not hurry");
    let seen = world.state.height();
    world.wait(60_000);
    assert_eq!(told(&world, 3, seen).1[0].0, "vote");
}
