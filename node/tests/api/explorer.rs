//! The ledger explorer shows blocks as they were ordered, and finds what is on them.

use super::world::{World, peer};
use super::{Site, request};
use axum::body::Body;
use axum::http::StatusCode;

#[tokio::test]
async fn blocks_come_newest_first_and_in_parts() {
    let (world, _) = World::lively(1_000_000);
    let height = world.state.height();
    let site = Site::new(world);
    let (status, page) = site.get("/ledger").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains(&format!("href=\"/ledger/{height}\"")));
    assert!(page.contains("aria-current=\"page\">Ledger"), "the current page is marked");
    for name in ["ada", "euler", "operator-4"] {
        assert!(page.contains(name), "{name}");
    }
    assert!(page.contains(&format!("/ledger?from={}", height - 40)));
    let (_, older) = site.get("/ledger?from=3").await;
    assert!(older.contains("1–3 of") && older.contains(">newest<") && !older.contains(">older<"));
    assert!(site.get("/ledger?from=0").await.1.contains("no blocks this far back"));
    assert_eq!(site.get("/ledger?from=x").await.0, StatusCode::BAD_REQUEST);

    let part = site.json("/api/ledger/blocks?from=5&limit=2").await;
    let heights: Vec<u64> =
        part["blocks"].as_array().unwrap().iter().map(|b| b["height"].as_u64().unwrap()).collect();
    assert_eq!((heights.as_slice(), part["next"].as_u64()), ([5, 4].as_slice(), Some(3)));
    let first = site.json("/api/ledger/blocks?from=1").await;
    assert!(first["next"].is_null());
    let all = site.json("/api/ledger/blocks?from=18446744073709551615&limit=0").await;
    assert_eq!(all["blocks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_block_shows_its_records_and_who_signed() {
    let (mut world, ids) = World::lively(1_000_000);
    let damaged = world.items.len() - 1;
    world.items[damaged].certificate.as_mut().unwrap().signatures[1].signature[3] ^= 1;
    let docketed = world.state.claim(ids[1]).unwrap().docketed_at;
    let head = world.state.height();
    let site = Site::new(world);
    let (_, page) = site.get(&format!("/ledger/{docketed}")).await;
    for words in ["wider workgroups", "Certificate", "verifies", "State root", "block-title"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains(&format!("/claims/{}", ids[1])) && !page.contains("does not verify"));
    let (_, page) = site.get(&format!("/ledger/{head}")).await;
    assert_eq!(page.matches("does not verify").count(), 1);
    let block = site.json(&format!("/api/ledger/blocks/{docketed}")).await;
    assert_eq!(block["ordered"][0]["kind"], "claim");
    assert_eq!(block["ordered"][0]["about"]["claim"], ids[1].to_string());
    assert_eq!(block["signers"].as_array().unwrap().len(), 5);
    for bad in ["0", "99999", "x", "-1", "18446744073709551616"] {
        let (status, page) = site.get(&format!("/ledger/{bad}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{bad}");
        assert!(page.contains("The pages of this node"), "{bad}");
        let (status, _) = site.get(&format!("/api/ledger/blocks/{bad}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{bad}");
    }
}

#[tokio::test]
async fn a_search_leads_to_whatever_it_names() {
    let (world, ids) = World::lively(1_000_000);
    let head = world.state.head().to_string();
    let height = world.state.height();
    let record = world.items.iter().rev().find_map(|item| {
        let records = &item.block.as_ref()?.records;
        let last = records.first()?;
        assay_protocol::wire::id_of(world.state.network(), last)
    });
    let record = record.unwrap().to_string();
    let site = Site::new(world);
    let claim = ids[0].to_string();
    for (asked, found) in [
        ("7".to_owned(), "/ledger/7".to_owned()),
        ("ada".to_owned(), format!("/peers/{}", peer(0))),
        (peer(3).to_string()[..10].to_owned(), format!("/peers/{}", peer(3))),
        (claim[..8].to_owned(), format!("/claims/{claim}")),
        (head[..12].to_owned(), format!("/ledger/{height}")),
        (head.to_ascii_uppercase(), format!("/ledger/{height}")),
    ] {
        let answer =
            site.send(request("GET", &format!("/ledger?q={asked}")).body(Body::empty()).unwrap());
        let answer = answer.await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{asked}");
        assert_eq!(answer.headers()["location"], found.as_str(), "{asked}");
    }
    let answer =
        site.send(request("GET", &format!("/ledger?q={record}")).body(Body::empty()).unwrap());
    assert_eq!(answer.await.status(), StatusCode::SEE_OTHER);
    for nothing in ["nobody", "0", "99999", "00000000000000", "%3Cscript%3E", "%22%27%0a"] {
        let (status, page) = site.get(&format!("/ledger?q={nothing}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{nothing}");
        assert!(page.contains("nothing on this ledger is called") && !page.contains("<script>"));
    }
}

#[tokio::test]
async fn an_empty_ledger_has_an_explorer_too() {
    let site = Site::new(World::new(1_000));
    let (status, page) = site.get("/ledger").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("No block yet") && page.contains("Validators"));
}
