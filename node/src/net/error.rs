//! Errors of the network layer.

use libp2p::{Multiaddr, PeerId};

use super::config::Topic;

/// Why the network could not be started or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Another process listens there.
    #[error(
        "{address} is already in use: stop the process that holds the port (perhaps this node is \
         already running) or choose another listen address; port 0 lets the system choose"
    )]
    AddressInUse {
        /// The address asked for.
        address: Multiaddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {reason}; use an address of this machine such as \
         /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1"
    )]
    Listen {
        /// The address asked for.
        address: Multiaddr,
        /// What the system said.
        reason: String,
    },
    /// 32 bytes that are not an Ed25519 key.
    #[error("not an Ed25519 key: {0}")]
    Key(String),
    /// The transports or behaviours refused their configuration.
    #[error("the network cannot be set up: {0}")]
    Setup(String),
    /// The message is longer than its topic allows; nothing was sent.
    #[error("a {} message has {bytes} bytes, at most {bytes_max} are allowed", topic.name())]
    TooLong {
        /// Topic of the message.
        topic: Topic,
        /// Bytes of its data.
        bytes: usize,
        /// Most that the topic allows.
        bytes_max: usize,
    },
    /// Own queues are full.
    #[error("the network is busy ({0}); try again")]
    Busy(&'static str),
    /// The peer is not connected and cannot be dialled.
    #[error("peer {peer} cannot be reached; ask another peer")]
    Unreachable {
        /// The peer asked.
        peer: PeerId,
    },
    /// The peer did not answer: it is busy, does not speak the protocol or closed the connection.
    #[error("peer {peer} did not answer: {reason}; ask another peer")]
    Refused {
        /// The peer asked.
        peer: PeerId,
        /// What happened.
        reason: String,
    },
    /// The peer's answer took too long.
    #[error("peer {peer} did not answer in time; ask another peer")]
    Timeout {
        /// The peer asked.
        peer: PeerId,
    },
    /// The peer answered with something that cannot be right, and was penalised.
    #[error("peer {peer} sent a bad answer: {reason}; ask another peer")]
    BadAnswer {
        /// The peer asked.
        peer: PeerId,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The network task has ended.
    #[error("the network is stopped")]
    Stopped,
}
