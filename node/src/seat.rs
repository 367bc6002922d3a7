//! A seat's measurement from plan to raw data: fetch what the recipes name, then measure it.

use crate::api::{Fetched, MeasuringLock};
use crate::diagnose;
use crate::fetch::{FetchError, Fetcher};
use crate::ledger::Ledger;
use crate::measure::lock::HostLock;
use crate::measure::{self, Job, MeasureError, RecipeFiles};
use crate::rulings::Notice;
use crate::storage::{BlobError, Blobs};
use assay_protocol::ids::{BlobHash, ClaimId, RoundId};
use assay_protocol::manifest::Kind;
use assay_protocol::measurement::Measurement;
use assay_protocol::peer::{Input, Secret};
use assay_protocol::plan::{Arm, Plan};
use assay_protocol::record::Recipe;
use assay_protocol::state::Phase;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How the description of a running measurement begins.
const MEASURING: &str = "measuring";

/// How the description of opening the adapter begins.
const IDENTIFYING: &str = "identifying the adapter";
/// Broken paths that are kept until somebody asks for them.
const NOTICES_MAX: usize = 16;
/// Pause between two looks at how long a trial has taken.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Time for opening the adapter, and for the measurements on this host that are waited for before.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(1800);

/// What a node does when it does nothing for the network.
pub const IDLE: &str = "idle: no claim needs this node";

/// Why a measurement did not come about.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// Something that the recipes name could not be brought here.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The pool text could not be put where the worker reads it.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The worker failed.
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

/// How a measurement that nobody asked for went.
pub struct Trialled {
    /// What was measured.
    pub measured: Result<Measurement, SeatError>,
    /// How long the machine was at it.
    pub worked: Duration,
}

/// Measures claims on this machine.
pub struct Seat {
    ledger: Arc<Ledger>,
    fetcher: Fetcher,
    blobs: Blobs,
    measuring: Measuring,
    doing: watch::Sender<String>,
    class: watch::Sender<Option<String>>,
    notices: Mutex<Vec<Notice>>,
}

/// How this machine measures.
#[derive(Debug, Clone)]
pub struct Measuring {
    /// Deadline, lock and worker program.
    pub options: measure::Options,
    /// Only adapters whose name contains this; none means the best one.
    pub adapter: Option<String>,
}

