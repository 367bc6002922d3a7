//! Everything outside the agent, as its loop sees it.

use super::action::{Experiment, Finding, PlanDraft};
use super::journal::Journal;
use super::quarantine::Untrusted;
use super::view::{ClaimSeen, Knob, OpenPlan, Rules, Start, TrialResult, Variant};
use crate::api::SubmitError;
use assay_protocol::ids::{BlobHash, ClaimId, RecordId};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the agent looks again when there was nothing to do.
const PAUSE: Duration = Duration::from_secs(2);

/// What a look at ledger and board shows, from one start.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// Height of the ledger.
    pub height: u64,
    /// Whether the network takes claims of this node.
    pub member: bool,
    /// Whether no seat of this node has anything to measure.
    pub idle: bool,
    /// Whether a plan of this node waits for its place on the ledger.
    pub plan_waits: bool,
    /// What leads now.
    pub frontier: Start,
    /// What may be turned.
    pub knobs: Vec<Knob>,
    /// Lever sets that are known not to pay.
    pub dead_ends: BTreeSet<BTreeSet<String>>,
    /// What others are about to try, and announced before this node announced its plan.
    pub open_plans: Vec<OpenPlan>,
    /// Claims, newest first.
    pub claims: Vec<ClaimSeen>,
    /// What others said last, for policies that read.
    pub texts: Vec<Untrusted>,
    /// What is worth claiming.
    pub rules: Rules,
}

/// Files of a candidate in this node's store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Made {
    /// Manifests that its recipe names and the start's does not.
    pub manifests: Vec<BlobHash>,
    /// Bytes that they take, as chunks and as files.
    pub bytes: u64,
}

/// How a trial went.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What it came to; none where it was stopped, or gave way to a seat.
    pub result: Option<TrialResult>,
    /// Files that were made for it.
    pub made: Made,
    /// Time that the machine measured.
    pub worked: Duration,
    /// What happened, for people.
    pub said: String,
}

/// What of a search is published.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The search.
    pub journal: &'a Journal,
    /// What it started from.
    pub start: Start,
    /// What was found.
    pub finding: &'a Finding,
}

/// Tells whether something is so at the moment.
pub type Asks = Arc<dyn Fn() -> bool + Send + Sync>;

/// Everything outside the agent: ledger, board and machine.
pub trait World: Send + Sync {
    /// How long to wait before looking again when there was nothing to do.
    fn pause(&self) -> Duration {
        PAUSE
    }

    /// Where this node draws its lots from unless the operator says otherwise: another number on every
    /// node, so that two searches do not go the same way.
    fn seed(&self) -> u64;

    /// Whether a committee wants this machine.
    fn seat_wanted(&self) -> Asks;

    /// Looks around from `start`; from what leads where there is none.
    fn look(&self, start: Option<Start>) -> BoxFuture<'_, Result<Sight, String>>;

    /// The most bytes that making a variant takes on disk.
    fn bytes_of(&self, start: Start, variant: &Variant) -> u64;

    /// Makes a variant and measures it against the start for `within` at most, unless `stop` comes
    /// first.
    fn attempt<'a>(
        &'a self,
        start: Start,
        experiment: &'a Experiment,
        within: Duration,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Attempt>;

    /// Deletes files that were made for candidates, except what `kept` or anything else names.
    fn discard<'a>(
        &'a self,
        made: &'a [BlobHash],
        kept: &'a [BlobHash],
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Announces a plan.
    ///
    /// # Errors
    ///
    /// Why it was not announced.
    fn announce(&self, start: Start, plan: &PlanDraft) -> Result<RecordId, String>;

    /// Publishes what came of a search.
    ///
    /// # Errors
    ///
    /// Why it was not published.
    fn report(&self, report: Report<'_>) -> Result<RecordId, String>;

    /// Claims a variant with the measured ratio, in millionths; [`SubmitError::Refused`] means that the
    /// network will never take this claim.
    fn claim<'a>(
        &'a self,
        start: Start,
        variant: &'a Variant,
        ratio_ppm: u64,
    ) -> BoxFuture<'a, Result<ClaimId, SubmitError>>;
}
