//! Carries out what the ledger, the ordering engine and the network ask of each other.
//!
//! ```text
//!            records, votes, blocks                 blocks, sync
//!  network ────────────────────────► ledger ◄──────────────────────► ordering
//!     ▲                                 │ effects
//!     └── publish ── sign ◄─────────────┼──────► measure (worker process)
//! ```

use crate::consensus::{self, HostSender, Inbound, Outbound, Topic as OrderingTopic};
use crate::ledger::{Ledger, now_ms};
use crate::net::{NetEvent, NetHandle, Topic, Verdict, key_of_peer};
use crate::rulings::Judge;
use crate::seat::Seat;
use crate::storage::Blobs;
use assay_proto::{limits, v1};
use assay_protocol::ids::{BlobHash, PeerId};
use assay_protocol::membership::Join;
use assay_protocol::peer::{Effect, Heard, Input};
use assay_protocol::randomness::{vrf_keypair, vrf_public};
use assay_protocol::record::Body;
use assay_protocol::wire;
use ed25519_dalek::SigningKey;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often deadlines are looked at.
const CLOCK: Duration = Duration::from_millis(500);
/// Clock beats between two rounds of saying again what was not ordered yet.
const BEATS_PER_REPEAT: u32 = 12;
/// Clock beats between two questions for bodies of posts that are not here.
const BEATS_PER_BODIES: u32 = 4;
/// Bodies that are asked for at a time.
const BODIES_AT_ONCE: usize = 8;
/// How long a peer has to give a body, which is a few KiB.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// Clock beats between two questions for a peer's head.
const BEATS_PER_HEAD: u32 = 20;

/// The parts that the driver connects.
#[derive(Clone)]
pub struct Driver {
    /// State, pool and store.
    pub ledger: Arc<Ledger>,
    /// The network.
    pub net: NetHandle,
    /// The ordering engine.
    pub ordering: HostSender,
    /// Blobs to serve.
    pub blobs: Blobs,
    /// What carries out measurements.
    pub seat: Arc<Seat>,
    /// What carries out judgements.
    pub judge: Arc<Judge>,
    /// This peer's key.
    pub key: SigningKey,
    /// Who is connected.
    pub book: Arc<PeerBook>,
    /// Held while bodies of posts are asked for.
    pub fetching: Arc<tokio::sync::Mutex<()>>,
}

/// The connected peers and the heights that they said they have.
#[derive(Debug, Default)]
pub struct PeerBook(Mutex<BTreeMap<libp2p::PeerId, Option<u64>>>);

impl PeerBook {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<libp2p::PeerId, Option<u64>>> {
        // Every change is one call on the map, so that a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many peers are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.rows().len()
    }

    /// Height that a connected peer last said it has.
    #[must_use]
    pub fn height(&self, peer: &libp2p::PeerId) -> Option<u64> {
        self.rows().get(peer).copied().flatten()
    }

    fn said(&self, peer: &libp2p::PeerId, height: u64) {
        if let Some(row) = self.rows().get_mut(peer) {
            *row = Some(height);
        }
    }
}

