//! Nodes for tests. A background task plays the rest of the node: it judges messages, answers
//! requests, and hands everything on.

use std::collections::HashMap;
use std::time::Duration;

use assay_node::net::{self, NetConfig, NetEvent, NetHandle, Topic, Verdict};
use assay_proto::v1;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) const NETWORK: [u8; 32] = [0xa5; 32];
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Far more than anything here takes; only a hanging test meets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the background task saw.
#[derive(Debug)]
pub(crate) enum Seen {
    Message { topic: Topic, source: PeerId, data: Vec<u8> },
    Connected(PeerId),
    Disconnected(PeerId),
}

pub(crate) struct Node {
    pub(crate) handle: NetHandle,
    pub(crate) seen: mpsc::Receiver<Seen>,
    pub(crate) task: JoinHandle<()>,
}

/// A configuration for loopback, with a key made of `seed`.
pub(crate) fn config(seed: u8, listen: &str) -> NetConfig {
    let mut config = NetConfig::new([seed; 32], NETWORK);
    config.listen = vec![listen.parse().unwrap()];
    config.limits.redial_min = Duration::from_millis(100);
    config.limits.redial_max = Duration::from_millis(400);
    config.limits.request_timeout = Duration::from_secs(10);
    config
}

pub(crate) async fn start(config: NetConfig) -> Node {
    start_with_blobs(config, Vec::new()).await
}

/// A node that rejects messages which begin with `bad`, ignores those which begin with `skip`, and
/// serves `blobs`.
pub(crate) async fn start_with_blobs(config: NetConfig, blobs: Vec<Vec<u8>>) -> Node {
    let (handle, mut events, task) = net::start(config).await.unwrap();
    let (sender, seen) = mpsc::channel(4096);
    let blobs: HashMap<[u8; 32], Vec<u8>> =
        blobs.into_iter().map(|blob| (*blake3::hash(&blob).as_bytes(), blob)).collect();
    let reporter = handle.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let seen = match event {
                NetEvent::Message { topic, source, token, data } => {
                    let verdict = match &data[..] {
                        [b'b', b'a', b'd', ..] => Verdict::Reject,
                        [b's', b'k', b'i', b'p', ..] => Verdict::Ignore,
                        _ => Verdict::Accept,
                    };
                    reporter.report(token, verdict).await;
                    Seen::Message { topic, source, data }
                }
                NetEvent::SyncRequest { request, reply, .. } => {
                    // Heights from 1000 on are beyond what this ledger likes to talk about.
                    if request.from < 1000 {
                        let items = vec![v1::LedgerItem::default(); request.max as usize];
                        let _ = reply.send(v1::SyncResponse { head: request.from, items });
                    }
                    continue;
                }
                NetEvent::BlobRequest { hash, reply, .. } => {
                    let _ = reply.send(blobs.get(&hash).cloned());
                    continue;
                }
                NetEvent::Connected(peer) => Seen::Connected(peer),
                NetEvent::Disconnected(peer) => Seen::Disconnected(peer),
                NetEvent::Listening(_) => continue,
            };
            if sender.send(seen).await.is_err() {
                return;
            }
        }
    });
    Node { handle, seen, task }
}

/// Two connected nodes; the first one listens on `listen` and was dialled by the second.
pub(crate) async fn pair(listen: &str) -> (Node, Node) {
    let first = start(config(1, listen)).await;
    let mut second = config(2, listen);
    second.bootstrap = vec![first.address().await];
    let second = start(second).await;
    first.has_peers(1).await;
    second.has_peers(1).await;
    (first, second)
}

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

impl Node {
    pub(crate) fn peer(&self) -> PeerId {
        self.handle.local_peer()
    }

    pub(crate) async fn address(&self) -> Multiaddr {
        self.handle.listen_addresses().await.remove(0)
    }

    pub(crate) async fn has_peers(&self, count: usize) {
        until(&format!("{count} peers"), async || self.handle.peers().await.len() >= count).await;
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> (Topic, PeerId, Vec<u8>) {
        soon("a message", async {
            loop {
                if let Some(Seen::Message { topic, source, data }) = self.seen.recv().await {
                    return (topic, source, data);
                }
            }
        })
        .await
    }

    pub(crate) async fn sees_disconnect(&mut self, of: PeerId) {
        soon("a disconnect", async {
            while !matches!(self.seen.recv().await, Some(Seen::Disconnected(peer)) if peer == of) {}
        })
        .await;
    }

    pub(crate) async fn sees_connect(&mut self, of: PeerId) {
        soon("a connect", async {
            while !matches!(self.seen.recv().await, Some(Seen::Connected(peer)) if peer == of) {}
        })
        .await;
    }

    /// Publishes `data` until `receiver` has it, which shows that gossip works between the two.
    pub(crate) async fn reach(&self, receiver: &mut Node, topic: Topic, data: &[u8]) {
        soon("a first message", async {
            loop {
                self.handle.publish(topic, data.to_vec()).await.unwrap();
                let arrived = async { while receiver.message().await.2 != data {} };
                if tokio::time::timeout(Duration::from_millis(100), arrived).await.is_ok() {
                    return;
                }
            }
        })
        .await;
    }

    /// The data of all messages up to one that equals `end`, which is left out.
    pub(crate) async fn messages_until(&mut self, end: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        loop {
            let (_, _, data) = self.message().await;
            if data == end {
                return messages;
            }
            messages.push(data);
        }
    }
}
