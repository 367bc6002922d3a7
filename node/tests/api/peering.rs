//! Peers, one of them, and this node.

use super::Site;
use super::world::{World, peer};
use axum::http::StatusCode;

#[tokio::test]
async fn peers_are_listed_by_class_with_what_they_did() {
    let site = Site::new(World::lively(1_000_000).0);
    let (status, page) = site.get("/peers").await;
    assert_eq!(status, StatusCode::OK);
    for words in [
        "cpu-llvmpipe-8wide",
        "founder",
        "validator",
        "not connected",
        "this node",
        "shipper, verifier",
    ] {
        assert!(page.contains(words), "{words}");
    }
    for index in 0..7 {
        assert!(page.contains(&format!("/peers/{}", peer(index))), "{index}");
    }
    let rows = site.json("/api/members").await;
    let ada = rows.as_array().unwrap().iter().find(|row| row["name"] == "ada").unwrap().clone();
    assert_eq!((&ada["deeds"]["claims"], &ada["active"]), (&2.into(), &true.into()));
}

#[tokio::test]
async fn a_peer_page_adds_its_standing_up() {
    let site = Site::new(World::lively(1_000_000).0);
    let (status, page) = site.get(&format!("/peers/{}", peer(2))).await;
    assert_eq!(status, StatusCode::OK);
    for words in
        ["curie", "operator-2", "start", "measured within the quorum", "drawn first for a round"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains("int4 checkpoint"), "its claim");
    let short = peer(2).to_string()[..8].to_owned();
    assert_eq!(site.get(&format!("/peers/{short}")).await.0, StatusCode::OK);
    assert_eq!(site.get("/peers/curie").await.0, StatusCode::OK);
    let rows = site.json(&format!("/api/members/{short}/standing")).await;
    let points: i64 =
        rows.as_array().unwrap().iter().map(|row| row["points"].as_i64().unwrap()).sum();
    let members = site.json("/api/members").await;
    let row =
        members.as_array().unwrap().iter().find(|row| row["name"] == "curie").unwrap().clone();
    assert_eq!(10 + points, row["standing"].as_i64().unwrap());
    assert!(
        !site.json(&format!("/api/members/{short}/events")).await.as_array().unwrap().is_empty()
    );
    assert_eq!(
        site.json(&format!("/api/members/{short}/claims")).await.as_array().unwrap().len(),
        1
    );
    for bad in ["nobody", "00000000", "zz"] {
        assert_eq!(site.get(&format!("/peers/{bad}")).await.0, StatusCode::NOT_FOUND, "{bad}");
        let path = format!("/api/members/{bad}/events");
        assert_eq!(site.get(&path).await.0, StatusCode::NOT_FOUND, "{bad}");
    }
}

#[tokio::test]
async fn the_node_says_what_it_does_and_how_to_stop_it() {
    let site = Site::new(World::lively(1_000_000).0);
    let (status, page) = site.get("/node").await;
    assert_eq!(status, StatusCode::OK);
    for words in [
        "llvmpipe (LLVM",
        "GB/s",
        "searcher, stopped",
        "assay agent start",
        "Seats now",
        "assay leave",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let (_, fresh) = Site::new(World::new(1_000)).get("/node").await;
    assert!(fresh.contains("assay doctor"));
}