impl Driver {
    /// Answers the network until it ends.
    pub async fn serve_network(self, mut events: mpsc::Receiver<NetEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                NetEvent::Message { topic, token, data, .. } => {
                    let verdict = self.judge(topic, data);
                    self.net.report(token, verdict).await;
                }
                NetEvent::SyncRequest { request, reply, .. } => {
                    // A peer that stopped waiting is no concern of ours.
                    let _ = reply.send(self.blocks(&request));
                }
                NetEvent::BlobRequest { hash, reply, .. } => {
                    let (blobs, ledger) = (self.blobs.clone(), Arc::clone(&self.ledger));
                    tokio::task::spawn_blocking(move || {
                        let hash = BlobHash(hash);
                        let post = || ledger.store().post_body(hash).ok().flatten();
                        let _ = reply.send(blobs.get(hash).ok().or_else(post));
                    });
                }
                NetEvent::Connected(peer) => {
                    tracing::info!(%peer, "peer connected");
                    self.book.rows().insert(peer, None);
                    self.ledger.touch();
                    tokio::spawn(self.clone().ask_head(peer));
                }
                NetEvent::Disconnected(peer) => {
                    tracing::info!(%peer, "peer disconnected");
                    self.book.rows().remove(&peer);
                    self.ledger.touch();
                }
                NetEvent::Listening(address) => tracing::info!(%address, "listening"),
            }
        }
    }

    fn judge(&self, topic: Topic, data: Vec<u8>) -> Verdict {
        match topic {
            Topic::Record | Topic::RecordAgain => match self.ledger.hear(&data) {
                Heard::Fresh => Verdict::Accept,
                Heard::Known => Verdict::Ignore,
                Heard::Useless(reason) => {
                    tracing::debug!(%reason, "record of no use");
                    Verdict::Ignore
                }
                Heard::Misbehaviour(reason) => {
                    tracing::warn!(%reason, "refused a record");
                    Verdict::Reject
                }
            },
            Topic::Consensus => self.judge_ordering(OrderingTopic::Consensus, data),
            Topic::Liveness => self.judge_ordering(OrderingTopic::Liveness, data),
            Topic::Body => self.judge_ordering(OrderingTopic::Body, data),
        }
    }

    fn judge_ordering(&self, topic: OrderingTopic, data: Vec<u8>) -> Verdict {
        if let Err(reason) = consensus::check_form(topic, &data) {
            tracing::warn!(%reason, "refused an ordering message");
            return Verdict::Reject;
        }
        let inbound = match topic {
            OrderingTopic::Consensus | OrderingTopic::Liveness => Inbound::Consensus(data),
            OrderingTopic::Body => Inbound::Body(data),
        };
        // A full queue drops the message; validators repeat themselves.
        let _ = self.ordering.try_deliver(inbound);
        Verdict::Accept
    }

    /// Blocks for a peer that is behind, as many as fit one answer.
    fn blocks(&self, request: &v1::SyncRequest) -> v1::SyncResponse {
        let head = self.ledger.with(|peer| peer.state().height());
        let wanted = usize::try_from(request.max).unwrap_or(usize::MAX).min(limits::SYNC_ITEMS_MAX);
        let mut items = Vec::new();
        let mut bytes = 0;
        for height in (request.from.max(1)..=head).take(wanted) {
            match self.ledger.store().item(height) {
                Ok(Some(item)) => {
                    bytes += item.encoded_len() + 8;
                    if bytes > limits::SYNC_BYTES_MAX - 64 && !items.is_empty() {
                        break;
                    }
                    items.push(item);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, height, "cannot serve a block");
                    break;
                }
            }
        }
        v1::SyncResponse { head, items }
    }

    async fn ask_head(self, peer: libp2p::PeerId) {
        let next = self.ledger.with(|peer| peer.state().height() + 1);
        match self.net.sync(peer, next, 1).await {
            Ok(answer) => {
                self.book.said(&peer, answer.head);
                let _ = self.ordering.deliver(Inbound::PeerHead { height: answer.head }).await;
            }
            Err(error) => tracing::debug!(%error, "a peer did not tell its head"),
        }
    }

    /// Carries out what the ordering engine asks for, until it ends.
    pub async fn serve_ordering(self, mut outbound: mpsc::Receiver<Outbound>) {
        while let Some(request) = outbound.recv().await {
            match request {
                Outbound::Publish(topic, data) => {
                    let topic = match topic {
                        OrderingTopic::Consensus => Topic::Consensus,
                        OrderingTopic::Liveness => Topic::Liveness,
                        OrderingTopic::Body => Topic::Body,
                    };
                    if let Err(error) = self.net.publish(topic, data).await {
                        tracing::debug!(%error, "an ordering message was not sent");
                    }
                }
                Outbound::RequestSync { from } => {
                    tokio::spawn(self.clone().sync(from));
                }
                Outbound::Decided { height } => tracing::info!(height, "block decided"),
                Outbound::SyncRejected { from, height, reason } => {
                    tracing::warn!(peer = %from.short(), height, reason, "peer sent a false block");
                }
                Outbound::Misbehaviour(evidence) => {
                    let validator = evidence.validator;
                    let height = evidence.height;
                    tracing::warn!(%validator, height, "validator signed two messages for one slot");
                    if let Some(proof) = evidence.proof() {
                        let network = self.ledger.with(|peer| peer.network());
                        let body = Body::DoubleVote(Box::new(proof));
                        let record = wire::sign(network, &self.key, body);
                        self.ledger.step(Input::Own(Box::new(record)));
                    }
                }
            }
        }
    }

    /// Asks the connected peers in turn for bodies of posts that were learnt from blocks.
    async fn fetch_bodies(self) {
        // One at a time: a question that takes long is not asked again beside itself.
        let Ok(_turn) = self.fetching.try_lock() else { return };
        let missing = self.ledger.board().missing(BODIES_AT_ONCE);
        if missing.is_empty() {
            return;
        }
        let mut peers = self.net.peers().await;
        for hash in missing {
            // It may have come by gossip after its block was ordered.
            if let Some(bytes) = self.ledger.post_body(hash) {
                self.ledger.take_post_body(hash, &bytes);
                continue;
            }
            for status in &peers {
                // The network checks that the bytes have this hash.
                let answer = self.net.fetch_blob(status.peer, hash.0);
                if let Ok(Ok(Some(bytes))) = timeout(BODY_WITHIN, answer).await {
                    self.ledger.take_post_body(hash, &bytes);
                    break;
                }
            }
            // One that does not answer does not hold up every body.
            if !peers.is_empty() {
                peers.rotate_left(1);
            }
        }
    }

    /// Asks the connected peers in turn for blocks, until one has some.
    async fn sync(self, from: u64) {
        let mut peers = self.net.peers().await;
        if !peers.is_empty() {
            // Not always the same one first.
            let start = usize::try_from(now_ms()).unwrap_or(0) % peers.len();
            peers.rotate_left(start);
        }
        let max = u32::try_from(limits::SYNC_ITEMS_MAX).unwrap_or(u32::MAX);
        for status in peers {
            let Ok(response) = self.net.sync(status.peer, from, max).await else { continue };
            if response.items.is_empty() {
                continue;
            }
            let Some(from) = key_of_peer(&status.peer).map(PeerId) else { continue };
            let _ = self.ordering.deliver(Inbound::Synced { from, response }).await;
            return;
        }
    }

    /// Carries out the ledger's effects, in their order, for ever.
    ///
    /// # Errors
    ///
    /// When a secret cannot be stored: a seal whose measurement may be lost must not be sent.
    pub async fn serve_effects(self) -> Result<(), crate::storage::StoreError> {
        loop {
            for effect in self.ledger.effects().await {
                self.carry_out(effect).await?;
            }
        }
    }

    async fn carry_out(&self, effect: Effect) -> Result<(), crate::storage::StoreError> {
        let store = self.ledger.store();
        match effect {
            Effect::Keep(secret) => store.put_secret(&secret)?,
            // The ledger kept it before it queued the other effects.
            Effect::KeepPost(_) => {}
            Effect::Forget(claim) => store.forget_result(claim)?,
            Effect::Sign(body) => {
                let network = self.ledger.with(|peer| peer.network());
                let record = wire::sign(network, &self.key, *body);
                self.ledger.step(Input::Own(Box::new(record)));
            }
            Effect::Join(vouch) => {
                let vrf = vrf_public(&vrf_keypair(&self.key.to_bytes()));
                let network = self.ledger.with(|peer| peer.network());
                let record = wire::sign(network, &self.key, Body::Join(Join { vouch, vrf }));
                tracing::info!(vouch = %vouch.short(), "a member vouches for this node; joining");
                self.ledger.step(Input::Own(Box::new(record)));
            }
            Effect::Publish(record) => {
                if let Err(error) = self.net.publish(Topic::Record, record.to_gossip()).await {
                    tracing::debug!(%error, "a record was not sent; it will be sent again");
                }
            }
            Effect::Measure(plan) => {
                let seat = Arc::clone(&self.seat);
                tokio::spawn(async move { seat.measure(*plan).await });
            }
            Effect::Judge(case) => {
                let judge = Arc::clone(&self.judge);
                tokio::spawn(async move { judge.judge(*case).await });
            }
            Effect::Order => {
                let _ = self.ordering.try_deliver(Inbound::Wake);
            }
            Effect::Settled(round) => {
                store.forget_measurement(round)?;
                let outcome = self.ledger.with(|peer| peer.state().round(round)?.1.outcome());
                tracing::info!(%round, ?outcome, "round settled");
            }
        }
        Ok(())
    }

    /// Watches deadlines, says again what was not ordered, and looks whether peers are ahead.
    pub async fn serve_clock(self) {
        let mut clock = interval(CLOCK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat: u32 = 0;
        loop {
            clock.tick().await;
            beat = beat.wrapping_add(1);
            if beat % BEATS_PER_REPEAT == 1 {
                self.ledger.step(Input::Tick);
            }
            if beat % BEATS_PER_BODIES == 1 {
                tokio::spawn(self.clone().fetch_bodies());
            }
            if beat % BEATS_PER_HEAD == 1 {
                let peers = self.net.peers().await;
                let index = usize::try_from(beat / BEATS_PER_HEAD).unwrap_or(0);
                if let Some(status) = peers.get(index.checked_rem(peers.len()).unwrap_or(0)) {
                    tokio::spawn(self.clone().ask_head(status.peer));
                }
            }
            if self.ledger.with(|peer| peer.has_work(now_ms())) {
                let _ = self.ordering.try_deliver(Inbound::Wake);
            }
        }
    }
}
