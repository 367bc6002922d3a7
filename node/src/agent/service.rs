//! The loop: it looks, asks the policy, checks, charges, and carries out.

use super::action::{Action, ClaimDraft, Decision, Experiment, Policy, Refused};
use super::budget::{Purse, Unpaid};
use super::control::{Control, Ended};
use super::journal::{Candidate, Journal};
use super::planner::{LocalModel, Planner, PlannerOptions, Transcript};
use super::quarantine::Untrusted;
use super::searcher::{Searcher, TRIAL_SECONDS_MIN};
use super::settings::{PolicyKind, Settings};
use super::view::{Claimed, Start, Trial, Variant, View};
use super::world::{Asks, Report, Sight, World};
use crate::api::SubmitError;
use crate::home::HomeError;
use assay_protocol::ids::ClaimId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Most seconds that one trial may measure.
pub(super) const TRIAL_SECONDS_MAX: u64 = 300;
/// Pauses that it rests after an action that failed.
const REST: u32 = 30;

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file of the agent's folder cannot be used.
    #[error("{path}: {reason}; mend or delete it, then start the node again")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: std::io::Error,
    },
    /// Something could not be kept.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// The agent of a node.
pub struct Agent<W> {
    world: W,
    control: Arc<Control>,
    purse: Purse,
    journal: Journal,
    journal_path: PathBuf,
    folder: PathBuf,
    policy: Option<(PolicyKind, Box<dyn Policy>)>,
}

/// What follows a step.
enum Next {
    /// Look again at once.
    Go,
    /// Look again after a pause.
    Pause,
    /// Look again after a longer one: what was tried would fail again.
    Rest,
}

impl<W: World> Agent<W> {
    /// The agent of `folder`, where it was left.
    ///
    /// # Errors
    ///
    /// [`AgentError::File`] for a file that cannot be read.
    pub fn open(world: W, control: Arc<Control>, folder: &Path) -> Result<Self, AgentError> {
        let file = |name: &str| folder.join(name);
        let failed = |name: &str| {
            let path = file(name);
            move |reason| AgentError::File { path, reason }
        };
        let limits = control.settings().limits;
        let journal_path = file("journal.json");
        let mut agent = Self {
            world,
            purse: Purse::open(file("spent.json"), limits).map_err(failed("spent.json"))?,
            journal: Journal::read(&journal_path).map_err(failed("journal.json"))?,
            control,
            journal_path,
            folder: folder.to_owned(),
            policy: None,
        };
        agent.show();
        let last = agent.journal.last.clone();
        agent.control.tell(|status| status.notes.extend(last));
        Ok(agent)
    }

    /// Acts whenever the switch is on, for ever.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when it cannot keep what it must remember; it stops itself then.
    pub async fn serve(mut self) -> Result<(), AgentError> {
        let mut runs = self.control.runs();
        while runs.wait_for(|runs| *runs).await.is_ok() {
            let next = self.step(runs.clone()).await?;
            let pause = match next {
                Next::Go => continue,
                Next::Pause => self.world.pause(),
                Next::Rest => self.world.pause().saturating_mul(REST),
            };
            // A stop ends the pause, so that it shows at once.
            let _ = tokio::time::timeout(pause, runs.wait_for(|runs| !*runs)).await;
        }
        Ok(())
    }

