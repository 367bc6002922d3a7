//! The connected peers and what is known of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use serde::Serialize;
use tokio::sync::Semaphore;

/// A peer that has not said by then which network it is on is disconnected.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(15);
/// A peer that has not said by then what it listens to is disconnected. A peer says so once, on what it
/// takes for the first connection: one that still holds a dead connection to this node, from before a
/// crash, says nothing on the next, and would never be sent a message.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(5);
/// Characters kept of what a peer calls its software.
const AGENT_CHARS_MAX: usize = 64;
/// Addresses kept of those that a peer names as its own.
const ADDRESSES_MAX: usize = 8;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The peer dialled this node.
    Inbound,
    /// This node dialled the peer.
    Outbound,
}

/// A connected peer, for people to look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Its peer id; base 58 in text.
    #[serde(serialize_with = "as_text")]
    pub peer: PeerId,
    /// Address of the connection.
    pub address: String,
    /// What the peer calls its software; not to be trusted.
    pub agent: String,
    /// Round-trip time of the last ping, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Gossip score; below zero the peer has misbehaved.
    pub score: Option<f64>,
    /// Who opened the connection.
    pub direction: Direction,
    /// When the first of the present connections was opened, in seconds of Unix time.
    pub connected_since_unix_s: u64,
}

fn as_text<S: serde::Serializer>(peer: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(peer)
}

#[derive(Debug)]
struct Peer {
    address: Multiaddr,
    direction: Direction,
    connected_at: Instant,
    connected_since_unix_s: u64,
    /// What the peer calls its software, known once it has proved to be on this network.
    agent: Option<String>,
    rtt: Option<Duration>,
    places: Arc<Semaphore>,
}

/// The connected peers.
#[derive(Debug)]
pub(super) struct Peers {
    messages_per_peer: usize,
    peers: HashMap<PeerId, Peer>,
}

impl Peers {
    pub(super) fn new(messages_per_peer: usize) -> Self {
        Self { messages_per_peer, peers: HashMap::new() }
    }

    pub(super) fn connected(&mut self, peer: PeerId, address: Multiaddr, direction: Direction) {
        let places = self.messages_per_peer;
        self.peers.entry(peer).or_insert_with(|| Peer {
            address,
            direction,
            connected_at: Instant::now(),
            connected_since_unix_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            agent: None,
            rtt: None,
            places: Arc::new(Semaphore::new(places)),
        });
    }

    /// Returns whether the peer had proved to be on this network.
    pub(super) fn disconnected(&mut self, peer: &PeerId) -> bool {
        self.peers.remove(peer).is_some_and(|peer| peer.agent.is_some())
    }

    /// Notes that the peer is on this network. Returns whether that is news.
    pub(super) fn identified(&mut self, peer: &PeerId, agent: &str) -> bool {
        let Some(peer) = self.peers.get_mut(peer) else { return false };
        peer.agent.replace(printable(agent)).is_none()
    }

    pub(super) fn set_rtt(&mut self, peer: &PeerId, rtt: Duration) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.rtt = Some(rtt);
        }
    }

    /// The places for the peer's messages that wait for a verdict.
    pub(super) fn places(&self, peer: &PeerId) -> Option<&Arc<Semaphore>> {
        self.peers.get(peer).map(|peer| &peer.places)
    }

    pub(super) fn address(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.peers.get(peer).map(|peer| &peer.address)
    }

    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Peers that did not say in time which network they are on, or what they listen to.
    pub(super) fn mute(&self, now: Instant, listens: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let late = |(id, peer): &(&PeerId, &Peer)| {
            let connected = now.duration_since(peer.connected_at);
            match peer.agent {
                None => connected > IDENTIFY_WITHIN,
                Some(_) => connected > SUBSCRIBE_WITHIN && !listens(id),
            }
        };
        self.peers.iter().filter(late).map(|(id, _)| *id).collect()
    }

    /// The peers of this network, by peer id.
    pub(super) fn status(&self, score: impl Fn(&PeerId) -> Option<f64>) -> Vec<PeerStatus> {
        let mut status: Vec<PeerStatus> = self
            .peers
            .iter()
            .filter_map(|(id, peer)| {
                Some(PeerStatus {
                    peer: *id,
                    address: peer.address.to_string(),
                    agent: peer.agent.clone()?,
                    rtt_ms: peer.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
                    score: score(id),
                    direction: peer.direction,
                    connected_since_unix_s: peer.connected_since_unix_s,
                })
            })
            .collect();
        status.sort_by_key(|row| row.peer);
        status
    }
}

/// Keeps a peer's text from moving the cursor or filling the screen.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(AGENT_CHARS_MAX).collect()
}

/// Those of a peer's own addresses that may be worth dialling. A peer reached over loopback may
/// name loopback addresses; from anybody else they would point back at this machine.
pub(super) fn usable_addresses(
    claimed: Vec<Multiaddr>,
    connection: Option<&Multiaddr>,
) -> Vec<Multiaddr> {
    let on_loopback = connection.is_some_and(is_loopback);
    claimed
        .into_iter()
        .filter(|address| match address.iter().next() {
            Some(Protocol::Ip4(ip)) => {
                !ip.is_unspecified()
                    && !ip.is_multicast()
                    && !ip.is_broadcast()
                    && (on_loopback || !ip.is_loopback())
            }
            Some(Protocol::Ip6(ip)) => {
                !ip.is_unspecified() && !ip.is_multicast() && (on_loopback || !ip.is_loopback())
            }
            _ => false,
        })
        .take(ADDRESSES_MAX)
        .collect()
}

fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_and_addresses_are_cut_down() {
        assert_eq!(printable("ok 1\x1b[2J\n\u{202e}"), "ok 1[2J");
        assert_eq!(printable(&"x".repeat(1000)).len(), AGENT_CHARS_MAX);

        let claimed: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/dns4/example.org/tcp/1",
            "/ip4/192.0.2.1/tcp/1",
        ]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
        let remote: Multiaddr = "/ip4/198.51.100.1/tcp/9".parse().unwrap();
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        assert_eq!(usable_addresses(claimed.clone(), Some(&remote)).len(), 1);
        assert_eq!(usable_addresses(claimed.clone(), Some(&local)).len(), 3);
        assert_eq!(usable_addresses(claimed, None).len(), 1);
        assert_eq!(usable_addresses(vec![remote; 100], None).len(), ADDRESSES_MAX);
    }
}
