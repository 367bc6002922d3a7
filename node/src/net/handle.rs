//! How the rest of the node talks to the network task.

use std::sync::Arc;

use assay_proto::v1;
use libp2p::{Multiaddr, PeerId, gossipsub};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::codec::{BlobExchange, Exchange, SyncExchange};
use super::config::Topic;
use super::error::NetError;
use super::events::{Counters, NetCounters};
use super::peers::PeerStatus;
use super::penalties::Offence;

/// What happens on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A gossip message that nobody has judged yet. It is neither forwarded nor forgotten before
    /// [`NetHandle::report`] is called with its token; dropping the token ignores the message.
    Message {
        /// The topic.
        topic: Topic,
        /// The connected peer that delivered the message, who need not have written it.
        source: PeerId,
        /// To be handed back with a verdict.
        token: MessageToken,
        /// The message, at most [`Topic::bytes_max`] bytes.
        data: Vec<u8>,
    },
    /// A peer asks for blocks. Dropping `reply` refuses the request. What is longer than the limits
    /// allow is cut off.
    SyncRequest {
        /// Who asks.
        peer: PeerId,
        /// What for.
        request: v1::SyncRequest,
        /// Where the answer goes.
        reply: oneshot::Sender<v1::SyncResponse>,
    },
    /// A peer asks for a blob. Dropping `reply` refuses the request.
    BlobRequest {
        /// Who asks.
        peer: PeerId,
        /// BLAKE3 hash of the blob.
        hash: [u8; 32],
        /// Where the blob goes, or `None` where it is not at hand.
        reply: oneshot::Sender<Option<Vec<u8>>>,
    },
    /// A peer of the same network is connected. Messages and requests of a peer may come before
    /// this event.
    Connected(PeerId),
    /// The last connection to a peer is closed.
    Disconnected(PeerId),
    /// The node listens on this address.
    Listening(Multiaddr),
}

/// Stands for one gossip message that waits for its verdict.
#[derive(Debug)]
pub struct MessageToken {
    pub(super) id: gossipsub::MessageId,
    pub(super) source: PeerId,
    /// The message's share of the bounds on messages that wait; given back when the token is gone.
    pub(super) _places: [OwnedSemaphorePermit; 2],
}

/// What the node thinks of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid; forward it.
    Accept,
    /// Of no use, but no fault of its sender; do not forward it.
    Ignore,
    /// No honest peer sends this; do not forward it, and penalise its sender.
    Reject,
}

impl From<Verdict> for gossipsub::MessageAcceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Ignore => Self::Ignore,
            Verdict::Reject => Self::Reject,
        }
    }
}

/// The answer to a command of the [`NetHandle`].
pub(super) type Reply<T> = oneshot::Sender<Result<T, NetError>>;

/// What the network task is asked to do.
pub(super) enum Command {
    Publish { topic: Topic, data: Vec<u8>, reply: Reply<()> },
    Report { token: MessageToken, verdict: Verdict },
    Sync { peer: PeerId, request: v1::SyncRequest, reply: Reply<v1::SyncResponse> },
    Blob { peer: PeerId, hash: [u8; 32], reply: Reply<Option<Vec<u8>>> },
    Penalise { peer: PeerId, offence: Offence },
    Peers { reply: Reply<Vec<PeerStatus>> },
    Listening { reply: Reply<Vec<Multiaddr>> },
    Stop,
}

/// Talks to the network task. Clones talk to the same one, and it ends with the last of them.
#[derive(Debug, Clone)]
pub struct NetHandle {
    pub(super) peer: PeerId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) counters: Arc<Counters>,
}

impl NetHandle {
    /// Sends `data` to every connected peer on `topic`. Having no peers, or having sent the same
    /// body before, is not an error: gossip promises nothing. A record that was sent before goes
    /// out on [`Topic::RecordAgain`].
    ///
    /// # Errors
    ///
    /// [`NetError::TooLong`], [`NetError::Busy`] when peers read too slowly, [`NetError::Stopped`].
    pub async fn publish(&self, topic: Topic, data: Vec<u8>) -> Result<(), NetError> {
        let (bytes, bytes_max) = (data.len(), topic.bytes_max());
        if bytes > bytes_max {
            return Err(NetError::TooLong { topic, bytes, bytes_max });
        }
        self.ask(|reply| Command::Publish { topic, data, reply }).await
    }

    /// Gives the verdict on a message. Must come within about four seconds of the message, or an
    /// accepted message is not forwarded.
    pub async fn report(&self, token: MessageToken, verdict: Verdict) {
        self.tell(Command::Report { token, verdict }).await;
    }

    /// Asks `peer` for the blob with this BLAKE3 hash. `None` means that the peer does not have it.
    ///
    /// # Errors
    ///
    /// [`NetError::BadAnswer`] when the bytes have another hash or more than
    /// [`assay_proto::limits::BLOB_BYTES_MAX`] bytes, for which the peer is penalised; and what else
    /// keeps a peer from answering.
    pub async fn fetch_blob(
        &self,
        peer: PeerId,
        hash: [u8; 32],
    ) -> Result<Option<Vec<u8>>, NetError> {
        let answer = self.ask(|reply| Command::Blob { peer, hash, reply }).await?;
        self.checked::<BlobExchange>(peer, &hash, answer).await
    }

    /// Asks `peer` for at most `max` final blocks from height `from` on. Their number and sizes are
    /// checked, their content is not.
    ///
    /// # Errors
    ///
    /// [`NetError::BadAnswer`] when the answer is malformed or more than was asked for, for which
    /// the peer is penalised; and what else keeps a peer from answering.
    pub async fn sync(
        &self,
        peer: PeerId,
        from: u64,
        max: u32,
    ) -> Result<v1::SyncResponse, NetError> {
        let request = v1::SyncRequest { from, max };
        let answer = self.ask(|reply| Command::Sync { peer, request, reply }).await?;
        self.checked::<SyncExchange>(peer, &request, answer).await
    }

    /// The connected peers of this network, by peer id. Empty once the network is stopped.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        self.ask(|reply| Command::Peers { reply }).await.unwrap_or_default()
    }

    /// The own peer id.
    pub fn local_peer(&self) -> PeerId {
        self.peer
    }

    /// The addresses that the node listens on. Empty once the network is stopped.
    pub async fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.ask(|reply| Command::Listening { reply }).await.unwrap_or_default()
    }

    /// What was dropped, refused and penalised since the start.
    pub fn counters(&self) -> NetCounters {
        self.counters.read()
    }

    /// Closes all connections, stores the known peers, and returns when the task has ended.
    pub async fn stop(self) {
        self.tell(Command::Stop).await;
        self.commands.closed().await;
    }

    /// Hashing a blob takes a while, so answers are checked in the caller's task.
    async fn checked<E: Exchange>(
        &self,
        peer: PeerId,
        request: &E::Request,
        answer: E::Response,
    ) -> Result<E::Response, NetError> {
        match E::check(request, &answer) {
            Ok(()) => Ok(answer),
            Err(reason) => {
                self.tell(Command::Penalise { peer, offence: Offence::BadAnswer }).await;
                Err(NetError::BadAnswer { peer, reason })
            }
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, NetError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| NetError::Stopped)?;
        answer.await.map_err(|_| NetError::Stopped)?
    }

    async fn tell(&self, command: Command) {
        // A stopped network has nobody left to tell.
        let _ = self.commands.send(command).await;
    }
}
