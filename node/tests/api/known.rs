//! What the board knows of an idea before it is tried.

use super::Site;
use super::board::with;
use super::samples::Truth;
use super::world::{CLASS, World, peer};
use assay_node::board::{HEARSAY_MS, Known, PLAN_OPEN_MS, Setting};
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{DeadEnd, Detail, Plan, PostBody, Trial};
use axum::http::StatusCode;
use serde_json::json;
use std::collections::BTreeSet;

fn words(levers: &[&str]) -> Vec<String> {
    levers.iter().map(|lever| (*lever).to_owned()).collect()
}

fn plan(levers: &[&str], parent: Option<ClaimId>) -> PostBody {
    with(Detail::Plan(Plan { parent, levers: words(levers) }), "about to try")
}

fn dead_end(levers: &[&str], claim: Option<ClaimId>, refs: &[ClaimId]) -> PostBody {
    let detail = Detail::DeadEnd(DeadEnd { levers: words(levers), claim });
    PostBody { refs: refs.iter().map(|id| RecordId(id.0)).collect(), ..with(detail, "lost") }
}

fn known(world: &World, later_ms: u64, parent: ClaimId, levers: &[&str]) -> Known {
    let setting = Setting {
        parent,
        class: Some(CLASS.to_owned()),
        me: peer(0),
        now_ms: world.state.time_ms() + later_ms,
    };
    let levers: BTreeSet<String> = words(levers).into_iter().collect();
    world.board.known(&world.state, &setting).about(&levers)
}

#[test]
fn a_dead_end_holds_where_its_claim_was_refuted_and_nowhere_else() {
    let (mut world, claims) = World::lively(1_000_000);
    let (accepted, refuted) = (claims[0], claims[1]);
    let base = world.state.base_claim();
    let shown = world.post(1, &dead_end(&["head", "attention"], Some(refuted), &[]));
    world.post(2, &dead_end(&["head", "attention"], Some(accepted), &[]));

    let found = known(&world, 0, base, &["attention", "head"]).dead_ends;
    assert_eq!(found.len(), 1, "a claim that was accepted shows no dead end: {found:?}");
    assert!((found[0].post, found[0].shown_by, found[0].heeded) == (shown, Some(refuted), true));
    let years = known(&world, 10 * HEARSAY_MS, base, &["attention", "head"]).dead_ends;
    assert!(years[0].heeded, "what the ledger refuted does not lapse");
    assert!(known(&world, 0, accepted, &["attention", "head"]).dead_ends.is_empty());
    for other in [&["head"][..], &["attention", "head", "mlp"]] {
        assert!(known(&world, 0, base, other).dead_ends.is_empty(), "{other:?}");
    }
    let setting = Setting {
        parent: base,
        class: Some("gpu-other".to_owned()),
        me: peer(0),
        now_ms: world.state.time_ms(),
    };
    let elsewhere = world.board.known(&world.state, &setting).dead_ends;
    assert!(elsewhere.is_empty(), "it was refuted on other hardware");
}

#[test]
fn hearsay_lapses_and_says_from_where() {
    let (mut world, claims) = World::lively(1_000_000);
    let base = world.state.base_claim();
    world.post(3, &dead_end(&["mlp"], None, &[claims[0]]));
    assert!(known(&world, 0, base, &["mlp"]).dead_ends.is_empty(), "found from another start");
    let found = known(&world, 0, claims[0], &["mlp"]).dead_ends;
    assert!(found[0].heeded && found[0].shown_by.is_none());
    let later = known(&world, HEARSAY_MS + 1, claims[0], &["mlp"]).dead_ends;
    assert!(!later[0].heeded, "nobody need be believed for ever");
}

