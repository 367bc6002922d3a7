//! The whole loop over a machine that is made up: what the searcher finds, spends, and stops at.

use super::{
    Agent, Attempt, ClaimSeen, Control, Experiment, Finding, Journal, Knob, Limits, OpenPlan,
    Order, PlanDraft, PolicyKind, Report, Rules, Settings, Sight, Start, TrialResult, Variant,
    World,
};
use assay_protocol::draw::Draw;
use assay_protocol::gates::Gate;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::verdict::{Estimate, Outcome};
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BASE: Start = Start { claim: ClaimId([0; 32]), ratio_to_base_ppm: 1_000_000 };
const CLAIM: ClaimId = ClaimId([7; 32]);

/// A knob's choices with the speed that each brings, and whether it breaks the quality.
type Truth = (&'static str, &'static [(&'static str, f64, bool)]);

const GAINS: &[Truth] = &[
    ("attention", &[("k1", 1.06, false), ("k2", 0.97, false)]),
    ("draft-length", &[("1", 0.62, false), ("2", 0.88, false), ("3", 0.7, false)]),
    ("matmul-bf16", &[("built-in", 1.2, false), ("k1", 1.4, false), ("lane-rows-2", 0.9, false)]),
    ("weights", &[("int4-g32", 2.0, true)]),
];
const LOSSES: &[Truth] = &[("attention", &[("k1", 0.97, false), ("k2", 0.9, false)])];

/// What the agent did, in order.
#[derive(Debug, Clone, PartialEq)]
enum Did {
    Announced(BTreeSet<String>),
    Tried(Variant, u32),
    Claimed(Variant, u64),
    Published(Finding),
}

#[derive(Default)]
struct Machine {
    truth: &'static [Truth],
    dead_ends: BTreeSet<BTreeSet<String>>,
    open_plans: Vec<OpenPlan>,
    outcome: Option<Outcome>,
    /// Measures for ever, as a machine that hangs.
    hangs: bool,
    seconds_a_pair: u64,
    /// Pairs from which a broken quality shows.
    shows_from: u32,
    did: Arc<Mutex<Vec<Did>>>,
}

impl Machine {
    fn of(truth: &'static [Truth]) -> Self {
        let outcome = Some(Outcome::Accepted);
        Self { truth, outcome, seconds_a_pair: 1, ..Self::default() }
    }

    fn did(&self, what: Did) {
        self.did.lock().unwrap().push(what);
    }

    /// A ratio with the noise of a small machine: 3 % a pair.
    fn measured(&self, Experiment { variant, pairs }: &Experiment) -> TrialResult {
        let mut failed = BTreeSet::new();
        let mut ratio = 1.0;
        for (lever, choice) in &variant.0 {
            let (_, choices) = self.truth.iter().find(|(name, _)| name == lever).unwrap();
            let (_, speed, breaks) = choices.iter().find(|(name, ..)| name == choice).unwrap();
            ratio *= speed;
            failed.extend((*breaks && *pairs >= self.shows_from).then_some(Gate::Quality));
        }
        let mut draw = Draw::new("noise", &[variant.text().as_bytes(), &pairs.to_le_bytes()]);
        let noise = |draw: &mut Draw| draw.below(2_001) as f64 / 1_000.0 - 1.0;
        let spread = 0.03 / f64::from(*pairs).sqrt();
        ratio *= 1.0 + spread * noise(&mut draw);
        let ppm = |value: f64| (value * 1e6) as u64;
        let (low_ppm, high_ppm) =
            (ppm(ratio * (1.0 - 3.0 * spread)), ppm(ratio * (1.0 + 3.0 * spread)));
        let ratio = Some(Estimate { ppm: ppm(ratio), low_ppm, high_ppm });
        let lossless = failed.is_empty();
        TrialResult::Measured { ratio, failed: failed.into_iter().collect(), lossless }
    }
}

impl World for Machine {
    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn look(&self, start: Option<Start>) -> BoxFuture<'_, Result<Sight, String>> {
        let did = self.did.lock().unwrap().clone();
        let claimed = did.iter().any(|did| matches!(did, Did::Claimed(..)));
        let claim = ClaimSeen {
            id: CLAIM,
            parent: BASE.claim,
            mine: true,
            outcome: self.outcome,
            ratio_ppm: None,
            leads: false,
        };
        let knobs = self.truth.iter().map(|(lever, choices)| Knob {
            lever: (*lever).to_owned(),
            choices: choices.iter().map(|(choice, ..)| (*choice).to_owned()).collect(),
        });
        assert!(start.is_none_or(|start| start == BASE));
        let sight = Sight {
            now_ms: 1_000,
            height: 1,
            member: true,
            idle: true,
            frontier: BASE,
            knobs: knobs.collect(),
            dead_ends: self.dead_ends.clone(),
            open_plans: self.open_plans.clone(),
            claims: if claimed { vec![claim] } else { Vec::new() },
            texts: Vec::new(),
            rules: Rules { gain_ppm: 30_000, pairs: 12, pairs_max: 64 },
        };
        Box::pin(async move { Ok(sight) })
    }

    fn bytes_of(&self, _: Start, _: &Variant) -> u64 {
        1_000
    }

    fn attempt<'a>(
        &'a self,
        _: Start,
        experiment: &'a Experiment,
        within: Duration,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Attempt> {
        Box::pin(async move {
            self.did(Did::Tried(experiment.variant.clone(), experiment.pairs));
            if self.hangs {
                stop.await;
                let worked = Duration::from_secs(3);
                return Attempt { result: None, worked, said: "stopped".to_owned() };
            }
            let needed = Duration::from_secs(self.seconds_a_pair * u64::from(experiment.pairs));
            let result = match needed <= within {
                true => self.measured(experiment),
                false => TrialResult::Failed,
            };
            Attempt {
                result: Some(result),
                worked: needed.min(within),
                said: "measured".to_owned(),
            }
        })
    }

    fn announce(&self, _: Start, plan: &PlanDraft) -> Result<RecordId, String> {
        self.did(Did::Announced(plan.levers.clone()));
        Ok(RecordId([1; 32]))
    }

    fn report(&self, report: Report<'_>) -> Result<RecordId, String> {
        self.did(Did::Published(report.finding.clone()));
        Ok(RecordId([2; 32]))
    }

    fn claim<'a>(
        &'a self,
        _: Start,
        variant: &'a Variant,
        ratio_ppm: u64,
    ) -> BoxFuture<'a, Result<ClaimId, String>> {
        self.did(Did::Claimed(variant.clone(), ratio_ppm));
        Box::pin(async { Ok(CLAIM) })
    }
}

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

