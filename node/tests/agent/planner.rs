//! The planner's mechanics, on a scripted model and on nano.

use super::support::{early_view, gemma4, later, nano, options, planner_of, scripted, view};
use assay_node::agent::planner::{Bounds, PlannerOptions};
use assay_node::agent::quarantine::{Source, Untrusted};
use assay_node::agent::{Action, Policy, View};
use assay_node::measure::lock::HostLock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CLAIM: &str = r#"<|tool_call>call:claim{variant:<|"|>draft-length=2<|"|>}<tool_call|>"#;

#[test]
fn nano_always_gives_a_call_that_may_be_made() {
    let view = early_view(Vec::new());
    let mut planner = nano(1);
    let mut chosen = Vec::new();
    for seed in 1..=20 {
        let decision = planner.next(&later(view.clone(), seed));
        assert!(decision.why.starts_with("nano chose "), "seed {seed}: {decision:?}");
        assert_eq!(decision.action.check(&view), Ok(()), "seed {seed}");
        chosen.push(decision.why);
    }
    assert!(chosen.iter().collect::<BTreeSet<_>>().len() > 1, "every seed chose {chosen:?}");
    // The same seed chooses the same, whatever was chosen before.
    assert_eq!(nano(5).next(&view).why, chosen[4]);
}

#[test]
fn tools_are_declared_as_the_template_does_it_or_in_words() {
    let (mut planner, seen) = scripted(|_| CLAIM.to_owned(), None);
    assert!(matches!(planner.next(&view(Vec::new())).action, Action::Claim(_)));
    let prompt = seen.lock().unwrap()[0].clone();
    assert!(prompt.starts_with("<bos><|turn>user\nYou choose the next step"), "{prompt}");
    assert!(prompt.contains("\nTools:\nwait{}: Do nothing"), "{prompt}");
    assert!(prompt.contains("- draft-length=2, 12 pairs: 1.280 (1.270 to 1.290)"), "{prompt}");
    let (mut planner, seen) = gemma4(|_| CLAIM.to_owned());
    assert!(matches!(planner.next(&view(Vec::new())).action, Action::Claim(_)));
    let prompt = seen.lock().unwrap()[0].clone();
    assert!(prompt.contains("<|tool>declaration:claim{description:"), "{prompt}");
    assert!(!prompt.contains("Tools:"), "{prompt}");
}

#[test]
fn a_model_that_fails_makes_the_agent_wait_and_say_why() {
    let waits = |mut options: PlannerOptions, says: &str| {
        options.seed = 3;
        let (mut planner, _) = planner_of(|_| CLAIM.to_owned(), options, None);
        let decision = planner.next(&view(Vec::new()));
        assert_eq!(decision.action, Action::Wait);
        assert!(decision.why.contains(says), "{}", decision.why);
        planner
    };
    let choice = options().choice;
    waits(
        PlannerOptions { choice: Bounds { tokens: 3, ..choice }, ..options() },
        "within 3 tokens",
    );
    waits(
        PlannerOptions { choice: Bounds { tokens: 9_000, ..choice }, ..options() },
        "context 8192",
    );
    let late = Bounds { time: Duration::ZERO, ..choice };
    waits(PlannerOptions { choice: late, ..options() }, "took longer");
    waits(PlannerOptions { stop: Arc::new(|| true), ..options() }, "stopped");
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    let held = HostLock::try_take(&lock).unwrap().unwrap();
    let measuring = PlannerOptions { lock: Some(lock), ..options() };
    let mut planner = waits(measuring, "a measurement has the machine");
    let text = Untrusted::new(Source::Message, "x");
    assert_eq!(planner.read(std::slice::from_ref(&text), 0), []);
    drop(held);
    assert!(matches!(planner.next(&view(Vec::new())).action, Action::Claim(_)));
}

#[test]
fn a_stop_ends_a_choice_at_the_next_token() {
    let looked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looked);
    let stop = move || count.fetch_add(1, Ordering::SeqCst) >= 4;
    let options = PlannerOptions { stop: Arc::new(stop), ..options() };
    let (mut planner, _) = planner_of(|_| CLAIM.to_owned(), options, None);
    let decision = planner.next(&view(Vec::new()));
    // Five tokens; and once more, because a stopped agent does not remember that it waits.
    assert_eq!((decision.action, looked.load(Ordering::SeqCst)), (Action::Wait, 6));
    assert!(decision.why.ends_with("stopped"), "{}", decision.why);
}

#[test]
fn texts_are_read_once_and_a_few_at_a_time() {
    let (mut planner, seen) = scripted(
        |_| r#"{"topic":"rules","stance":"asks","levers":[],"relevance":2}"#.to_owned(),
        None,
    );
    let texts: Vec<Untrusted> =
        (0..20).map(|n| Untrusted::new(Source::Message, &format!("text {n}"))).collect();
    let counts: Vec<usize> = (0..4).map(|_| planner.read(&texts, 0).len()).collect();
    assert_eq!(counts, [8, 16, 20, 20]);
    assert_eq!(seen.lock().unwrap().len(), 20);
}

#[test]
fn who_waits_is_asked_again_when_something_changed() {
    let (mut planner, seen) = scripted(|_| "<|tool_call>call:wait{}<tool_call|>".to_owned(), None);
    let asked = |seen: &super::support::Seen| seen.lock().unwrap().len();
    let now = view(Vec::new());
    assert_eq!(planner.next(&now).action, Action::Wait);
    let soon = View { now_ms: now.now_ms + 2_000, height: now.height + 1, ..now.clone() };
    let decision = planner.next(&soon);
    assert!(decision.why.starts_with("nothing changed"), "{}", decision.why);
    assert_eq!(asked(&seen), 1);
    planner.next(&View { published: true, ..soon.clone() });
    assert_eq!(asked(&seen), 2);
    planner.next(&later(View { published: true, ..soon }, 1));
    assert_eq!(asked(&seen), 3);
}
