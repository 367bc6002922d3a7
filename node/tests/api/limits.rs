//! Limits beside the entries that go furthest.

use super::Site;
use super::board::with;
use super::samples::Truth;
use super::world::{CLASS, World, peer};
use assay_node::board::Since;
use assay_protocol::ids::BlobHash;
use assay_protocol::post::{Bound, Detail, Limit, PostBody, Quantity};
use axum::http::StatusCode;
use serde_json::json;

pub(super) fn limit(quantity: Quantity, most: u64, checkpoint: Option<BlobHash>) -> PostBody {
    let bound = Bound { hardware_class: CLASS.to_owned(), checkpoint, quantity, most };
    let levers = vec!["int4".to_owned()];
    with(Detail::Limit(Limit { levers, bound }), "it goes no further")
}

#[tokio::test]
async fn an_empty_page_says_what_would_fill_it() {
    let (status, page) = Site::new(World::new(1_000)).get("/knowledge").await;
    assert_eq!(status, StatusCode::OK);
    for hint in ["assay limit new", "assay board dead-end", "assay playbook new", "assay spec new"]
    {
        assert!(page.contains(hint), "{hint}");
    }
    assert!(page.contains("No round was settled yet"));
}

#[tokio::test]
async fn an_entry_that_goes_further_is_shown_beside_the_limit() {
    let mut world = World::new(1_000_000);
    let low = world.post(1, &limit(Quantity::RatioToBase, 1_200_000, None));
    let high = world.post(2, &limit(Quantity::RatioToBase, 1_500_000, None));
    let other = world.post(3, &limit(Quantity::DecodeSpeed, 1, Some(BlobHash([9; 32]))));
    let before = world.state.height();
    let claim = world.docket(0, world.base_with_bundle(9), None, "fused head", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    assert!(world.state.claim(claim).unwrap().is_confirmed());
    let since = |me| Since { height: before, me: peer(me), lines: 40 };
    let told = world.board.digest(&world.state, since(1));
    let lines: Vec<_> = told.groups.iter().flat_map(|group| &group.lines).collect();
    assert!(lines.iter().any(|line| line.why == "limit" && line.id == low && line.relevance > 90));
    assert!(!lines.iter().any(|line| line.id == high));

    let site = Site::new(world);
    let rows = site.json("/api/board/limits").await;
    let row = |id| rows.as_array().unwrap().iter().find(|row| row["id"] == json!(id)).unwrap();
    assert_eq!(row(low)["debunked_by"]["claim"], json!(claim));
    assert_eq!(row(low)["levers"], json!(["int4"]));
    assert!(row(high)["debunked_by"].is_null());
    assert_eq!(row(high)["closest"]["claim"], json!(claim));
    assert!(row(other)["debunked_by"].is_null() && row(other)["closest"].is_null());
    let shown = site.json(&format!("/api/board/limits/{}", low.short())).await;
    let value = shown["debunked_by"]["value"].as_u64().unwrap();
    assert!(value.abs_diff(1_300_000) < 30_000, "{value}");
    assert_eq!(shown["post"]["text"], "it goes no further");
    let (_, page) = site.get(&format!("/board/threads/{low}")).await;
    assert!(page.contains("int4 go no further") && page.contains("at most 1.200×"), "{page}");
    let (_, page) = site.get("/knowledge").await;
    for words in ["debunked", "holds", "at most 1.500×", "fused head", &claim.short(), CLASS] {
        assert!(page.contains(words), "{words}");
    }
    let classes = site.json("/api/classes").await;
    let found = classes[0]["found_from"].as_f64().unwrap();
    assert!(classes[0]["class"] == CLASS && found > classes[0]["counts_from"].as_f64().unwrap());

    // Who is about to set a limit learns what it would not survive.
    let ask = |more: &str| format!("/api/board/beyond?hardware_class={CLASS}{more}");
    let found = site.json(&ask("&quantity=ratio-to-base&most=1200000")).await;
    assert_eq!(found["claim"], json!(claim));
    assert!(site.json(&ask("&quantity=ratio-to-base&most=1400000")).await.is_null());
    assert_eq!(site.json(&ask("&quantity=decode-speed&most=1")).await["claim"], json!(claim));
    let elsewhere = format!("&quantity=decode-speed&most=1&checkpoint={}", "09".repeat(32));
    assert!(site.json(&ask(&elsewhere)).await.is_null());
    for (path, status, words) in [
        (ask("&quantity=length&most=1"), StatusCode::BAD_REQUEST, "length"),
        (ask("&quantity=decode-speed"), StatusCode::BAD_REQUEST, "most"),
        ("/api/board/limits/abcdef".to_owned(), StatusCode::NOT_FOUND, "assay limit list"),
    ] {
        let (found, body) = site.get(&path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(words), "{path}: {body}");
    }
}
