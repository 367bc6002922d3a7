//! The agent's hands in a running node: ledger, board, worker, and the node's own key.

use super::action::{Experiment, Finding, PlanDraft};
use super::quarantine::Untrusted;
use super::service::TRIAL_SECONDS_MAX;
use super::view::{ClaimSeen, Knob, OpenPlan, Rules, Start, Trial, TrialResult, Variant};
use super::workshop::{SHELF_MAX, Workshop};
use super::world::{Asks, Attempt, Made, Report, Sight, World};
use crate::api::{ClaimRequest, PostRequest, SubmitError};
use crate::author::{Author, hopeless_gates, own_plan, verdict_alone};
use crate::board::Setting;
use crate::fetch::Fetcher;
use crate::ledger::{Ledger, now_ms};
use crate::measure::MeasureError;
use crate::seat::{SeatError, Trialled};
use assay_protocol::frontier::Track;
use assay_protocol::gates::Gate;
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecordId};
use assay_protocol::manifest::Kind;
use assay_protocol::measurement::PAIRS_MAX;
use assay_protocol::post::{DeadEnd, Detail, Plan, PostBody, TITLE_BYTES_MAX, Trial as Reported};
use assay_protocol::record::{Recipe, SUMMARY_BYTES_MAX};
use assay_protocol::state::State;
use assay_protocol::verdict::{Estimate, Outcome, Verdict};
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most claims in a view.
const CLAIMS_MAX: usize = 64;
/// Posts of others that are offered to a reader.
const TEXTS_MAX: usize = 16;
/// Checkpoints among them whose model cards are.
const CARDS_MAX: usize = 4;
/// Trials that a report lists.
const LISTED_MAX: usize = 40;

/// What a node does for its agent.
pub struct Hands {
    author: Author,
    fetcher: Fetcher,
    workshop: Arc<Workshop>,
    /// The knobs of the start that was looked at last.
    knobs: Mutex<Option<(Start, Vec<Knob>)>>,
}

impl Hands {
    /// Hands that act in the name of `author`.
    #[must_use]
    pub fn new(author: Author, fetcher: Fetcher, workshop: Workshop) -> Self {
        Self { author, fetcher, workshop: Arc::new(workshop), knobs: Mutex::default() }
    }

    fn me(&self) -> PeerId {
        PeerId(self.author.key.verifying_key().to_bytes())
    }

    async fn see(&self, start: Option<Start>) -> Result<Sight, String> {
        let class = self.author.seat.identify().await.map_err(|e| e.to_string())?;
        let state = self.author.ledger.state();
        let frontier = frontier(&state, &class);
        let start = start.unwrap_or(frontier);
        let knobs = self.knobs(&state, start, &class).await?;
        let setting =
            Setting { parent: start.claim, class: Some(class), me: self.me(), now_ms: now_ms() };
        let known = self.author.ledger.board().known(&state, &setting);
        let levers: BTreeSet<&String> = knobs.iter().map(|knob| &knob.lever).collect();
        let first = known.plans.into_iter().filter(|plan| !plan.yields);
        let open_plans = first.map(|plan| OpenPlan {
            post: plan.post,
            levers: plan.levers.into_iter().filter(|lever| levers.contains(lever)).collect(),
        });
        // Whoever posts chooses the words of a dead end: those of this node's own knobs alone go further.
        let dead_ends = known
            .dead_ends
            .into_iter()
            .filter(|end| end.heeded && end.levers.iter().all(|lever| levers.contains(lever)));
        let rules = state.parameters();
        Ok(Sight {
            now_ms: setting.now_ms,
            height: state.height(),
            member: state.active_member(setting.me).is_some(),
            idle: self.author.seat.is_idle() && !self.seat_is_wanted(),
            plan_waits: known.announcing,
            frontier,
            open_plans: open_plans.collect(),
            dead_ends: dead_ends.map(|end| end.levers).collect(),
            claims: claims(&state, setting.me),
            texts: self.texts(),
            rules: Rules {
                gain_ppm: rules.significance.gain_ppm,
                pairs: rules.measurement.pairs,
                pairs_max: u32::try_from(PAIRS_MAX).unwrap_or(u32::MAX),
            },
            knobs,
        })
    }