    async fn step(&mut self, runs: watch::Receiver<bool>) -> Result<Next, AgentError> {
        let sight = tokio::select! {
            sight = self.world.look(self.journal.start) => sight,
            // It may be fetching what it starts from.
            () = stopped(runs.clone()) => return Ok(Next::Pause),
        };
        let mut sight = match sight {
            Ok(sight) => sight,
            Err(reason) => {
                self.tell("waiting", &reason);
                return Ok(Next::Pause);
            }
        };
        let start = self.journal.start.unwrap_or(sight.frontier);
        if self.journal.start.is_none() || (self.journal.published && sight.frontier != start) {
            self.give_up(|_| true).await?;
            self.journal = self.journal.next_from(sight.frontier);
            self.keep()?;
            let ratio = sight.frontier.ratio_to_base_ppm;
            self.note(format!("a search begins from {}", named(sight.frontier.claim, ratio)));
            return Ok(Next::Go);
        }
        let texts = std::mem::take(&mut sight.texts);
        let view = self.view(sight, start);
        let Some((view, Decision { action, why, over })) = self.decide(view, texts).await? else {
            return Ok(Next::Pause);
        };
        if !*runs.borrow() {
            return Ok(Next::Pause);
        }
        if over {
            self.control.search_is_over(Ended { published: false, why: why.clone() });
        }
        self.tell(&doing(&action), &why);
        let outcome = match action.check(&view) {
            Ok(()) => self.carry_out(start, &view, &action, runs).await,
            Err(refused) => Err(Failed::Refused(refused)),
        };
        let (next, said) = match outcome {
            Ok(said) => (if action == Action::Wait { Next::Pause } else { Next::Go }, said),
            Err(Failed::Home(error)) => return Err(error.into()),
            Err(failed) => {
                let said = failed.to_string();
                match failed {
                    // It shows in the status for as long as it lasts, and would fill the notes.
                    Failed::Exhausted(_) => {
                        let why = said.clone();
                        self.control.search_is_over(Ended { published: false, why });
                    }
                    _ => self.note(format!("{}: {said}", doing(&action))),
                }
                self.tell("waiting", &said);
                (Next::Rest, said)
            }
        };
        if let Some((_, policy)) = &mut self.policy {
            policy.heard(&said);
        }
        Ok(next)
    }

    fn view(&mut self, sight: Sight, start: Start) -> View {
        let Sight { now_ms, height, member, idle, plan_waits, frontier: _, knobs, .. } = sight;
        let Sight { dead_ends, open_plans, claims, rules, .. } = sight;
        let journal = &self.journal;
        View {
            now_ms,
            height,
            member,
            idle,
            start,
            knobs,
            trials: journal.trials.clone(),
            dead_ends,
            open_plans,
            plan: journal.plan,
            planned: journal.planned.clone(),
            plan_waits,
            claimed: journal.claimed.clone(),
            refused: journal.refused.clone(),
            published: journal.published,
            claims,
            notices: Vec::new(),
            budget: self.purse.left(now_ms),
            rules,
        }
    }

    /// Asks the policy, which may read and think for long, off the node's own threads. The time that a
    /// model thinks is the operator's as well.
    async fn decide(
        &mut self,
        mut view: View,
        texts: Vec<Untrusted>,
    ) -> Result<Option<(View, Decision)>, HomeError> {
        let settings = self.control.settings();
        let known = self.policy.take().filter(|(kind, _)| *kind == settings.policy);
        let (kind, folder, now_ms) = (settings.policy, self.folder.clone(), view.now_ms);
        let (runs, wanted) = (self.control.runs(), self.world.seat_wanted());
        let seed = settings.seed.unwrap_or_else(|| self.world.seed());
        let begun = std::time::Instant::now();
        let thought = tokio::task::spawn_blocking(move || {
            let mut policy = match known {
                Some((_, policy)) => policy,
                None => policy_of(&settings, seed, &folder, (runs, wanted))?,
            };
            view.notices = policy.read(&texts, view.now_ms);
            let decision = policy.next(&view);
            Ok::<_, String>((policy, view, decision))
        });
        let thought = thought.await;
        if kind == PolicyKind::Planner {
            self.purse.add_measuring(now_ms, begun.elapsed())?;
            self.show();
        }
        let reason = match thought {
            Ok(Ok((policy, view, decision))) => {
                self.policy = Some((kind, policy));
                return Ok(Some((view, decision)));
            }
            Ok(Err(reason)) => reason,
            Err(error) => format!("its policy failed and is made afresh: {error}"),
        };
        tracing::warn!("agent: {reason}");
        self.tell("waiting", &reason);
        Ok(None)
    }

