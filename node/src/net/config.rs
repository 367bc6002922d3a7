//! What a node is told about its network, and the names derived from the network id.

use std::path::PathBuf;
use std::time::Duration;

use assay_proto::limits::{BLOCK_BYTES_MAX, CONSENSUS_BYTES_MAX, RECORD_BYTES_MAX};
use libp2p::{Multiaddr, StreamProtocol, gossipsub};

use super::error::NetError;

/// A gossip channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Signed records on their way to the ledger.
    Record,
    /// Records that are sent again because nobody ordered them yet. [`NetHandle::publish`] chooses it.
    ///
    /// [`NetHandle::publish`]: super::NetHandle::publish
    RecordAgain,
    /// Consensus votes and proposals.
    Consensus,
    /// Consensus messages that are sent again until a stalled height moves on.
    Liveness,
    /// Blocks whose hash consensus is about to order.
    Body,
}

impl Topic {
    /// Every topic; a node subscribes to all of them.
    pub const ALL: [Self; 5] =
        [Self::Record, Self::RecordAgain, Self::Consensus, Self::Liveness, Self::Body];

    /// The topic's part of its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::RecordAgain => "record-again",
            Self::Consensus => "consensus",
            Self::Liveness => "liveness",
            Self::Body => "body",
        }
    }

    /// Most bytes of one message's data. A longer message costs its sender.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Record | Self::RecordAgain => RECORD_BYTES_MAX,
            Self::Consensus | Self::Liveness => CONSENSUS_BYTES_MAX,
            Self::Body => BLOCK_BYTES_MAX,
        }
    }

    /// Whether two messages with the same data are the same message.
    ///
    /// Records and bodies mean the same however often they arrive. What is sent again must arrive
    /// again: its first copy may have come before its receiver was there or could use it.
    pub fn by_content(self) -> bool {
        matches!(self, Self::Record | Self::Body)
    }
}

/// Bounds on what peers can make this node hold or do.
#[derive(Debug, Clone)]
pub struct NetLimits {
    /// Peers that the node tries to have. At most 1.3 times as many connections are open, of which
    /// at most 0.9 times as many were opened by others, so that nobody can fill all places.
    pub peers_target: u32,
    /// Events that may wait for the rest of the node.
    pub events: usize,
    /// Gossip messages of one peer that may wait for a verdict.
    pub messages_per_peer: usize,
    /// Bytes of all gossip messages that wait for a verdict.
    pub message_bytes: usize,
    /// Requests of one kind that one peer may have in service.
    pub requests_per_peer: usize,
    /// Requests of one kind that may be in service.
    pub requests: usize,
    /// Longest time for a whole request and its answer.
    pub request_timeout: Duration,
    /// Offences after which a peer is disconnected and blocked; one is forgiven per minute.
    pub offences: u32,
    /// How long a peer stays blocked.
    pub block: Duration,
    /// First pause before an address is dialled again; doubles with every failure.
    pub redial_min: Duration,
    /// Longest pause before an address is dialled again.
    pub redial_max: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            peers_target: 50,
            events: 1024,
            messages_per_peer: 256,
            message_bytes: 64 << 20,
            requests_per_peer: 2,
            requests: 32,
            request_timeout: Duration::from_secs(30),
            offences: 5,
            block: Duration::from_secs(600),
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(60),
        }
    }
}

/// How to join a network.
#[derive(Clone)]
pub struct NetConfig {
    /// Ed25519 secret of the peer; its public key is the peer's identity.
    pub key: [u8; 32],
    /// Network id: the hash of the genesis file.
    pub network: [u8; 32],
    /// Addresses to listen on, `/ip4/…/tcp/…` or `/ip4/…/udp/…/quic-v1`; port 0 lets the system
    /// choose.
    pub listen: Vec<Multiaddr>,
    /// Addresses of peers to dial at start, and again whenever they are not connected.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// File that keeps the addresses of known peers between runs.
    pub peer_cache: Option<PathBuf>,
    /// Bounds on what peers can make this node hold or do.
    pub limits: NetLimits,
}

impl NetConfig {
    /// A configuration that listens nowhere and knows nobody, with the default limits.
    pub fn new(key: [u8; 32], network: [u8; 32]) -> Self {
        Self {
            key,
            network,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            peer_cache: None,
            limits: NetLimits::default(),
        }
    }
}

/// The names that keep networks apart.
#[derive(Debug, Clone)]
pub(super) struct Names {
    network: [u8; 32],
}

impl Names {
    pub(super) fn new(network: [u8; 32]) -> Self {
        Self { network }
    }

    /// `/assay/<first 8 bytes of the network id>/<what>`.
    pub(super) fn protocol(&self, what: &str) -> Result<StreamProtocol, NetError> {
        let name = format!("/assay/{}/{what}", hex::encode(&self.network[..8]));
        StreamProtocol::try_from_owned(name)
            .map_err(|e| NetError::Setup(format!("protocol name: {e}")))
    }

    /// What identify says; peers that say something else are on another network.
    pub(super) fn protocol_version(&self) -> String {
        format!("assay/1/{}", hex::encode(self.network))
    }

    pub(super) fn topic(&self, topic: Topic) -> gossipsub::IdentTopic {
        let network = hex::encode(self.network);
        gossipsub::IdentTopic::new(format!("/assay/{network}/{}/1", topic.name()))
    }

    pub(super) fn network(&self) -> &[u8; 32] {
        &self.network
    }
}
