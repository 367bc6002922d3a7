//! The pages say what the ledger says.

use super::Site;
use super::world::World;
use axum::http::StatusCode;

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
