//! The host of the ordering engine: it decides, with the other validators, which block is next.
//!
//! [Malachite](https://github.com/circlefin/malachite)'s core is Tendermint as a pure state
//! machine. This module runs it: messages and timers go in, and what comes out is signed, logged,
//! sent and committed. It knows nothing of sockets, of the store or of what a block means: blocks
//! are bytes to it, named by [`Application::identify`] and judged by [`Application::check`].
//!
//! What it promises:
//!
//! - *Idle is idle.* A height starts when there is work, or when a message for it arrives that a
//!   validator signed. Until then nothing is sent and no timer runs.
//! - *Never two votes for one slot.* Everything signed is in the write-ahead log and flushed before
//!   it leaves ([`WalError`] stops the host), and a restarted validator repeats what it said.
//! - *Hostile input changes nothing.* Bytes are length-checked, decoded canonically and verified
//!   against the validator set before they can start a height, a sync or a disk write, and every
//!   queue and cache is bounded.
//!
//! The owner starts one host per ledger with [`start`], delivers what the network brings as
//! [`Inbound`] and carries out every [`Outbound`].

mod application;
mod bodies;
mod catchup;
mod codec;
mod context;
mod core;
mod effects;
mod evidence;
mod host;
mod intake;
mod keys;
mod slots;
mod timers;
mod wal;

pub use application::{Application, ApplicationError, Validator};
pub use arc_malachitebft_core_types::LinearTimeouts;
pub use codec::{BODY_BYTES_MAX, CodecError};
pub use host::{Busy, HostHandle, HostSender, start};
pub use wal::WalError;

use assay_proto::v1;
use assay_protocol::ids::{NetworkId, PeerId};
use ed25519_dalek::SigningKey;
use std::path::PathBuf;
use std::time::Duration;

/// What a host is started with.
#[derive(Clone)]
pub struct HostConfig {
    /// Folder for the write-ahead log; created if absent. One host at a time may use it.
    pub home: PathBuf,
    /// The network, part of every signed byte string.
    pub network: NetworkId,
    /// This peer's key. It signs only while the application lists it as a validator.
    pub signer: SigningKey,
    /// How long each step of a round waits.
    pub timeouts: LinearTimeouts,
}

/// Timeouts for validators that are milliseconds apart. A dead proposer costs one `propose`
/// and a little; rounds wait longer the more of them fail.
#[must_use]
pub const fn lan_timeouts() -> LinearTimeouts {
    LinearTimeouts {
        propose: Duration::from_millis(1500),
        propose_delta: Duration::from_millis(500),
        prevote: Duration::from_millis(500),
        prevote_delta: Duration::from_millis(250),
        precommit: Duration::from_millis(500),
        precommit_delta: Duration::from_millis(250),
        // Shorter than a proposal's wait, so that a lost proposal is sent again within its round.
        rebroadcast: Duration::from_millis(700),
        max_timeout: Duration::from_secs(20),
    }
}

/// Where an outbound message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Votes and proposals.
    Consensus,
    /// Repeated votes and certificates; delivered like [`Topic::Consensus`].
    Liveness,
    /// Proposed blocks.
    Body,
}

/// Whether bytes that came on a topic have the form of its messages, so that the owner can refuse
/// to pass on what no honest peer sends. Signatures are verified by the host.
///
/// # Errors
///
/// [`CodecError`] naming what is wrong with the form.
pub fn check_form(topic: Topic, bytes: &[u8]) -> Result<(), CodecError> {
    match topic {
        Topic::Consensus | Topic::Liveness => codec::Message::decode(bytes).map(|_| ()),
        Topic::Body => codec::decode_body(bytes).map(|_| ()),
    }
}

/// What the owner tells the host.
#[derive(Debug, Clone)]
pub enum Inbound {
    /// A message from the topics `consensus` or `liveness`.
    Consensus(Vec<u8>),
    /// A message from the topic `body`.
    Body(Vec<u8>),
    /// An answer to [`Outbound::RequestSync`].
    Synced {
        /// Who answered.
        from: PeerId,
        /// The blocks, in order of height.
        response: v1::SyncResponse,
    },
    /// A peer said that its ledger has this height. Believed only as far as asking for the blocks.
    PeerHead {
        /// The peer's last decided height.
        height: u64,
    },
    /// There may be work: [`Application::has_work`] is asked again.
    Wake,
}

/// What the host asks of its owner.
#[derive(Debug, Clone)]
pub enum Outbound {
    /// Send this to everyone.
    Publish(Topic, Vec<u8>),
    /// Ask a peer for blocks from this height on, and deliver the answer as [`Inbound::Synced`].
    RequestSync {
        /// First height wanted.
        from: u64,
    },
    /// A block is final and committed.
    Decided {
        /// Its height.
        height: u64,
    },
    /// A peer's answer was not what the validators decided.
    SyncRejected {
        /// Who sent it.
        from: PeerId,
        /// Height of the item refused.
        height: u64,
        /// What was wrong.
        reason: String,
    },
    /// A validator signed two messages for one slot.
    Misbehaviour(Evidence),
}

/// Proof that a validator signed two messages for one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who signed.
    pub validator: PeerId,
    /// Height of the slot.
    pub height: u64,
    /// Era of the slot, which the signatures cover.
    pub era: u64,
    /// One message, as an encoded [`v1::ConsensusMessage`].
    pub first: Vec<u8>,
    /// Another that contradicts it.
    pub second: Vec<u8>,
}

/// What the host is doing, for people to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// The last decided height.
    pub height: u64,
    /// The round of the next height; `None` while nothing is being decided.
    pub round: Option<u32>,
    /// Whether this peer is a validator of the next height.
    pub validator: bool,
}

/// Why a host cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The folder could not be made.
    #[error("cannot create {path}: {source}; choose another --home")]
    Home {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The write-ahead log failed, so that nothing may be signed any more.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The application named an impossible validator set.
    #[error("the ledger's validator set cannot be used: {0}")]
    ValidatorSet(String),
    /// The application could not store a decided block.
    #[error("decided block {height} could not be committed: {reason}")]
    Commit {
        /// Its height.
        height: u64,
        /// What the application said.
        reason: String,
    },
    /// The engine contradicted itself; going on could contradict a signature.
    #[error("the ordering engine stopped: {0}; restart the node, and report this if it recurs")]
    Engine(String),
    /// The host's task ended without a result.
    #[error("the ordering task panicked: {0}")]
    Panicked(String),
}
