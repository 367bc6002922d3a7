//! The bounded way from the network task to the rest of the node.
//!
//! The task never waits for its listener. Gossip that finds no place is ignored, requests are
//! refused, and both are counted. One peer may hold only a share of the places, so that a flood
//! costs its sender's messages and nobody else's. Connections that open and close are not lost: they
//! wait in a backlog.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libp2p::PeerId;
use libp2p::gossipsub::MessageId;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::config::{NetLimits, Topic};
use super::handle::{MessageToken, NetEvent};

/// Connection events that may wait for a place in the channel.
const BACKLOG_MAX: usize = 1024;

/// What the network dropped, refused and penalised since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NetCounters {
    /// Gossip messages ignored because too many waited for a verdict.
    pub messages_dropped: u64,
    /// Requests of peers refused because too many were in service.
    pub requests_refused: u64,
    /// Offences counted against peers.
    pub offences: u64,
    /// Peers disconnected and blocked.
    pub peers_blocked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages_dropped: AtomicU64,
    pub(super) requests_refused: AtomicU64,
    pub(super) offences: AtomicU64,
    pub(super) peers_blocked: AtomicU64,
}

impl Counters {
    pub(super) fn add_one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> NetCounters {
        NetCounters {
            messages_dropped: self.messages_dropped.load(Ordering::Relaxed),
            requests_refused: self.requests_refused.load(Ordering::Relaxed),
            offences: self.offences.load(Ordering::Relaxed),
            peers_blocked: self.peers_blocked.load(Ordering::Relaxed),
        }
    }
}

/// The sending side of the node's event channel.
pub(super) struct Events {
    sender: mpsc::Sender<NetEvent>,
    /// Places that gossip leaves free, so that requests and connections get through a flood.
    reserved: usize,
    bytes: Arc<Semaphore>,
    backlog: VecDeque<NetEvent>,
    pub(super) counters: Arc<Counters>,
}

impl Events {
    pub(super) fn new(limits: &NetLimits) -> (Self, mpsc::Receiver<NetEvent>) {
        let capacity = limits.events.max(4);
        let (sender, receiver) = mpsc::channel(capacity);
        let events = Self {
            sender,
            reserved: capacity / 4,
            bytes: Arc::new(Semaphore::new(limits.message_bytes)),
            backlog: VecDeque::new(),
            counters: Arc::default(),
        };
        (events, receiver)
    }

    /// Offers a gossip message; `peer_places` are those of its source. Returns whether it was taken.
    pub(super) fn offer_message(
        &self,
        topic: Topic,
        source: PeerId,
        id: MessageId,
        data: Vec<u8>,
        peer_places: &Arc<Semaphore>,
    ) -> bool {
        let taken = self.sender.capacity() > self.reserved
            && self.places(data.len(), peer_places).is_some_and(|places| {
                let token = MessageToken { id, source, _places: places };
                self.sender.try_send(NetEvent::Message { topic, source, token, data }).is_ok()
            });
        if !taken {
            Counters::add_one(&self.counters.messages_dropped);
        }
        taken
    }

    fn places(
        &self,
        bytes: usize,
        peer_places: &Arc<Semaphore>,
    ) -> Option<[OwnedSemaphorePermit; 2]> {
        let bytes = u32::try_from(bytes).ok()?;
        let place = Arc::clone(peer_places).try_acquire_owned().ok()?;
        let share = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some([place, share])
    }

    /// Offers a peer's request. Returns whether it was taken.
    pub(super) fn offer_request(&self, request: NetEvent) -> bool {
        self.sender.try_send(request).is_ok()
    }

    /// Reports a connection or a listen address, in order and without loss up to the backlog's size.
    pub(super) fn notify(&mut self, event: NetEvent) {
        if self.backlog.len() >= BACKLOG_MAX {
            tracing::warn!("the node does not read network events; the oldest one is dropped");
            self.backlog.pop_front();
        }
        self.backlog.push_back(event);
        self.flush();
    }

    /// Moves the backlog into the channel as far as there is room.
    pub(super) fn flush(&mut self) {
        while !self.backlog.is_empty() {
            let Ok(place) = self.sender.try_reserve() else { return };
            if let Some(event) = self.backlog.pop_front() {
                place.send(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(events: &Events, places: &Arc<Semaphore>, bytes: usize) -> bool {
        let id = MessageId::new(b"id");
        events.offer_message(Topic::Record, PeerId::random(), id, vec![0; bytes], places)
    }

    #[test]
    fn one_peer_cannot_take_the_places_of_another() {
        let limits = NetLimits { events: 16, message_bytes: 1000, ..NetLimits::default() };
        let (events, _receiver) = Events::new(&limits);
        let (loud, quiet) = (Arc::new(Semaphore::new(4)), Arc::new(Semaphore::new(4)));
        assert_eq!((0..100).filter(|_| offer(&events, &loud, 10)).count(), 4);
        assert!(offer(&events, &quiet, 10));
        assert_eq!(events.counters.read().messages_dropped, 96);
    }

    #[tokio::test]
    async fn places_are_given_back_with_the_token() {
        let limits = NetLimits { events: 16, message_bytes: 100, ..NetLimits::default() };
        let (events, mut receiver) = Events::new(&limits);
        let places = Arc::new(Semaphore::new(4));
        assert!(offer(&events, &places, 100));
        assert!(!offer(&events, &places, 1));
        drop(receiver.recv().await);
        assert!(offer(&events, &places, 100));
    }

    #[tokio::test]
    async fn requests_and_connections_get_through_a_flood() {
        let limits = NetLimits { events: 16, ..NetLimits::default() };
        let (mut events, mut receiver) = Events::new(&limits);
        let places = Arc::new(Semaphore::new(100));
        assert_eq!((0..100).filter(|_| offer(&events, &places, 1)).count(), 12);
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let peer = PeerId::random();
        assert!(events.offer_request(NetEvent::BlobRequest { peer, hash: [0; 32], reply }));

        for _ in 0..10 {
            events.notify(NetEvent::Connected(peer));
        }
        let mut connected = 0;
        while let Ok(event) = receiver.try_recv() {
            connected += usize::from(matches!(event, NetEvent::Connected(_)));
            events.flush();
        }
        assert_eq!(connected, 10);
    }
}