impl Seat {
    /// A seat that fetches with `fetcher` and measures by `options`.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, fetcher: Fetcher, blobs: Blobs, measuring: Measuring) -> Self {
        let doing = watch::Sender::new(IDLE.to_owned());
        let class = watch::Sender::new(None);
        let notices = Mutex::default();
        Self { ledger, fetcher, blobs, measuring, doing, class, notices }
    }

    /// What the machine is doing, for people.
    #[must_use]
    pub fn doing(&self) -> watch::Receiver<String> {
        self.doing.subscribe()
    }

    /// The hardware class of the adapter that measures; a worker opens it when it has not measured yet.
    ///
    /// # Errors
    ///
    /// [`MeasureError`] when there is no such adapter, or it does not answer in time.
    pub async fn identify(&self) -> Result<String, MeasureError> {
        if let Some(class) = self.class() {
            return Ok(class);
        }
        let Measuring { options, adapter } = &self.measuring;
        // Waiting for another measurement takes minutes, and that measurement may be this seat's own.
        let progress = |progress: measure::Progress| {
            let what = format!("{IDENTIFYING}, {}", progress.what);
            self.replace(|doing| doing == IDLE, &what);
        };
        let options = measure::Options { deadline: IDENTIFY_WITHIN, ..options.clone() };
        let class = measure::hardware_class(adapter.as_deref(), &options, progress).await;
        self.replace(|doing| doing.starts_with(IDENTIFYING), IDLE);
        let class = class?;
        self.class.send_replace(Some(class.clone()));
        Ok(class)
    }

    /// The hardware class as last measured.
    #[must_use]
    pub fn class(&self) -> Option<String> {
        self.class.borrow().clone()
    }

    /// Whether it does nothing at present.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self.doing.borrow() == IDLE
    }

    /// Who holds the host's measuring lock.
    #[must_use]
    pub fn lock(&self) -> MeasuringLock {
        match HostLock::is_held(&self.measuring.options.lock_path) {
            false => MeasuringLock::Free,
            true if self.doing.borrow().starts_with(MEASURING) => MeasuringLock::Held,
            true => MeasuringLock::Elsewhere,
        }
    }

    /// The paths that were seen to break since this was asked last.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps where a recipe was seen to leave its path, for whoever asks for [`Self::notices`].
    fn notice(&self, notice: Notice) {
        // One push or take leaves the list whole, whatever panicked elsewhere.
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < NOTICES_MAX {
            notices.push(notice);
        }
    }

    /// Measures one claim and tells the ledger how it went.
    pub async fn measure(&self, plan: Plan) {
        let round = plan.round;
        let input = match self.raw_data(plan, "as a seat").await {
            Ok(measurement) => {
                let mut salt = [0; 32];
                match getrandom::fill(&mut salt) {
                    Ok(()) => Input::Measured(Secret::Measurement {
                        round,
                        salt,
                        measurement: Box::new(measurement),
                    }),
                    Err(error) => {
                        tracing::error!(%error, "no randomness for a salt");
                        Input::MeasureFailed(round)
                    }
                }
            }
            Err(SeatError::Measure(MeasureError::Cancelled)) => {
                tracing::info!(%round, "stopped measuring: its seats were wanted no longer");
                Input::MeasureFailed(round)
            }
            Err(error) => {
                tracing::warn!(%error, %round, "measurement failed");
                Input::MeasureFailed(round)
            }
        };
        self.ledger.step(input);
    }

    /// Fetches what a recipe names and looks whether it can be loaded; the inner error says why not.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when the files are not to be had.
    pub async fn diagnose(&self, recipe: &Recipe) -> Result<Result<(), String>, FetchError> {
        let files = self.files(recipe).await?;
        let checked = tokio::task::spawn_blocking(move || diagnose::loadable(&files)).await;
        Ok(checked.unwrap_or_else(|error| Err(format!("its check did not end: {error}"))))
    }

    /// Fetches and measures by a plan, saying what it does `role`.
    ///
    /// # Errors
    ///
    /// [`SeatError`].
    pub async fn raw_data(&self, plan: Plan, role: &str) -> Result<Measurement, SeatError> {
        let cancel = self.sealing_over(plan.round);
        let options = self.options_for(plan.round);
        self.raw_data_within(plan, role, options, &OnceLock::new(), cancel).await
    }

    /// How to measure for a round: for as long as the network gives its seats to seal.
    fn options_for(&self, id: RoundId) -> measure::Options {
        let seal_ms = self.ledger.with(|peer| {
            let state = peer.state();
            let found = state.round(id).map(|(_, round)| state.parameters_of(round));
            found.unwrap_or_else(|| state.parameters()).committee.seal_ms
        });
        let deadline = Duration::from_millis(seal_ms);
        measure::Options { deadline, ..self.measuring.options.clone() }
    }

    /// Fetches and measures by a plan of its own for `within` at most, waiting aside, until `stop`
    /// completes.
    pub async fn trial(
        &self,
        plan: Plan,
        within: Duration,
        stop: impl Future<Output = ()> + Send,
    ) -> Trialled {
        let mut options = self.options_for(plan.round);
        // Others on this host may measure first; that is no time of this trial.
        options.deadline = options.deadline.saturating_add(within);
        let begun = OnceLock::new();
        let worked = || begun.get().map_or(Duration::ZERO, Instant::elapsed);
        let over = async {
            tokio::select! {
                () = stop => {}
                () = async {
                    while worked() < within {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                } => {}
            }
        };
        let measured = self.raw_data_within(plan, "for its agent", options, &begun, over).await;
        Trialled { measured, worked: worked() }
    }

    async fn raw_data_within(
        &self,
        plan: Plan,
        role: &str,
        options: measure::Options,
        begun: &OnceLock<Instant>,
        cancel: impl Future<Output = ()> + Send,
    ) -> Result<Measurement, SeatError> {
        let round = plan.round;
        let result = self.fetch_and_measure(plan, role, options, begun, cancel).await;
        self.say(IDLE.to_owned());
        if let Ok(measurement) = &result {
            let environment = &measurement.environment;
            self.class.send_replace(Some(environment.hardware_class.clone()));
            tracing::info!(
                %round,
                adapter = environment.adapter,
                repeats = environment.repeats,
                "measured {role}"
            );
        }
        result
    }

    async fn fetch_and_measure(
        &self,
        plan: Plan,
        role: &str,
        options: measure::Options,
        begun: &OnceLock<Instant>,
        cancel: impl Future<Output = ()> + Send,
    ) -> Result<Measurement, SeatError> {
        let claim = match plan.round {
            OWN_ROUND => "its own claim".to_owned(),
            RoundId { claim, number: 1 } => format!("claim {}", claim.short()),
            RoundId { claim, number } => format!("claim {}, round {number},", claim.short()),
        };
        let rules = self.ledger.with(|peer| peer.state().parameters().clone());
        self.say(format!("fetching the recipes of {claim}"));
        let base = self.files(&rules.challenge.base).await?;
        let x = self.files(&plan.x).await?;
        let y = self.files(&plan.y).await?;
        let pool = self.pool(rules.challenge.pool.text).await?;
        let (child, recipe) = match plan.child {
            Arm::X => (Arm::X, plan.x),
            Arm::Y => (Arm::Y, plan.y),
        };
        let mut parted = None;
        let job = Job::new(&rules, plan, pool, [x, y, base], self.measuring.adapter.clone());
        let progress = |progress: measure::Progress| {
            if let Some(found) = progress.parted.filter(|found| found.arm == child) {
                parted = Some(found.seen);
            }
            let what = match progress.total {
                0 => format!("waiting to measure {claim} {role}: {}", progress.what),
                total => {
                    begun.get_or_init(Instant::now);
                    let (done, what) = (progress.done, progress.what);
                    format!("{MEASURING} {claim} {role}: step {done} of {total}, {what}")
                }
            };
            self.say(what);
        };
        let measured = measure::run(&job, &options, progress, cancel).await?;
        if let Some(seen) = parted {
            tracing::info!(recipe = %recipe.id().short(), %seen, "saw a path break");
            self.notice(Notice { recipe, seen });
        }
        Ok(measured)
    }

    /// Completes when nobody can seal in a round any more; never for an author's own measurement.
    async fn sealing_over(&self, id: RoundId) {
        if id == OWN_ROUND {
            return std::future::pending().await;
        }
        let mut changes = self.ledger.changes();
        loop {
            let open = self.ledger.with(|peer| {
                let round = peer.state().round(id).map(|(_, round)| round.phase);
                matches!(round, Some(Phase::Sealing { .. }))
            });
            if !open || changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn files(&self, recipe: &Recipe) -> Result<RecipeFiles, FetchError> {
        let checkpoint = self.fetcher.files(recipe.checkpoint, Kind::Checkpoint).await?;
        let bundle = match recipe.bundle {
            Some(hash) => Some(self.fetcher.files(hash, Kind::Bundle).await?),
            None => None,
        };
        let drafter = match recipe.drafter {
            Some(drafter) => {
                let folder = self.fetcher.files(drafter.checkpoint, Kind::Drafter).await?;
                Some((folder, drafter.draft_len))
            }
            None => None,
        };
        Ok(RecipeFiles { checkpoint, bundle, drafter })
    }

    /// Brings the files of any manifest here.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when they are not to be had.
    pub async fn fetch(&self, hash: BlobHash) -> Result<Fetched, FetchError> {
        let manifest = self.fetcher.manifest(hash).await?;
        let folder = self.fetcher.files(hash, manifest.kind).await?;
        let (kind, bytes) = (manifest.kind.name().to_owned(), manifest.bytes());
        Ok(Fetched { manifest: hash, kind, folder, bytes })
    }

    /// The pool's text as a file of its own.
    async fn pool(&self, text: BlobHash) -> Result<PathBuf, SeatError> {
        self.fetcher.blob(text).await?;
        Ok(self.blobs.path_of(text)?)
    }

    /// Says `what` where `is_old` holds of what was said last.
    fn replace(&self, is_old: impl FnOnce(&str) -> bool, what: &str) {
        let replaced = self.doing.send_if_modified(|doing| {
            let old = is_old(doing);
            if old {
                what.clone_into(doing);
            }
            old
        });
        if replaced {
            self.ledger.touch();
        }
    }

    fn say(&self, what: String) {
        self.doing.send_replace(what);
        self.ledger.touch();
    }
}

/// Longest time that a claim's blobs are waited for.
pub const FETCH_PATIENCE: Duration = Duration::from_secs(120);

/// The round under which an author measures its own claim before it has an id.
pub const OWN_ROUND: RoundId = RoundId { claim: ClaimId([0; 32]), number: 0 };