    /// What others said last, for a reader that has no tools, and the model cards of checkpoints among
    /// it; nothing is fetched for them.
    fn texts(&self) -> Vec<Untrusted> {
        let said = self.author.ledger.board().latest_of_others(self.me(), TEXTS_MAX);
        let built = said.iter().filter_map(|body| match &body.detail {
            Some(Detail::Checkpoint(built)) => Some(built.manifest),
            _ => None,
        });
        let cards = built.take(CARDS_MAX).filter_map(|manifest| self.workshop.card(manifest));
        let cards: Vec<Untrusted> = cards.map(|card| Untrusted::card(&card)).collect();
        cards.into_iter().chain(said.iter().map(Untrusted::post)).collect()
    }

    /// What may be turned from a start: looked up once for each, so that a search is not moved about by
    /// entries that come while it lasts.
    async fn knobs(&self, state: &State, start: Start, class: &str) -> Result<Vec<Knob>, String> {
        let known = || self.knobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, knobs)) = known().as_ref().filter(|(of, _)| *of == start) {
            return Ok(knobs.clone());
        }
        let recipe = recipe_of(state, start)?;
        self.fetch(&recipe).await?;
        for bundle in best_bundles(state, class) {
            // One that nobody has any more is not worth waiting for.
            let fetched = self.fetcher.files(bundle, Kind::Bundle).await.map(|_| ());
            let stored = || self.workshop.shelve_stored(bundle).map_err(|e| e.to_string());
            if let Err(error) = fetched.map_err(|e| e.to_string()).and_then(|()| stored()) {
                tracing::info!(%error, bundle = %bundle.short(), "left off the shelf");
            }
        }
        let workshop = Arc::clone(&self.workshop);
        let knobs = tokio::task::spawn_blocking(move || workshop.knobs(&recipe)).await;
        let knobs = knobs.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        *known() = Some((start, knobs.clone()));
        Ok(knobs)
    }

    async fn fetch(&self, recipe: &Recipe) -> Result<(), String> {
        let drafter = recipe.drafter.map(|drafter| (drafter.checkpoint, Kind::Drafter));
        let bundle = recipe.bundle.map(|bundle| (bundle, Kind::Bundle));
        let named =
            [(recipe.checkpoint, Kind::Checkpoint)].into_iter().chain(drafter).chain(bundle);
        for (hash, kind) in named {
            self.fetcher.files(hash, kind).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn seat_is_wanted(&self) -> bool {
        is_wanted(&self.author.ledger)
    }

    /// Completes when a committee wants this machine: what it is drawn for has a deadline, a trial has
    /// none.
    async fn until_wanted(&self) {
        let mut changes = self.author.ledger.changes();
        while !self.seat_is_wanted() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes a variant. Who stops waiting for it stops the work as well.
    async fn make(&self, parent: Recipe, variant: &Variant) -> Result<Recipe, String> {
        let (workshop, variant) = (Arc::clone(&self.workshop), variant.clone());
        let waited_for = Arc::new(());
        let gone = Arc::downgrade(&waited_for);
        let stop = move || gone.strong_count() == 0;
        let made = move || workshop.make(&parent, &variant, &stop);
        let made = tokio::task::spawn_blocking(made).await;
        made.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    async fn try_it(
        &self,
        start: Start,
        experiment: &Experiment,
        within: Duration,
        stop: BoxFuture<'_, ()>,
    ) -> Attempt {
        let failed = |said: String| Attempt {
            result: Some(TrialResult::Failed),
            made: Made::default(),
            worked: Duration::ZERO,
            said: format!("failed: {said}"),
        };
        let state = self.author.ledger.state();
        let genesis = state.parameters();
        let parent = match recipe_of(&state, start) {
            Ok(parent) => parent,
            Err(reason) => return failed(reason),
        };
        let stop = async {
            tokio::select! {
                () = stop => {}
                () = self.until_wanted() => {}
            }
        };
        let stopped = |made, worked| {
            let said = "stopped".to_owned();
            Attempt { result: None, made, worked, said }
        };
        let mut stop = std::pin::pin!(stop);
        let recipe = tokio::select! {
            made = self.make(parent, &experiment.variant) => made,
            () = &mut stop => return stopped(Made::default(), Duration::ZERO),
        };
        let recipe = match recipe {
            Ok(recipe) => recipe,
            Err(reason) => return failed(reason),
        };
        let made = self.workshop.made(&parent, &recipe);
        let failed = |said| Attempt { made: made.clone(), ..failed(said) };
        let plan = match own_plan(genesis, parent, recipe, self.me(), experiment.pairs) {
            Ok(plan) => plan,
            Err(reason) => return failed(reason.to_string()),
        };
        let Trialled { measured, worked } =
            self.author.seat.trial(plan.clone(), within, stop).await;
        match measured {
            Ok(measured) => {
                let verdict = verdict_alone(genesis, self.me(), &plan, &measured);
                let shows_quality = experiment.pairs >= genesis.measurement.pairs.saturating_mul(2);
                let (result, said) = judged(genesis, &verdict, shows_quality);
                Attempt { result: Some(result), made, worked, said }
            }
            Err(SeatError::Measure(MeasureError::Cancelled)) if worked < within => {
                stopped(made, worked)
            }
            // The rest of the day's budget was too short; tomorrow's may do.
            Err(SeatError::Measure(MeasureError::Cancelled))
                if within.as_secs() < TRIAL_SECONDS_MAX =>
            {
                let said = format!("not done within the {} s that were left", within.as_secs());
                Attempt { result: None, made, worked, said }
            }
            Err(error) => Attempt { worked, ..failed(error.to_string()) },
        }
    }

    fn post(&self, body: PostBody) -> Result<RecordId, String> {
        let said = self.author.post(PostRequest { body, forecast: None });
        said.map(|said| said.record).map_err(|e| e.to_string())
    }
}

impl World for Hands {
    fn seed(&self) -> u64 {
        let PeerId(id) = self.me();
        id.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }

    fn seat_wanted(&self) -> Asks {
        let ledger = Arc::clone(&self.author.ledger);
        Arc::new(move || is_wanted(&ledger))
    }

    fn look(&self, start: Option<Start>) -> BoxFuture<'_, Result<Sight, String>> {
        Box::pin(self.see(start))
    }

    fn bytes_of(&self, start: Start, variant: &Variant) -> u64 {
        let recipe = recipe_of(&self.author.ledger.state(), start);
        recipe.map_or(0, |recipe| self.workshop.bytes_of(&recipe, variant))
    }

    fn attempt<'a>(
        &'a self,
        start: Start,
        experiment: &'a Experiment,
        within: Duration,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Attempt> {
        Box::pin(self.try_it(start, experiment, within, stop))
    }

    fn discard<'a>(
        &'a self,
        made: &'a [BlobHash],
        kept: &'a [BlobHash],
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            if made.is_empty() {
                return Ok(());
            }
            let (made, mut kept) = (made.to_vec(), kept.to_vec());
            kept.extend(named_by(&self.author.ledger.state()));
            kept.extend(self.author.ledger.board().checkpoints());
            let workshop = Arc::clone(&self.workshop);
            let deleted = tokio::task::spawn_blocking(move || workshop.discard(&made, &kept)).await;
            deleted.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
        })
    }

    fn announce(&self, start: Start, plan: &PlanDraft) -> Result<RecordId, String> {
        let levers: Vec<String> = plan.levers.iter().cloned().collect();
        let base = self.author.ledger.state().base_claim();
        let title = cut(format!("Searching over {}", levers.join(", ")), TITLE_BYTES_MAX);
        let parent = (start.claim != base).then_some(start.claim);
        self.post(PostBody {
            channel: "plans".to_owned(),
            thread: None,
            refs: vec![RecordId(start.claim.0)],
            title,
            text: "This node's agent measures these, alone and together, and says here what came of it."
                .to_owned(),
            detail: Some(Detail::Plan(Plan { parent, levers })),
        })
    }

    fn report(&self, report: Report<'_>) -> Result<RecordId, String> {
        let Report { journal, start, finding } = report;
        let claim = journal.claimed.as_ref().map(|claimed| claimed.claim);
        let trials = journal.trials.iter().rev().take(LISTED_MAX).map(line);
        let refs =
            [Some(RecordId(start.claim.0)), journal.plan, claim.map(|claim| RecordId(claim.0))];
        let (channel, title, detail) = match finding {
            Finding::Result(variant) => {
                let ratio = journal.last(variant).and_then(Trial::sound_ratio);
                let ratio_ppm = ratio.ok_or("it was not measured")?.ppm;
                let hardware_class = self.author.seat.class().ok_or("no class is known yet")?;
                let detail = Reported { claim, ratio_ppm, hardware_class };
                ("results", variant.text(), Detail::Result(detail))
            }
            Finding::DeadEnd(levers) => {
                let levers: Vec<String> = levers.iter().cloned().collect();
                let title = format!("No gain from {}", levers.join(", "));
                let state = self.author.ledger.state();
                let refuted = claim.filter(|claim| {
                    state.claim(*claim).is_some_and(|c| c.outcome() == Some(Outcome::Refuted))
                });
                ("knowledge", title, Detail::DeadEnd(DeadEnd { levers, claim: refuted }))
            }
        };
        self.post(PostBody {
            channel: channel.to_owned(),
            thread: journal.plan,
            refs: refs.into_iter().flatten().collect(),
            title: cut(title, TITLE_BYTES_MAX),
            text: format!(
                "{} trials by this node's agent, the last first:\n\n{}",
                journal.trials.len(),
                trials.collect::<Vec<_>>().join("\n")
            ),
            detail: Some(detail),
        })
    }

    fn claim<'a>(
        &'a self,
        start: Start,
        variant: &'a Variant,
        ratio_ppm: u64,
    ) -> BoxFuture<'a, Result<ClaimId, SubmitError>> {
        Box::pin(async move {
            let later = SubmitError::Unavailable;
            let parent = recipe_of(&self.author.ledger.state(), start).map_err(later)?;
            let recipe = self.make(parent, variant).await.map_err(later)?;
            let base = self.author.ledger.state().base_claim();
            let request = ClaimRequest {
                recipe,
                parent: (start.claim != base).then_some(start.claim),
                ratio_ppm: Some(ratio_ppm),
                null: false,
                insist: false,
                cites: Vec::new(),
                summary: cut(format!("found by search: {}", variant.text()), SUMMARY_BYTES_MAX),
            };
            Ok(self.author.submit(request).await?.claim)
        })
    }
}

