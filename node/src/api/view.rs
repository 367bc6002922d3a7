//! What the HTTP side asks of the daemon, and the words they share.

use super::members::{Said, Statement};
use crate::agent::{AgentStatus, Order};
use crate::board::Board;
use crate::checkpoints::Checkpoints;
use crate::roles::Duty;
use assay_proto::v1;
use assay_protocol::ids::{BlobHash, BlockHash, ClaimId, NetworkId, PeerId, RecordId};
use assay_protocol::post::{Forecast, PostBody};
use assay_protocol::record::{DRAFT_LEN_MAX, Recipe, SUMMARY_BYTES_MAX};
use assay_protocol::state::State;
use assay_protocol::verdict::Verdict;
use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// The daemon as its pages and its JSON API see it.
///
/// Reading never waits for the daemon: [`View::state`] and [`View::status`] hand out snapshots,
/// which the daemon replaces after every change.
pub trait View: Send + Sync + 'static {
    /// The ledger's state after the last block taken over.
    fn state(&self) -> Arc<State>;

    /// What this node is and does.
    fn status(&self) -> Status;

    /// Who this node is connected to.
    fn peers(&self) -> BoxFuture<'_, Vec<PeerRow>>;

    /// A counter that grows with every change of state, status or peers. Closing it ends all live
    /// updates.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Seals the author's result, signs a claim with this node's key and publishes it.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], whose message goes to the caller as it is.
    fn submit_claim(
        &self,
        request: ClaimRequest,
    ) -> BoxFuture<'_, Result<ClaimAccepted, SubmitError>>;

    /// Measures a recipe against its parent on this machine and publishes nothing.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], whose message goes to the caller as it is.
    fn measure(&self, request: MeasureRequest) -> BoxFuture<'_, Result<Verdict, SubmitError>>;

    /// What was said on the board.
    fn board(&self) -> Arc<Board>;

    /// Signs a post with this node's key and publishes it.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], whose message goes to the caller as it is.
    fn post(&self, request: PostRequest) -> Result<Said, SubmitError>;

    /// Brings the files of a manifest here.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Unavailable`] when no peer has them in time, or the disk has no room.
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SubmitError>>;

    /// Signs a statement with this node's key and publishes it.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], whose message goes to the caller as it is.
    fn say(&self, statement: Statement) -> Result<Said, SubmitError>;

    /// What the agent is and does.
    fn agent(&self) -> AgentStatus;

    /// Starts or stops the agent.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], whose message goes to the caller as it is.
    fn order_agent(&self, order: Order) -> Result<AgentStatus, SubmitError>;

    /// Checkpoints of the ledger, and what witnesses said about them.
    fn checkpoints(&self) -> Arc<Checkpoints>;

    /// The block at a height with its certificate; none beyond the head.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, for the caller as it is.
    fn block(&self, height: u64) -> Result<Option<v1::LedgerItem>, String>;

    /// The bytes of the ledger's export file, header first, in chunks of the daemon's choosing, so
    /// that memory stays bounded however long the ledger is. An error cuts the transfer off.
    fn export(&self) -> BoxStream<'static, io::Result<Bytes>>;
}

/// What a node is and does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This node's key.
    pub peer: PeerId,
    /// Its name for people.
    pub name: String,
    /// The network's id.
    pub network: NetworkId,
    /// The network's name for people.
    pub network_name: String,
    /// Height of the last block.
    pub height: u64,
    /// Hash of the last block's header.
    pub head: BlockHash,
    /// Peers connected.
    pub peers: usize,
    /// Hardware class as measured; none before the first measurement.
    pub class: Option<String>,
    /// Standing on the ledger; none when this node is not a member.
    pub standing: Option<u64>,
    /// What it is good for, by what it measured about itself.
    #[serde(default)]
    pub roles: Vec<Duty>,
    /// What it is doing, in a few words.
    pub doing: String,
    /// Why it is doing that, in one sentence.
    pub reason: String,
    /// What its agent does and why, in one line.
    pub agent: String,
    /// Who holds this host's measuring lock.
    pub measuring_lock: MeasuringLock,
    /// Whether it makes null claims by lot. Which claims these are stays in its log until they are
    /// opened: this goes to whoever asks on this host.
    pub null_claims: bool,
    /// Bytes of this node's home folder.
    pub disk_bytes: u64,
    /// Version of the program.
    pub version: String,
}