#[test]
fn plans_of_others_are_open_until_they_report_or_are_old() {
    let mut world = World::new(1_000_000);
    let base = world.state.base_claim();
    world.post(0, &plan(&["head"], None));
    assert!(known(&world, 0, base, &["head"]).plans.is_empty(), "one's own is in nobody's way");
    let theirs = world.post(1, &plan(&["head", "mlp"], None));
    world.post(2, &plan(&["head"], Some(ClaimId([9; 32]))));
    let open = known(&world, 0, base, &["head", "draft-length"]).plans;
    assert!(open.len() == 1 && open[0].post == theirs, "{open:?}");
    assert!(known(&world, 0, base, &["draft-length"]).plans.is_empty());
    assert!(known(&world, PLAN_OPEN_MS + 1, base, &["head"]).plans.is_empty());

    let trial = Trial { claim: None, ratio_ppm: 990_000, hardware_class: CLASS.to_owned() };
    let report = PostBody { refs: vec![theirs], ..with(Detail::Result(trial), "no gain") };
    world.post(3, &report);
    assert_eq!(known(&world, 0, base, &["head"]).plans.len(), 1, "not for others to close");
    world.post(1, &report);
    assert!(known(&world, 0, base, &["head"]).plans.is_empty());
}

#[test]
fn of_two_open_plans_the_one_that_was_ordered_first_goes_first() {
    let mut world = World::new(1_000_000);
    let base = world.state.base_claim();
    let yields = |world: &World| -> Vec<bool> {
        let plans = known(world, 0, base, &["head"]).plans;
        plans.iter().map(|plan| plan.yields).collect()
    };
    let early = world.post(1, &plan(&["head"], None));
    assert_eq!(yields(&world), [false], "nobody else has a plan");
    world.post(0, &plan(&["head", "mlp"], None));
    world.post(2, &plan(&["head"], None));
    assert_eq!(yields(&world), [true, false], "the newest first");
    assert!(!known(&world, 0, base, &["head"]).announcing);
    let trial = Trial { claim: None, ratio_ppm: 990_000, hardware_class: CLASS.to_owned() };
    world.post(1, &PostBody { refs: vec![early], ..with(Detail::Result(trial), "no gain") });
    assert_eq!(yields(&world), [true]);
}

#[test]
fn a_plan_that_waits_gives_way_to_one_on_the_ledger() {
    let mut world = World::new(1_000_000);
    let base = world.state.base_claim();
    let own = world.whisper(0, &plan(&["head"], None));
    let theirs = world.whisper(1, &plan(&["head"], None));
    let found = known(&world, 0, base, &["head"]);
    assert!(found.announcing, "until the ledger orders it");
    assert_eq!(found.plans[0].yields, own < theirs, "every node comes to the same until then");
    world.post(2, &plan(&["head"], None));
    let found = known(&world, 0, base, &["head"]).plans;
    let ordered = found.iter().find(|plan| plan.post != theirs);
    assert!(!ordered.unwrap().yields);
}

#[test]
fn a_plan_is_done_when_its_authors_claim_is_decided() {
    let mut world = World::new(1_000_000);
    let base = world.state.base_claim();
    world.post(1, &plan(&["head"], None));
    let claim = world.docket(1, world.base_with_bundle(9), None, "found by search", 1_200_000);
    assert_eq!(known(&world, 0, base, &["head"]).plans.len(), 1, "it is being measured");
    world.settle(claim, Truth::faster(1.0));
    assert!(known(&world, 0, base, &["head"]).plans.is_empty());
    world.post(1, &plan(&["head", "mlp"], None));
    assert_eq!(known(&world, 0, base, &["head"]).plans.len(), 1, "this one came afterwards");
}

#[tokio::test]
async fn an_idea_is_looked_up_over_http() {
    let mut world = World::new(1_000_000);
    let end = world.post(1, &dead_end(&["head", "mlp"], None, &[]));
    let site = Site::new(world);
    let known = site.json("/api/board/known?levers=mlp,head").await;
    assert_eq!(known["dead_ends"][0]["post"], json!(end));
    for wrong in ["", "levers=mlp&parent=nonsense", "levers=mlp&what=ever"] {
        let (status, _) = site.get(&format!("/api/board/known?{wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}