    async fn carry_out(
        &mut self,
        start: Start,
        view: &View,
        action: &Action,
        runs: watch::Receiver<bool>,
    ) -> Result<String, Failed> {
        let now_ms = view.now_ms;
        match action {
            Action::Wait => Ok("waited".to_owned()),
            Action::Announce(plan) => {
                self.purse.pay_message(now_ms)?;
                let said = self.world.announce(start, plan);
                let post = self.unless_unsaid(said)?;
                self.journal.plan = Some(post);
                self.journal.planned.clone_from(&plan.levers);
                self.said(format!("announced plan {}", post.short()))
            }
            Action::Try(experiment) => self.try_it(start, now_ms, experiment, runs).await,
            Action::Publish(finding) => {
                self.purse.pay_message(now_ms)?;
                let report = Report { journal: &self.journal, start, finding };
                let said = self.world.report(report);
                let post = self.unless_unsaid(said)?;
                self.journal.published = true;
                let said = self.said(format!("published what came of it in {}", post.short()))?;
                self.give_up(|_| true).await?;
                self.control.search_is_over(Ended { published: true, why: said.clone() });
                Ok(said)
            }
            Action::Claim(ClaimDraft { variant }) => {
                let ratio = self.journal.last(variant).and_then(Trial::sound_ratio);
                let ratio = ratio.ok_or_else(|| Failed::World("it was not measured".to_owned()))?;
                self.purse.pay_message(now_ms)?;
                let claim = match self.world.claim(start, variant, ratio.ppm).await {
                    Ok(claim) => claim,
                    Err(error) => return self.unclaimed(variant, error),
                };
                self.journal.claimed = Some(Claimed { claim, variant: variant.clone() });
                self.said(format!("claimed {} as {}", variant.text(), claim.short()))
            }
        }
    }

    async fn try_it(
        &mut self,
        start: Start,
        now_ms: u64,
        experiment: &Experiment,
        runs: watch::Receiver<bool>,
    ) -> Result<String, Failed> {
        let paid = self.purse.pay_measuring(now_ms, TRIAL_SECONDS_MIN, TRIAL_SECONDS_MAX)?;
        let Experiment { variant, pairs } = experiment;
        if !self.journal.has_made(variant) {
            let bytes = self.world.bytes_of(start, variant);
            if let Err(unpaid) = self.purse.pay_disk(now_ms, bytes) {
                self.purse.settle_measuring(paid, Duration::ZERO)?;
                return Err(unpaid.into());
            }
            self.journal.pays(variant, bytes);
            self.keep()?;
        }
        let within = Duration::from_secs(paid);
        let stop = Box::pin(stopped(runs));
        let attempt = self.world.attempt(start, experiment, within, stop).await;
        self.purse.settle_measuring(paid, attempt.worked)?;
        // A trial that was stopped has its files already, or will make them again.
        if attempt.result.is_some() || !attempt.made.manifests.is_empty() {
            let unwritten = self.journal.made(variant, attempt.made);
            self.purse.settle_disk(unwritten)?;
        }
        if let Some(result) = attempt.result {
            let trial = Trial { variant: variant.clone(), pairs: *pairs, result };
            let lost = !trial.gained();
            self.journal.took(trial);
            if lost {
                self.give_up(|candidate| candidate.variant == *variant).await?;
            }
        }
        let what = experiment.variant.text();
        let seconds = attempt.worked.as_secs_f64();
        let said = format!("{what}: {} ({} pairs, {seconds:.0} s)", attempt.said, experiment.pairs);
        self.said(said)
    }

    /// Deletes the files of candidates that are lost, but for those of a claim, and gives back what they
    /// took on disk. What cannot be deleted stays paid for.
    async fn give_up(&mut self, lost: impl Fn(&Candidate) -> bool) -> Result<(), HomeError> {
        let leavings = self.journal.leavings(&lost);
        let deleted = self.world.discard(&leavings.manifests, &leavings.kept).await;
        if let Err(reason) = deleted {
            tracing::warn!("agent: files of lost candidates stay: {reason}");
            return Ok(());
        }
        self.journal.candidates.retain(|candidate| !lost(candidate));
        self.keep()?;
        self.purse.settle_disk(leavings.bytes)?;
        self.show();
        Ok(())
    }