/// Who holds the lock that lets one measurement at a time run on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuringLock {
    /// Nobody.
    Free,
    /// This node.
    Held,
    /// Another process on this host.
    Elsewhere,
}

impl MeasuringLock {
    /// The state as a word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Held => "held by this node",
            Self::Elsewhere => "held by another process",
        }
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// The key at the other end.
    pub peer: PeerId,
    /// Its address, as a multiaddress.
    pub address: String,
    /// Whether this node dialled.
    pub outbound: bool,
    /// Unix time of the connection.
    pub connected_at_ms: u64,
    /// Last round trip; none before the first ping was answered.
    pub ping_us: Option<u64>,
    /// Height that the peer last said it has; none before it said any.
    pub height: Option<u64>,
}

/// A claim to make in this node's name. All blobs that the recipe names must be in the node's store
/// already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// What is claimed to be fast.
    pub recipe: Recipe,
    /// What it is compared with; none means the base recipe.
    #[serde(default)]
    pub parent: Option<ClaimId>,
    /// Child speed over parent speed as the author says, in millionths; none means that this node
    /// measures it first.
    #[serde(default)]
    pub ratio_ppm: Option<u64>,
    /// Seal that the claim is a trap: its recipe is its parent's with other bytes.
    #[serde(default)]
    pub null: bool,
    /// Publish although the own measurement says that a committee would refute the claim.
    #[serde(default)]
    pub insist: bool,
    /// The specs and diagnoses that it follows.
    #[serde(default)]
    pub cites: Vec<RecordId>,
    /// One line for people, at most [`SUMMARY_BYTES_MAX`] bytes without control characters.
    pub summary: String,
}

impl ClaimRequest {
    /// Checks the form, as the network would.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Refused`] naming the field at fault.
    pub fn check(&self) -> Result<(), SubmitError> {
        let refuse = |reason: String| Err(SubmitError::Refused(reason));
        if self.summary.len() > SUMMARY_BYTES_MAX || self.summary.chars().any(char::is_control) {
            return refuse(format!(
                "summary: at most {SUMMARY_BYTES_MAX} bytes without control characters"
            ));
        }
        if self.ratio_ppm == Some(0) {
            return refuse("ratio_ppm: a speed ratio in millionths, above 0".to_owned());
        }
        check_recipe(&self.recipe)
    }
}

fn check_recipe(recipe: &Recipe) -> Result<(), SubmitError> {
    match recipe.drafter {
        Some(drafter) if !(1..=DRAFT_LEN_MAX).contains(&drafter.draft_len) => {
            let reason = format!("recipe.drafter.draft_len: 1 to {DRAFT_LEN_MAX}");
            Err(SubmitError::Refused(reason))
        }
        _ => Ok(()),
    }
}

/// A recipe to measure on this machine. All blobs that it names must be in the node's store already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureRequest {
    /// What is measured.
    pub recipe: Recipe,
    /// What it is compared with; none means the base recipe.
    #[serde(default)]
    pub parent: Option<ClaimId>,
}

impl MeasureRequest {
    /// Checks the form, as the network would.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Refused`] naming the field at fault.
    pub fn check(&self) -> Result<(), SubmitError> {
        check_recipe(&self.recipe)
    }
}

/// Files to bring here from peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchRequest {
    /// The manifest that names them.
    pub manifest: BlobHash,
}

/// Files that are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The manifest that names them.
    pub manifest: BlobHash,
    /// What they are: "checkpoint", "bundle" or "drafter".
    pub kind: String,
    /// The folder of this machine that holds them. It belongs to the node.
    pub folder: PathBuf,
    /// Size of them together.
    pub bytes: u64,
}

/// A post to make in this node's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostRequest {
    /// What to say. A thread may be named by any of its posts.
    pub body: PostBody,
    /// What a spec predicts; specs need one, nothing else may have one.
    #[serde(default)]
    pub forecast: Option<Forecast>,
}

/// A claim that was signed and published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimAccepted {
    /// Its id.
    pub claim: ClaimId,
    /// The ratio sealed with it, in millionths.
    pub ratio_ppm: u64,
    /// What a committee of the author alone would have decided, if it measured.
    pub own_verdict: Option<Verdict>,
}

/// Why a claim was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The rules refuse it; the same request will be refused again until something changes.
    #[error("{0}")]
    Refused(String),
    /// The rules refuse it for as long as something else is open.
    #[error("{0}")]
    Later(String),
    /// The node cannot take it at this moment.
    #[error("{0}")]
    Unavailable(String),
}
