//! Derivations are the ledger's own, step by step.

use super::Site;
use super::samples::Truth;
use super::world::{CLASS, World, genesis, peer};
use assay_protocol::ids::ClaimId;
use assay_protocol::measurement::MICRONATS_MAX;
use assay_protocol::verdict::Outcome;
use axum::http::StatusCode;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn entries_and_peers_are_explained_step_by_step() {
    let (world, ids) = World::lively(1_000_000);
    let state = world.state.clone();
    let site = Site::new(world);
    let said = site.json(&format!("/api/explain/{}", ids[2])).await;
    assert_eq!((&said["kind"], &said["result"]["outcome"]), (&json!("entry"), &json!("accepted")));
    let title = |word: &str| {
        let steps = said["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["title"].as_str().unwrap().contains(word));
        step.unwrap_or_else(|| panic!("no step {word}")).clone()
    };
    let seats = title("log ratios");
    assert_eq!(seats["values"][0]["log_ratios"].as_array().unwrap().len(), 12);
    // The weighted mean of the seats' means is the pooled mean, and e to it the entry's ratio.
    let pooled = &title("pooling")["values"];
    let (tau, sigma) = (pooled["tau"].as_f64().unwrap(), pooled["sigma"].as_f64().unwrap());
    let mean = pooled["mean"].as_f64().unwrap();
    let means: Vec<f64> =
        seats["values"].as_array().unwrap().iter().map(|s| s["mean"].as_f64().unwrap()).collect();
    let by_hand = means.iter().sum::<f64>() / means.len() as f64;
    assert!((by_hand - mean).abs() < 1e-9, "equal numbers of pairs make equal weights");
    // τ² moderates what the seats show by what was known of the class when they were drawn.
    let figure = |name: &str| pooled[name].as_f64().unwrap();
    let class = state.claim(ids[2]).unwrap().rounds[0].calibration;
    let known = class.between(&state.genesis().significance);
    assert!(class.rounds() > 0);
    assert_eq!((figure("tau_known"), figure("tau_known_df")), (known.tau, known.df));
    let seats_df = figure("tau_own_df");
    let squares = known.df * known.tau * known.tau + seats_df * figure("tau_squared_own");
    assert!((squares / (known.df + seats_df) - tau * tau).abs() < 1e-15);
    let error = ((tau * tau + sigma * sigma / 12.0) / means.len() as f64).sqrt();
    assert!((error - pooled["standard_error"].as_f64().unwrap()).abs() < 1e-12);
    let ratio_ppm = said["result"]["ratio"]["ppm"].as_f64().unwrap();
    let decided = title("interval")["values"]["ratio"].as_f64().unwrap();
    assert!((mean.exp() - decided).abs() < 1e-12);
    assert!((1.5..1.8).contains(&(ratio_ppm / 1e6)));
    assert_eq!(title("gates")["values"]["gates"].as_array().unwrap().len(), 8);

    for (peer, member) in state.members() {
        let said = site.json(&format!("/api/explain/{}", member.name)).await;
        assert_eq!(said["id"], peer.to_string());
        let sum = &said["steps"][1]["values"];
        let start = sum["start"].as_i64().unwrap();
        assert_eq!(json!(start + sum["points"].as_i64().unwrap()), said["result"]["standing"]);
        assert_eq!(said["result"]["standing"], member.standing);
    }
    for nothing in ["nobody", "000000", "%C3%A9"] {
        assert_eq!(site.get(&format!("/api/explain/{nothing}")).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_hardware_class_is_explained() {
    let site = Site::new(World::lively(1_000_000).0);
    let said = site.json(&format!("/api/explain/{CLASS}")).await;
    assert_eq!(said["kind"], "class");
    assert!(said["inputs"]["rounds"].as_u64().unwrap() > 0);
    let result = &said["result"];
    assert!(result["sigma"].as_f64().unwrap() > 0.0 && result["base_tps"].as_f64().unwrap() > 0.0);
    assert!((2..=12).contains(&result["pairs"].as_u64().unwrap()));
    let base = &said["steps"][2]["values"];
    assert!(base["base_perplexity"].as_f64().unwrap() > 1.0, "{base}");
}

/// Perplexity of the base in every honest measurement.
const BASE_PERPLEXITY: f64 = 33.12;

/// The base's perplexity as the class's explanation gives it.
async fn base_perplexity(world: World) -> f64 {
    let said = Site::new(world).json(&format!("/api/explain/{CLASS}")).await;
    said["steps"][2]["values"]["base_perplexity"].as_f64().unwrap()
}

#[tokio::test]
async fn no_seat_alone_says_what_the_base_is_worth() {
    let mut world = World::new(1_000_000);
    let claim = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    world.draw(claim);
    let liar = world.seated(claim)[0];
    world.tamper = Arc::new(move |index, measured| {
        for pair in &mut measured.pairs {
            pair.base_nll_micronats =
                if index == liar { MICRONATS_MAX } else { pair.base_nll_micronats };
        }
    });
    world.settle(claim, Truth::faster(1.3));
    let found = base_perplexity(world).await;
    assert!((found - BASE_PERPLEXITY).abs() < 0.01, "{found}");
}

#[tokio::test]
async fn what_an_undecided_round_scored_is_not_the_base() {
    let mut world = World::new(1_000_000);
    let claim = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    let open = world.docket(0, world.base_with_bundle(2), None, "faster still", 1_300_000);
    world.draw(open);
    world.tamper = Arc::new(|_, measured| {
        measured.pairs.iter_mut().for_each(|pair| pair.base_nll_micronats *= 2);
    });
    world.seal(open, Truth::faster(1.4), 5);
    world.reveal(open, Truth::faster(1.4), 4);
    assert!(world.state.claim(open).unwrap().is_open());
    let found = base_perplexity(world).await;
    assert!((found - BASE_PERPLEXITY).abs() < 0.01, "{found}");
}

/// Titles of the steps that derive a claim.
async fn titles(world: &World, claim: ClaimId) -> Vec<String> {
    let said = Site::new(world.clone()).json(&format!("/api/explain/{claim}")).await;
    let title = |step: &serde_json::Value| step["title"].as_str().unwrap().to_owned();
    said["steps"].as_array().unwrap().iter().map(title).collect()
}

#[tokio::test]
async fn no_ratio_is_derived_where_the_ledger_gives_none() {
    let mut world = World::new(1_000_000);
    let speed = ["pooling", "interval and rank test"];
    let claim = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    world.draw(claim);
    // Only the first three members are of the claim's class, and one of them is its author.
    world.tamper = Arc::new(|index, measured| {
        if index >= 3 {
            "gpu-other".clone_into(&mut measured.environment.hardware_class);
        }
    });
    world.seal(claim, Truth::faster(1.3), 5);
    world.reveal(claim, Truth::faster(1.3), 4);
    let open = titles(&world, claim).await;
    assert!(open.iter().any(|title| title.contains("log ratios")), "{open:?}");
    assert!(!open.iter().any(|title| speed.iter().any(|word| title.contains(word))), "{open:?}");
    let mut pending = world.clone();
    let last = pending.seated(claim)[4];
    pending.reveal_of(claim, Truth::faster(1.3), last);
    let outcome = pending.state.claim(claim).unwrap().rounds[0].outcome();
    assert_eq!(outcome, Some(Outcome::Pending));
    let titles = titles(&pending, claim).await;
    assert!(titles.iter().any(|title| title.contains("gates")), "{titles:?}");
    assert!(
        !titles.iter().any(|title| speed.iter().any(|word| title.contains(word))),
        "{titles:?}"
    );
}

#[tokio::test]
async fn names_hide_neither_ids_nor_classes() {
    let mut genesis = genesis(1_000_000);
    genesis.members[1].name = peer(0).to_string();
    CLASS.clone_into(&mut genesis.members[2].name);
    genesis.members[3].name = peer(4).short();
    let mut world = World::of(genesis);
    let claim = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    let site = Site::new(world);
    let explain = async |text: &str| site.json(&format!("/api/explain/{text}")).await;
    assert_eq!(explain(&peer(0).to_string()).await["id"], peer(0).to_string());
    assert_eq!(explain(CLASS).await["kind"], "class");
    assert_eq!(explain(&peer(2).to_string()).await["id"], peer(2).to_string());
    let (status, said) = site.get(&format!("/api/explain/{}", peer(4).short())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(said.contains("several things"), "{said}");
}

/// Two committees in turn, each with one seat that says that the kernels break.
#[tokio::test]
async fn dissent_is_told_on_the_page_and_by_the_derivation() {
    let mut world = World::new(1_000_000);
    let claim = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    let divided = |world: &mut World| {
        world.draw(claim);
        let alone = world.seated(claim)[0];
        world.tamper = Arc::new(move |index, measured| {
            if index == alone {
                measured.x.path_breaks = 3;
                measured.y.path_breaks = 3;
            }
        });
        world.seal(claim, Truth::faster(1.3), 5);
        world.reveal(claim, Truth::faster(1.3), 5);
        alone
    };
    divided(&mut world);
    assert_eq!(world.state.claim(claim).unwrap().rounds[0].outcome(), Some(Outcome::Contested));
    let site = Site::new(world.clone());
    let (_, page) = site.get(&format!("/claims/{claim}")).await;
    assert!(page.contains("Contested") && page.contains("prefill and decode disagree"));
    assert!(page.contains("committee measures again"));
    assert!(site.get("/").await.1.contains("contested, measured again"));
    let said = site.json(&format!("/api/explain/{claim}")).await.to_string();
    assert!(said.contains("round 1: dissent") && said.contains("so nothing is decided"), "{said}");

    let alone = divided(&mut world);
    let decided = world.state.claim(claim).unwrap().rounds[1].verdict.clone().unwrap();
    assert_eq!((decided.outcome, decided.dissent.len()), (Outcome::Accepted, 1));
    world.tamper = Arc::new(|_, _| {});
    world.settle(claim, Truth::faster(1.3));
    let said = titles(&world, claim).await;
    assert!(said.contains(&"round 2: dissent".to_owned()), "{said:?}");
    let site = Site::new(world);
    let rows = site.json(&format!("/api/claims/{claim}")).await["rounds"].clone();
    assert_eq!(rows[1]["dissent"][0]["seat"]["peer"], peer(alone).to_string());
    assert_eq!(rows[1]["dissent"][0]["gate"], "path");
    let (_, page) = site.get(&format!("/claims/{claim}")).await;
    assert!(page.contains("at odds: "));
}