#[tokio::test]
async fn the_best_settings_are_found_together_claimed_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(GAINS);
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    let did = did.lock().unwrap().clone();
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

/// A quality that only many pairs can judge refuses a winner in its final, and every candidate with the
/// same weights with it; the best of the others is claimed.
#[tokio::test]
async fn what_fails_in_its_final_gives_way_to_the_next_best() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { shows_from: 24, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    search(machine, folder.path(), Limits::default()).await;
    let did = did.lock().unwrap();
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
    assert!(before.len() > 2 && before.len() < 8, "{before:?}");
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
        let status = control.status();
        assert!(status.running && status.doing == "waiting", "{}", status.line());
        assert!(status.why.contains("spent"), "{}", status.why);
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
    let limits = Limits { disk_bytes: 2_500, ..Limits::default() };
    let control = search(machine, folder.path(), limits).await;
    assert_eq!(control.status().why, "the budget for disk is spent");
    let did = did.lock().unwrap();
    assert_eq!(tried(&did).len(), 2);
    assert!(!did.iter().any(|did| matches!(did, Did::Published(_))));
}

#[tokio::test]
async fn what_does_not_pay_is_a_dead_end_and_no_claim() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::of(LOSSES);
    let did = Arc::clone(&machine.did);
    search(machine, folder.path(), Limits::default()).await;
    let did = did.lock().unwrap();
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
    assert_eq!(did.lock().unwrap().last(), Some(&Did::Published(dead)));
}

#[tokio::test]
async fn nothing_is_said_of_a_claim_before_its_committee_decided() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { outcome: None, ..Machine::of(GAINS) };
    let did = Arc::clone(&machine.did);
    let control = search(machine, folder.path(), Limits::default()).await;
    assert!(matches!(did.lock().unwrap().last(), Some(Did::Claimed(..))));
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