/// Whether a committee wants this machine.
fn is_wanted(ledger: &Ledger) -> bool {
    ledger.with(|peer| peer.measuring().is_some())
}

/// What the recipes on the ledger name.
fn named_by(state: &State) -> BTreeSet<BlobHash> {
    let recipes = state.claims().map(|claim| claim.recipe);
    let recipes = recipes.chain([state.genesis().challenge.base]);
    let named = recipes.flat_map(|recipe| {
        let drafter = recipe.drafter.map(|drafter| drafter.checkpoint);
        [Some(recipe.checkpoint), recipe.bundle, drafter].into_iter().flatten()
    });
    named.collect()
}

/// The published best of the lossless track of a class; the base recipe where nothing leads.
fn frontier(state: &State, class: &str) -> Start {
    let leading = state.frontier(Track::Lossless, class).into_iter();
    let best = leading.max_by_key(|(_, point)| point.ratio_ppm);
    best.map_or(
        Start { claim: state.base_claim(), ratio_to_base_ppm: 1_000_000 },
        |(claim, point)| Start { claim, ratio_to_base_ppm: point.ratio_ppm },
    )
}

/// The bundles of the fastest entries of a class that stand.
fn best_bundles(state: &State, class: &str) -> Vec<BlobHash> {
    let entries = state.entries().filter(|claim| {
        let accepted = claim.outcome() == Some(Outcome::Accepted);
        claim.hardware_class == class && claim.stands() && accepted
    });
    let mut found: Vec<_> = entries
        .filter_map(|claim| Some((claim.ratio_to_base_ppm?, claim.recipe.bundle?)))
        .collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.truncate(SHELF_MAX);
    found.into_iter().map(|(_, bundle)| bundle).collect()
}

