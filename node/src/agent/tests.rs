//! The whole loop over a machine that is made up: what the searcher finds, spends, and stops at.

mod machine;

use super::{
    Agent, Control, Finding, Journal, Limits, OpenPlan, Order, PolicyKind, Settings, Variant,
};
use assay_protocol::ids::{BlobHash, RecordId};
use assay_protocol::verdict::Outcome;
use machine::{BASE, Did, FAILING, FALLING, GAINS, LOSSES, MANY, Machine, RISING, files_of};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn variant(settings: &[(&str, &str)]) -> Variant {
    Variant(settings.iter().map(|(l, c)| ((*l).to_owned(), (*c).to_owned())).collect())
}

fn levers(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn control(folder: &Path, limits: Limits) -> Arc<Control> {
    let settings = Settings { limits, ..Settings::read(folder).unwrap() };
    settings.write(folder).unwrap();
    Arc::new(Control::new(folder.to_owned(), settings))
}

const ONCE: Order = Order::Start { policy: Some(PolicyKind::Searcher), once: true };

/// Lets an agent act until its search is over, or it waits.
async fn search(machine: Machine, folder: &Path, limits: Limits) -> Arc<Control> {
    let control = control(folder, limits);
    let agent = Agent::open(machine, Arc::clone(&control), folder).unwrap();
    control.order(ONCE).unwrap();
    let serving = tokio::spawn(agent.serve());
    // What it waits for does not come here, so that it waits for ever.
    until(|| !control.status().running || control.status().doing == "waiting").await;
    serving.abort();
    control
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn tried(did: &[Did]) -> Vec<(Variant, u32)> {
    let tried = |did: &Did| match did {
        Did::Tried(variant, pairs) => Some((variant.clone(), *pairs)),
        _ => None,
    };
    did.iter().filter_map(tried).collect()
}

/// What was said, without what was deleted.
fn said(did: &[Did]) -> Vec<Did> {
    did.iter().filter(|did| !matches!(did, Did::Deleted(_))).cloned().collect()
}

/// Why a search ended that was to be the only one, and whether it had published something.
fn ended(control: &Control) -> (bool, String) {
    let ended = control.status().ended.unwrap();
    assert!(!control.status().running);
    (ended.published, ended.why)
}

#[tokio::test]
async fn the_best_settings_are_found_together_claimed_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(GAINS);
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    let did = said(&did.lock().unwrap());
    let all = levers(&["attention", "draft-length", "matmul-bf16", "weights"]);
    assert_eq!(did.first(), Some(&Did::Announced(all)), "nothing is tried unannounced");
    let best = variant(&[("attention", "k1"), ("matmul-bf16", "k1")]);
    let [.., Did::Claimed(claimed, ratio_ppm), Did::Published(Finding::Result(result))] =
        did.as_slice()
    else {
        panic!("{did:?}")
    };
    assert!(*claimed == best && *result == best, "{did:?}");
    assert!((1_440_000..1_530_000).contains(ratio_ppm), "1.4 × 1.06, not {ratio_ppm}");
    let tried = tried(&did);
    assert_eq!(tried.iter().filter(|(_, pairs)| *pairs == 4).count(), 9, "every setting once");
    assert_eq!(tried.last(), Some(&(best, 24)), "the final is measured afresh");
    let broken = |(v, pairs): &(Variant, u32)| *pairs > 4 && v.0.contains_key("weights");
    assert!(!tried.iter().any(broken), "what fails a gate is out");
    let pairs: u32 = tried.iter().map(|(_, pairs)| pairs).sum();
    let status = control.status();
    assert_eq!(status.spent.measuring_ms, u64::from(pairs) * 1_000);
    assert_eq!((status.spent.messages, status.running), (3, false), "once is once");
    assert!(status.notes.iter().any(|note| note.text.contains("announced plan")));
}

/// Speed over the draft length has one summit, and nothing beyond it is worth a trial.
#[tokio::test]
async fn longer_drafts_are_not_tried_where_shorter_ones_lose_more_and_more() {
    for (lengths, tried_lengths) in [
        (FALLING, ["1", "2"].as_slice()),
        (RISING, &["1", "2", "3", "4"]),
        (FAILING, &["1", "2", "3", "4"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::of(lengths);
        let did = Arc::clone(&machine.did);
        search(machine, folder.path(), Limits::default()).await;
        let alone: BTreeSet<String> = tried(&did.lock().unwrap())
            .into_iter()
            .filter_map(|(variant, _)| variant.0.get("draft-length").cloned())
            .collect();
        assert!(alone.iter().eq(tried_lengths), "{alone:?}");
    }
}

/// A quality that only many pairs can judge refuses a winner in its final, and every candidate with the
/// same weights with it; the best of the others is claimed.
#[tokio::test]
async fn what_fails_in_its_final_gives_way_to_the_next_best() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { shows_from: 24, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    search(machine, folder.path(), Limits::default()).await;
    let did = said(&did.lock().unwrap());
    let finals: Vec<Variant> =
        tried(&did).into_iter().filter(|(_, pairs)| *pairs >= 24).map(|(v, _)| v).collect();
    let [winner, next] = finals.as_slice() else { panic!("{finals:?}") };
    assert!(winner.0.contains_key("weights") && !next.0.contains_key("weights"));
    assert!(matches!(did.as_slice(), [.., Did::Claimed(claimed, _), _] if claimed == next));
}

#[tokio::test]
async fn a_search_goes_on_after_a_restart_as_if_there_had_been_none() {
    let whole = tempfile::tempdir().unwrap();
    let machine = Machine::of(GAINS);
    let expected = Arc::clone(&machine.did);
    search(machine, whole.path(), Limits::default()).await;

    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(GAINS);
    let seen = Arc::clone(&machine.did);
    // 38 seconds pay for the announcement and for some trials; then the day is over.
    search(machine, folder.path(), Limits { measuring_s: 38, ..Limits::default() }).await;
    let before = seen.lock().unwrap().clone();
    assert!(before.len() > 2 && tried(&before).len() < 8, "{before:?}");
    let machine = Machine { did: Arc::clone(&seen), ..Machine::of(GAINS) };
    search(machine, folder.path(), Limits::default()).await;
    assert_eq!(*seen.lock().unwrap(), *expected.lock().unwrap());
}

#[tokio::test]
async fn no_budget_is_overdrawn() {
    for (limits, tries) in [
        (Limits { measuring_s: 30, ..Limits::default() }, 3),
        (Limits { watts: 1_000, watt_hours: 10, ..Limits::default() }, 5),
        (Limits { messages: 0, ..Limits::default() }, 0),
        (Limits { measuring_s: 0, ..Limits::default() }, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::of(GAINS);
        let did = Arc::clone(&machine.did);
        let control = search(machine, folder.path(), limits).await;
        let (published, why) = ended(&control);
        assert!(!published && why.contains("spent"), "{why}");
        let status = control.status();
        assert_eq!(tried(&did.lock().unwrap()).len(), tries, "{limits:?}");
        assert!(status.spent.measuring_ms <= limits.measuring_s * 1_000);
        assert!(status.spent.milliwatt_hours(&limits) <= limits.watt_hours * 1_000);
    }
}

#[tokio::test]
async fn candidates_that_do_not_fit_on_disk_are_no_dead_end() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(GAINS);
    let did = Arc::clone(&machine.did);
    let limits = Limits { disk_bytes: 2_000, ..Limits::default() };
    let control = search(machine, folder.path(), limits).await;
    assert_eq!(ended(&control), (false, "the budget for disk is spent".to_owned()));
    let did = did.lock().unwrap();
    // Those that gain stay on disk, 700 bytes each, and nothing is begun with less than 1,000 left.
    assert_eq!(tried(&did).len(), 6);
    assert_eq!(control.status().spent.disk_bytes, 1_400);
    assert!(!did.iter().any(|did| matches!(did, Did::Published(_))));
}

#[tokio::test]
async fn what_does_not_pay_is_a_dead_end_and_no_claim() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(LOSSES);
    let did = Arc::clone(&machine.did);
    search(machine, folder.path(), Limits::default()).await;
    let did = said(&did.lock().unwrap());
    assert_eq!(did.last(), Some(&Did::Published(Finding::DeadEnd(levers(&["attention"])))));
    assert!(!did.iter().any(|did| matches!(did, Did::Claimed(..))));
    let journal = Journal::read(&folder.path().join("journal.json")).unwrap();
    assert!(journal.published && journal.trials.len() == 2);
}

#[tokio::test]
async fn a_refuted_claim_becomes_a_dead_end() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { outcome: Some(Outcome::Refuted), ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    search(machine, folder.path(), Limits::default()).await;
    let dead = Finding::DeadEnd(levers(&["attention", "matmul-bf16"]));
    assert_eq!(said(&did.lock().unwrap()).last(), Some(&Did::Published(dead)));
}

#[tokio::test]
async fn nothing_is_said_of_a_claim_before_its_committee_decided() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { outcome: None, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    assert!(matches!(said(&did.lock().unwrap()).last(), Some(Did::Claimed(..))));
    assert!(control.status().why.contains("a committee is to measure"));
}

#[tokio::test]
async fn dead_ends_and_plans_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let plan = OpenPlan { post: RecordId([9; 32]), levers: levers(&["matmul-bf16", "weights"]) };
    let machine = Machine {
        dead_ends: BTreeSet::from([levers(&["attention"])]),
        open_plans: vec![plan],
        ..Machine::of(GAINS)
    };
    let did = Arc::clone(&machine.did);
    search(machine, folder.path(), Limits::default()).await;
    let did = did.lock().unwrap();
    let others = |(variant, _): &(Variant, u32)| variant.levers() != levers(&["draft-length"]);
    assert!(!tried(&did).iter().any(others), "{did:?}");
}

#[tokio::test]
async fn the_switch_stops_a_measurement_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { hangs: true, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    let control = control(folder.path(), Limits::default());
    let agent = Agent::open(machine, Arc::clone(&control), folder.path()).unwrap();
    control.order(ONCE).unwrap();
    let serving = tokio::spawn(agent.serve());
    until(|| !tried(&did.lock().unwrap()).is_empty()).await;
    assert!(control.status().doing.starts_with("measuring attention=k1"));
    let status = control.order(Order::Stop).unwrap();
    assert_eq!((status.running, status.doing.as_str()), (false, "nothing"));
    // What the stopped measurement did not need is given back.
    until(|| control.status().spent.measuring_ms == 3_000).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(tried(&did.lock().unwrap()).len(), 1, "nothing is begun while it is stopped");
    control.order(ONCE).unwrap();
    until(|| tried(&did.lock().unwrap()).len() == 2).await;
    let again = tried(&did.lock().unwrap());
    assert_eq!(again[0], again[1], "a stopped trial is no result");
    serving.abort();
}

#[tokio::test]
async fn files_of_what_lost_are_deleted_and_those_of_the_claim_stay() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(GAINS);
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    let did = did.lock().unwrap();
    let deleted: BTreeSet<BlobHash> = did
        .iter()
        .filter_map(|did| match did {
            Did::Deleted(hash) => Some(*hash),
            _ => None,
        })
        .collect();
    let best = variant(&[("attention", "k1"), ("matmul-bf16", "k1")]);
    for (variant, _) in tried(&did) {
        let stays = variant == best;
        assert_eq!(deleted.contains(&files_of(&variant)), !stays, "{}", variant.text());
    }
    assert_eq!(control.status().spent.disk_bytes, 0, "all of it is given back");
    let journal = Journal::read(&folder.path().join("journal.json")).unwrap();
    assert!(journal.candidates.is_empty());
}

