//! The lineage: what was made from what, and how one entry came about.

use super::Site;
use super::world::World;
use assay_protocol::post::{DeadEnd, Detail, Plan, PostBody, Trial};
use axum::http::StatusCode;

fn words(channel: &str, detail: Detail) -> PostBody {
    PostBody {
        channel: channel.to_owned(),
        thread: None,
        refs: Vec::new(),
        title: "a title".to_owned(),
        text: String::new(),
        detail: Some(detail),
    }
}

#[tokio::test]
async fn the_graph_has_claims_and_what_they_are_made_of() {
    let (world, ids) = World::lively(1_000_000);
    let base = world.state.base_claim().to_string();
    let site = Site::new(world);
    let (status, page) = site.get("/lineage").await;
    assert_eq!(status, StatusCode::OK);
    for words in
        ["accepted 1.", "refuted", "being measured", "undecided", "base recipe", "kernel bundle"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(page.matches("class=\"node claim").count(), 8);
    assert!(!page.contains("<script>alert"), "strangers' words stay words");
    let nodes = site.json("/api/lineage").await;
    let nodes = nodes.as_array().unwrap();
    let find = |id: &str| nodes.iter().find(|node| node["id"] == id).unwrap();
    let child = find(&ids[2].to_string());
    let from: Vec<&str> =
        child["from"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(
        from.contains(&ids[0].to_string().as_str()) && from.contains(&"d4".repeat(32).as_str()),
        "{from:?}"
    );
    assert_eq!(find(&ids[0].to_string())["from"][0], base);
    assert_eq!(child["levers"][0], "checkpoint");
    assert_eq!(nodes.iter().filter(|node| node["kind"] == "bundle").count(), 6);
}

#[tokio::test]
async fn an_entry_says_how_it_came_about() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let (status, page) = site.get(&format!("/lineage/{}", ids[6])).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("How did we get to") && page.contains("3. being measured"));
    assert_eq!(page.matches("edge way").count(), 3);
    let by_query = site.get(&format!("/lineage?entry={}", &ids[6].to_string()[..10])).await;
    assert!(by_query.1.contains("How did we get to"));
    let steps = site.json(&format!("/api/lineage/{}", ids[6])).await;
    let steps = steps.as_array().unwrap();
    let claims: Vec<&str> = steps.iter().map(|step| step["claim"].as_str().unwrap()).collect();
    assert_eq!(claims, [ids[0], ids[2], ids[6]].map(|id| id.to_string()));
    assert_eq!(steps[1]["changed"], serde_json::json!(["checkpoint"]));
    assert!(steps[1]["ratio"]["ppm"].as_u64() > Some(1_500_000) && steps[2]["ratio"].is_null());
    for bad in ["nobody", "00000000"] {
        assert_eq!(site.get(&format!("/lineage/{bad}")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(site.get(&format!("/api/lineage/{bad}")).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn techniques_come_from_the_author_and_from_dead_ends() {
    let (mut world, ids) = World::lively(1_000_000);
    let levers = |lever: &str| vec![lever.to_owned()];
    let plan = world.post(
        0,
        &words("plans", Detail::Plan(Plan { parent: None, levers: levers("rmsnorm-fusion") })),
    );
    let told = |claim| {
        let trial =
            Trial { claim: Some(claim), ratio_ppm: 1_300_000, hardware_class: "cpu-x".to_owned() };
        PostBody { refs: vec![plan], ..words("results", Detail::Result(trial)) }
    };
    world.post(0, &told(ids[0]));
    // Somebody else's word about a claim does not label it.
    world.post(3, &told(ids[2]));
    world.post(
        4,
        &words(
            "dead-ends",
            Detail::DeadEnd(DeadEnd { levers: levers("wide-softmax"), claim: Some(ids[1]) }),
        ),
    );
    let site = Site::new(world);
    let nodes = site.json("/api/lineage").await;
    let levers = |id: String| {
        nodes.as_array().unwrap().iter().find(|node| node["id"] == id).unwrap()["levers"].clone()
    };
    assert_eq!(levers(ids[0].to_string()), serde_json::json!(["rmsnorm-fusion"]));
    assert_eq!(levers(ids[1].to_string()), serde_json::json!(["wide-softmax"]));
    assert_eq!(levers(ids[2].to_string()), serde_json::json!(["checkpoint"]));
    let (_, page) = site.get("/lineage?q=wide-softmax").await;
    assert!(page.contains("1 node fits") && page.matches("found\"").count() == 1);
}

#[tokio::test]
async fn scale_and_search_are_links_that_keep_each_other() {
    let (world, ids) = World::lively(1_000_000);
    let site = Site::new(world);
    let (_, page) = site.get(&format!("/lineage/{}?zoom=68&q=int4%20%22%3E", ids[2])).await;
    assert!(page.contains("70 %"), "the nearest scale that there is");
    assert!(page.contains(&format!("/lineage/{}?zoom=100&amp;q=int4%20%22%3E", ids[2])), "{page}");
    assert!(page.contains("Nothing in the lineage has all these words"));
    for zoom in ["0", "4294967295", "x", "-1"] {
        assert_eq!(site.get(&format!("/lineage?zoom={zoom}")).await.0, StatusCode::OK, "{zoom}");
    }
    let (_, empty) = Site::new(World::new(1_000)).get("/lineage").await;
    assert!(empty.contains("Nobody has claimed anything yet"));
}