fn claims(state: &State, me: PeerId) -> Vec<ClaimSeen> {
    let mut claims: Vec<_> = state.claims().collect();
    claims.sort_by_key(|claim| std::cmp::Reverse((claim.docketed_at, claim.id)));
    let seen = claims.into_iter().take(CLAIMS_MAX).map(|claim| {
        let verdict = claim.verdict().filter(|_| !claim.is_open());
        let leads = |track| state.leads(claim.id, track);
        ClaimSeen {
            id: claim.id,
            parent: claim.parent,
            mine: claim.author == me,
            outcome: verdict.map(|verdict| verdict.outcome),
            ratio_ppm: verdict.and_then(|verdict| verdict.ratio).map(|ratio| ratio.ppm),
            leads: leads(Track::Lossless) || leads(Track::Lossy),
        }
    });
    seen.collect()
}

fn recipe_of(state: &State, start: Start) -> Result<Recipe, String> {
    let gone = || format!("claim {} is not on the ledger", start.claim.short());
    state.recipe(start.claim).ok_or_else(gone)
}

/// What a committee of this node alone would say, without what few pairs cannot decide. A final, of twice
/// a seat's pairs or more, must show its quality by itself, agreement included, because what is claimed
/// next has to; with fewer the bounds are too wide to refuse what they cannot show.
fn judged(genesis: &Genesis, verdict: &Verdict, shows_quality: bool) -> (TrialResult, String) {
    let hopeless = hopeless_gates(genesis, verdict).into_iter().map(|gate| gate.gate);
    let mut failed: Vec<Gate> = hopeless.filter(|gate| *gate != Gate::Speed).collect();
    let unshown = verdict.gates.iter().any(|gate| gate.gate == Gate::Quality && !gate.pass);
    if shows_quality && unshown && !failed.contains(&Gate::Quality) {
        failed.push(Gate::Quality);
    }
    let mut said = verdict.ratio.map_or_else(|| "no ratio".to_owned(), shown);
    for gate in &failed {
        said.push_str(&format!(", fails {gate:?}").to_lowercase());
    }
    (TrialResult::Measured { ratio: verdict.ratio, failed, lossless: verdict.lossless }, said)
}

/// A trial as a line of a report.
fn line(trial: &Trial) -> String {
    let came = match &trial.result {
        TrialResult::Failed => "failed".to_owned(),
        TrialResult::Measured { ratio, failed, .. } => {
            let ratio = ratio.map_or_else(|| "no ratio".to_owned(), shown);
            let gates: Vec<String> = failed.iter().map(|gate| format!("{gate:?}")).collect();
            match gates.is_empty() {
                true => ratio,
                false => format!("{ratio}, fails {}", gates.join(", ").to_lowercase()),
            }
        }
    };
    format!("{}: {came} ({} pairs)", trial.variant.text(), trial.pairs)
}

#[allow(clippy::cast_precision_loss)]
fn shown(ratio: Estimate) -> String {
    let x = |ppm: u64| ppm as f64 / 1e6;
    format!("{:.3}× [{:.3}, {:.3}]", x(ratio.ppm), x(ratio.low_ppm), x(ratio.high_ppm))
}

/// The beginning of a text of ASCII words.
fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(bytes_max);
    text
}