#[tokio::test]
async fn a_claim_that_the_network_refuses_ends_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { refuses: true, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    assert!(ended(&control).0);
    let best = variant(&[("attention", "k1"), ("matmul-bf16", "k1")]);
    let result = Did::Published(Finding::Result(best));
    assert_eq!(said(&did.lock().unwrap()).last(), Some(&result), "so that its plan is closed");
    let status = control.status();
    let refused = |text: &str| text.contains("refuses a claim") && text.contains("on the docket");
    assert!(status.notes.iter().any(|note| refused(&note.text)), "{:?}", status.notes);
    assert_eq!(status.spent.messages, 2, "what was not said is not paid for");
}

#[tokio::test]
async fn one_search_ends_where_there_is_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let dead_ends = BTreeSet::from([levers(&["attention"])]);
    let machine = Machine { dead_ends, ..Machine::of(LOSSES) };
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    let why = "all that can be turned from here is a dead end".to_owned();
    assert_eq!(ended(&control), (false, why.clone()));
    assert!(control.status().line().ends_with(&why) && did.lock().unwrap().is_empty());

    let folder = tempfile::tempdir().unwrap();
    search(Machine::of(LOSSES), folder.path(), Limits::default()).await;
    let again = search(Machine::of(LOSSES), folder.path(), Limits::default()).await;
    assert!(ended(&again).1.starts_with("this search is over"), "{:?}", ended(&again));
}

