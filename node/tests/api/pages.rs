//! The pages say what the ledger says.

use super::Site;
use super::samples::Truth;
use super::watch;
use super::world::World;
use assay_protocol::ids::{BlobHash, RecordId};
use assay_protocol::ruling::{Charge, Judgement, Offence};
use axum::http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn an_empty_ledger_says_what_to_do() {
    let site = Site::new(World::new(1_000));
    let (status, page) = site.get("/").await;
    assert_eq!(status, StatusCode::OK);
    for hint in ["No claims yet", "POST /api/claims", "Nothing measured yet", "Nothing waits"] {
        assert!(page.contains(hint), "{hint}");
    }
    assert!(page.contains("testnet-local") && page.contains("ada"));
}

#[tokio::test]
async fn the_page_shows_every_kind_of_claim() {
    let (world, ids) = World::lively(1_000_000);
    let network = world.state.network().to_string();
    let site = Site::new(world);
    let (_, page) = site.get("/").await;
    for words in ["accepted", "refuted", "inconclusive", "sealing 3/5", "docketed", "lossy"] {
        assert!(page.contains(words), "{words}");
    }
    for id in &ids {
        assert!(page.contains(&format!("/claims/{id}")), "{id:?}");
    }
    assert!(page.contains("33.12") && page.contains("33.98"), "perplexities");
    assert!(page.contains("1.30") && page.contains("role=\"img\""), "ratios");
    assert!(page.contains("held by another process") && page.contains(&network));
    assert!(page.contains("/api/claims.csv") && page.contains("/api/ledger/export"));
}

#[tokio::test]
async fn an_entry_shows_its_evidence() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let (_, page) = site.get(&format!("/claims/{}", ids[2])).await;
    assert_eq!(page.matches("<circle class=\"dot\"").count(), 5 * 12);
    for words in ["Pooled", "identity", "physics", "advisory", "llvmpipe", "assay audit", "MiB"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains("below the committee"), "the author's figure against the pooled one");
    assert!(page.contains(&format!("/claims/{}", ids[0])), "lineage");
    assert!(page.contains("reserve, not called"));
}

#[tokio::test]
async fn an_entry_that_repeats_another_says_so_wherever_it_is_shown() {
    let mut world = World::new(1_000_000);
    let mut entry = |author: usize, bundle: u8| {
        let recipe = world.base_with_bundle(bundle);
        let id = world.docket(author, recipe, None, "faster", 1_300_000);
        world.settle(id, Truth::faster(1.3));
        world.open(author, id, 1_300_000);
        id
    };
    let (original, copy) = (entry(0, 1), entry(1, 2));
    let charge = Charge {
        rule: Offence::Duplicate,
        subject: RecordId(copy.0),
        evidence: Some(BlobHash(original.0)),
        sighting: None,
    };
    let flag = world.post(2, &watch::said(&charge));
    world.judge(flag, Judgement::Upheld);
    let site = Site::new(world);
    let found = site.json(&format!("/api/claims/{copy}")).await;
    let ruling = &found["rulings"][0];
    assert_eq!((&ruling["id"], &ruling["state"]), (&json!(flag), &json!("upheld")));
    assert_eq!(ruling["accused"]["name"], "bell");
    let (_, page) = site.get(&format!("/claims/{copy}")).await;
    for words in ["⚑ duplicate", ">upheld</a>", &format!("/claims/{original}"), "curie"] {
        assert!(page.contains(words), "{words}");
    }
    let listed = site.json("/api/claims").await;
    let rows = listed["claims"].as_array().unwrap();
    let of = |claim| &rows.iter().find(|row| row["id"] == json!(claim)).unwrap()["upheld"];
    assert_eq!((of(copy), of(original)), (&json!(["duplicate"]), &json!([])));
    let (_, page) = site.get("/").await;
    assert!(page.contains("⚑ duplicate") && page.contains("upheld"));
    let (_, page) = site.get(&format!("/claims/{original}")).await;
    assert!(!page.contains("⚑"));
}

#[tokio::test]
async fn an_open_claim_shows_what_it_waits_for() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let (_, sealing) = site.get(&format!("/claims/{}", ids[6])).await;
    assert!(sealing.contains("No seat has revealed") && sealing.contains("sealing 3/5"));
    let (_, docketed) = site.get(&format!("/claims/{}", ids[7])).await;
    assert!(docketed.contains("No committee yet"));
    let (_, inconclusive) = site.get(&format!("/claims/{}", ids[5])).await;
    assert!(inconclusive.contains("Too few seats revealed"));
}

#[tokio::test]
async fn long_lists_have_pages() {
    let site = Site::new(World::lively(1_000_000).0);
    let (_, older) = site.get("/?offset=5").await;
    assert!(older.contains("6–8 of 8") && older.contains(">newest<"));
    let (_, beyond) = site.get("/?offset=500").await;
    assert!(beyond.contains("no claims this far back"));
}

#[tokio::test]
async fn every_asset_named_on_a_page_is_there() {
    let site = Site::new(World::new(1_000));
    let (_, page) = site.get("/").await;
    let named: Vec<&str> = page
        .split(['"'])
        .filter(|part| part.starts_with("/assets/") || part.starts_with("/api/"))
        .collect();
    assert!(named.len() >= 6, "{named:?}");
    for path in named {
        assert_eq!(site.get(path).await.0, StatusCode::OK, "{path}");
    }
}