    /// What follows a claim that was not made: one that the network will never take ends the search.
    fn unclaimed(&mut self, variant: &Variant, error: SubmitError) -> Result<String, Failed> {
        self.purse.settle_message()?;
        match error {
            SubmitError::Refused(reason) => {
                self.journal.refused = Some(variant.clone());
                self.said(format!("the network refuses a claim of {}: {reason}", variant.text()))
            }
            later => Err(Failed::World(later.to_string())),
        }
    }

    /// Gives the message back that was paid for something which was not said.
    fn unless_unsaid<T>(&mut self, said: Result<T, String>) -> Result<T, Failed> {
        if said.is_err() {
            self.purse.settle_message()?;
        }
        said.map_err(Failed::World)
    }

    /// Notes what was done, and keeps the journal.
    fn said(&mut self, what: String) -> Result<String, Failed> {
        self.note(what.clone());
        self.journal.last = self.control.last_note();
        self.keep()?;
        Ok(what)
    }

    fn keep(&mut self) -> Result<(), HomeError> {
        self.show();
        self.journal.write(&self.journal_path)
    }

    /// Shows where the search stands, and what was spent.
    fn show(&mut self) {
        let spent = self.purse.spent(crate::ledger::now_ms());
        self.control.tell(|status| {
            status.start = self.journal.start;
            status.trials = self.journal.trials.len();
            status.plan = self.journal.plan;
            status.claim = self.journal.claimed.as_ref().map(|claimed| claimed.claim);
            status.spent = spent;
        });
    }

    fn tell(&self, doing: &str, why: &str) {
        self.control.tell(|status| {
            if status.running {
                (status.doing, status.why) = (doing.to_owned(), why.to_owned());
            }
        });
    }

    fn note(&self, text: String) {
        self.control.note(crate::ledger::now_ms(), text);
    }
}

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Exhausted(Unpaid),
    #[error("{0}")]
    World(String),
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<Unpaid> for Failed {
    fn from(unpaid: Unpaid) -> Self {
        match unpaid {
            Unpaid::Home(error) => Self::Home(error),
            exhausted => Self::Exhausted(exhausted),
        }
    }
}

/// Completes when the operator stops the agent.
async fn stopped(mut runs: watch::Receiver<bool>) {
    // A switch that is gone is as good a reason to stop.
    let _ = runs.wait_for(|runs| !*runs).await;
}

/// The policy that the operator chose.
///
/// # Errors
///
/// Why there is none.
fn policy_of(
    settings: &Settings,
    seed: u64,
    folder: &Path,
    (runs, wanted): (watch::Receiver<bool>, Asks),
) -> Result<Box<dyn Policy>, String> {
    match settings.policy {
        PolicyKind::Off => Err("its policy is off".to_owned()),
        PolicyKind::Searcher => Ok(Box::new(Searcher::new(seed))),
        PolicyKind::Planner => {
            let model = LocalModel::open(settings.model.as_deref());
            let model = model.map_err(|error| format!("the planner has no model: {error}"))?;
            let options = PlannerOptions {
                seed,
                lock: Some(crate::measure::lock::default_path()),
                stop: Arc::new(move || !*runs.borrow() || wanted()),
                ..PlannerOptions::default()
            };
            let transcript = folder.parent().map(Transcript::of);
            Ok(Box::new(Planner::new(model, options, transcript)))
        }
    }
}

/// An action in a few words.
fn doing(action: &Action) -> String {
    match action {
        Action::Wait => "waiting".to_owned(),
        Action::Announce(_) => "announcing a plan".to_owned(),
        Action::Try(Experiment { variant, pairs }) => {
            format!("measuring {} in {pairs} pairs", variant.text())
        }
        Action::Publish(_) => "publishing what came of its search".to_owned(),
        Action::Claim(ClaimDraft { variant }) => format!("claiming {}", variant.text()),
    }
}

#[allow(clippy::cast_precision_loss)]
fn named(claim: ClaimId, ratio_to_base_ppm: u64) -> String {
    format!("{} ({:.3}× base)", claim.short(), ratio_to_base_ppm as f64 / 1e6)
}