#[tokio::test]
async fn nothing_is_tried_before_the_ledger_says_whose_plan_came_first() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { plan_waits: true, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    assert!(control.status().why.contains("not on the ledger yet"));
    assert!(tried(&did.lock().unwrap()).is_empty());

    // Theirs came first and names all that this node's plan does: it waits, and goes on afterwards.
    let plan = OpenPlan { post: RecordId([9; 32]), levers: levers(&["attention"]) };
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { open_plans: vec![plan], ..Machine::of(LOSSES) };
    let control = search(machine, folder.path(), Limits::default()).await;
    assert!(control.status().running && control.status().why.contains("announced first"));
    let control = search(Machine::of(LOSSES), folder.path(), Limits::default()).await;
    assert!(ended(&control).0, "{:?}", ended(&control));
}

#[tokio::test]
async fn what_the_agent_did_last_shows_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = search(Machine::of(LOSSES), folder.path(), Limits::default()).await.status();
    let settings = Settings::read(folder.path()).unwrap();
    let control = Arc::new(Control::new(folder.path().to_owned(), settings));
    let agent = Agent::open(Machine::of(LOSSES), Arc::clone(&control), folder.path()).unwrap();
    drop(agent);
    let after = control.status();
    assert_eq!(after.notes, [before.notes.last().unwrap().clone()]);
    assert_eq!((after.trials, after.plan, after.start), (2, before.plan, Some(BASE)));
    assert_eq!(after.spent, before.spent);
}

#[tokio::test]
async fn every_node_draws_its_own_lots_unless_the_operator_says_otherwise() {
    let mut seen = Vec::new();
    for (node, operator) in [(1, None), (2, None), (3, Some(1))] {
        let folder = tempfile::tempdir().unwrap();
        Settings { seed: operator, ..Settings::default() }.write(folder.path()).unwrap();
        let machine = Machine { seed: node, ..Machine::of(MANY) };
        let did = Arc::clone(&machine.did);
        search(machine, folder.path(), Limits::default()).await;
        seen.push(tried(&did.lock().unwrap()));
    }
    assert_eq!(seen[0].len(), 16, "some of 24");
    assert!(seen[0] != seen[1] && seen[0] == seen[2]);
}
