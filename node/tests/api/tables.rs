//! Every list that a page shows is there as CSV and JSON.

use super::Site;
use super::world::World;
use axum::http::StatusCode;
use std::collections::BTreeSet;

/// Addresses of tables on a page.
fn linked(page: &str) -> BTreeSet<String> {
    let parts = page.split("href=\"").skip(1).filter_map(|part| part.split('"').next());
    let api = parts.filter(|path| path.starts_with("/api/"));
    api.filter(|path| !path.contains("export")).map(|path| path.replace("&amp;", "&")).collect()
}

#[tokio::test]
async fn every_table_on_every_page_downloads() {
    let (world, ids) = World::lively(1_000_000);
    let height = world.state.height();
    let site = Site::new(world);
    let mut tables = BTreeSet::new();
    for path in [
        "/",
        "/board",
        "/board/interactions",
        "/lineage",
        "/knowledge",
        "/ledger",
        "/peers",
        "/peers/curie",
        "/node",
    ] {
        tables.extend(linked(&site.get(path).await.1));
    }
    for path in
        [format!("/claims/{}", ids[2]), format!("/lineage/{}", ids[2]), format!("/ledger/{height}")]
    {
        tables.extend(linked(&site.get(&path).await.1));
    }
    let csv = tables.iter().filter(|path| path.contains(".csv")).count();
    assert!(csv >= 16, "{tables:?}");
    for path in &tables {
        let (status, body) = site.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        if path.contains(".csv") {
            let columns = body.lines().next().unwrap().split(',').count();
            assert!(columns > 1 || body.lines().count() == 1, "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn a_list_as_a_table_has_its_rows_and_nothing_that_runs() {
    let site = Site::new(World::lively(1_000_000).0);
    let (status, table) = site.get("/api/members.csv").await;
    assert_eq!(status, StatusCode::OK);
    assert!(table.starts_with("peer,name,operator,membership,active,standing,weight,"));
    assert!(table.contains("deeds_claims") && table.lines().count() == 8);
    let (_, blocks) = site.get("/api/ledger/blocks.csv?from=4&limit=2").await;
    assert_eq!(blocks.lines().count(), 3);
    assert_eq!(site.get("/api/claims/zz.csv").await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/api/nothing.csv").await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/ledger.csv").await.0, StatusCode::NOT_FOUND);
}
