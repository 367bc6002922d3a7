//! The task that owns the swarm.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError, TopicHash};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, mdns};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::behaviour::{Behaviour, BehaviourEvent};
use super::cache::PeerCache;
use super::codec::{BlobExchange, SyncExchange};
use super::config::{Names, NetConfig, Topic};
use super::dialer::Dialer;
use super::error::NetError;
use super::events::{Counters, Events};
use super::handle::{Command, MessageToken, NetEvent, Reply, Verdict};
use super::peers::{Direction, Peers, usable_addresses};
use super::penalties::{Offence, Penalties};
use super::requests::Requests;
use super::scoring;

/// How often the task looks after dialling, blocks and scores.
const TICK: Duration = Duration::from_millis(250);
/// Ticks between two writes of the peer cache: five minutes.
const TICKS_PER_SAVE: u64 = 1200;
/// How long a starting node waits until it knows its own addresses.
const LISTEN_WITHIN: Duration = Duration::from_secs(2);
/// How long a stopping node waits for its connections to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The network task.
pub(super) struct NetTask {
    swarm: Swarm<Behaviour>,
    protocol_version: String,
    topics: HashMap<TopicHash, Topic>,
    topic_hashes: HashMap<Topic, TopicHash>,
    peers_target: usize,
    commands: mpsc::Receiver<Command>,
    events: Events,
    sync: Requests<SyncExchange>,
    blob: Requests<BlobExchange>,
    peers: Peers,
    penalties: Penalties,
    dialer: Dialer,
    cache: Option<PeerCache>,
    ticks: u64,
}

impl NetTask {
    pub(super) fn new(
        config: NetConfig,
        names: &Names,
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        events: Events,
    ) -> Self {
        let limits = &config.limits;
        let mut dialer = Dialer::new(swarm.local_peer_id(), limits.redial_min, limits.redial_max);
        for address in config.bootstrap {
            dialer.add(address, true);
        }
        let cache = config.peer_cache.map(PeerCache::load);
        for address in cache.iter().flat_map(PeerCache::addresses) {
            dialer.add(address.clone(), false);
        }
        let topic_hashes: HashMap<Topic, TopicHash> =
            Topic::ALL.into_iter().map(|topic| (topic, names.topic(topic).hash())).collect();
        Self {
            swarm,
            protocol_version: names.protocol_version(),
            topics: topic_hashes.iter().map(|(topic, hash)| (hash.clone(), *topic)).collect(),
            topic_hashes,
            peers_target: limits.peers_target as usize,
            commands,
            events,
            sync: Requests::new(limits),
            blob: Requests::new(limits),
            peers: Peers::new(limits.messages_per_peer),
            penalties: Penalties::new(limits.offences, limits.block),
            dialer,
            cache,
            ticks: 0,
        }
    }

    /// Waits until every listener has an address, so that a started node can be dialled.
    pub(super) async fn listen(&mut self, mut listeners: HashSet<ListenerId>) {
        let listening = async {
            while !listeners.is_empty() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                    listeners.remove(listener_id);
                }
                self.on_event(event);
            }
        };
        if tokio::time::timeout(LISTEN_WITHIN, listening).await.is_err() {
            tracing::warn!("not every listen address is ready; is the network interface up?");
        }
    }

    /// Runs until it is told to stop or the last handle is gone.
    pub(super) async fn run(mut self: Box<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.on_command(command),
                },
                answer = self.sync.next_answer() => {
                    Requests::answer(&mut self.swarm.behaviour_mut().sync, answer);
                }
                answer = self.blob.next_answer() => {
                    Requests::answer(&mut self.swarm.behaviour_mut().blob, answer);
                }
                _ = tick.tick() => self.on_tick(Instant::now()),
            }
        }
        self.close().await;
    }

    async fn close(&mut self) {
        if let Some(save) = self.cache.as_mut().and_then(PeerCache::save) {
            save();
        }
        for peer in self.peers.ids() {
            // An error means that the connection is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(CLOSE_WITHIN, closed).await.is_err() {
            tracing::debug!("connections still open at the end are dropped");
        }
    }

    fn on_command(&mut self, command: Command) {
        // A caller that has given up does not read its reply.
        match command {
            Command::Publish { topic, data, reply } => {
                let _ = reply.send(self.publish(topic, data));
            }
            Command::Report { token, verdict } => self.on_verdict(token, verdict),
            Command::Sync { peer, request, reply } => {
                let protocol = &mut self.swarm.behaviour_mut().sync;
                self.sync.ask(protocol, peer, request, reply);
            }
            Command::Blob { peer, hash, reply } => {
                let protocol = &mut self.swarm.behaviour_mut().blob;
                self.blob.ask(protocol, peer, hash, reply);
            }
            Command::Penalise { peer, offence } => self.penalise(peer, offence),
            Command::Peers { reply } => {
                let gossip = &self.swarm.behaviour().gossip;
                let _ = reply.send(Ok(self.peers.status(|peer| gossip.peer_score(peer))));
            }
            Command::Listening { reply } => self.listening(reply),
            // Handled by the loop.
            Command::Stop => {}
        }
    }

    fn listening(&self, reply: Reply<Vec<Multiaddr>>) {
        let _ = reply.send(Ok(self.swarm.listeners().cloned().collect()));
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>) -> Result<(), NetError> {
        let hash = self.topic_hashes[&topic].clone();
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let mut sent = gossip.publish(hash, data.clone());
        if topic == Topic::Record && matches!(sent, Err(PublishError::Duplicate)) {
            let again = self.topic_hashes[&Topic::RecordAgain].clone();
            sent = gossip.publish(again, data);
        }
        match sent {
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => Ok(()),
            Err(PublishError::AllQueuesFull(_)) => {
                Err(NetError::Busy("every peer's queue is full"))
            }
            Err(e) => Err(NetError::Setup(e.to_string())),
        }
    }

    fn on_verdict(&mut self, token: MessageToken, verdict: Verdict) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&token.id, &token.source, verdict.into());
        if verdict == Verdict::Reject {
            self.penalise(token.source, Offence::RejectedMessage);
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let (address, direction) = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => (address, Direction::Outbound),
                    ConnectedPoint::Listener { send_back_addr, .. } => {
                        (send_back_addr, Direction::Inbound)
                    }
                };
                self.dialer.connected(connection_id, peer_id, now);
                self.peers.connected(peer_id, address, direction);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.dialer.disconnected(&peer_id, now);
                if self.peers.disconnected(&peer_id) {
                    self.events.notify(NetEvent::Disconnected(peer_id));
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error, now);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.events.notify(NetEvent::Listening(address));
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(e), .. } => {
                tracing::error!(?addresses, "no longer listening: {e}; restart the node");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => self.on_gossip(propagation_source, message_id, message),
            BehaviourEvent::Sync(event) => {
                let protocol = &mut self.swarm.behaviour_mut().sync;
                if let Some((peer, offence)) = self.sync.on_event(protocol, &self.events, event) {
                    self.penalise(peer, offence);
                }
            }
            BehaviourEvent::Blob(event) => {
                let protocol = &mut self.swarm.behaviour_mut().blob;
                if let Some((peer, offence)) = self.blob.on_event(protocol, &self.events, event) {
                    self.penalise(peer, offence);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Ping(event) => {
                if let Ok(rtt) = event.result {
                    self.peers.set_rtt(&event.peer, rtt);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            _ => {}
        }
    }

    fn on_gossip(&mut self, source: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let topic = self.topics.get(&message.topic).copied();
        let oversize = topic.is_some_and(|topic| message.data.len() > topic.bytes_max());
        let acceptance = match (topic, self.peers.places(&source)) {
            _ if oversize => MessageAcceptance::Reject,
            (Some(topic), Some(places)) => {
                let id = id.clone();
                if self.events.offer_message(topic, source, id, message.data, places) {
                    return;
                }
                MessageAcceptance::Ignore
            }
            _ => MessageAcceptance::Ignore,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id, &source, acceptance);
        if oversize {
            self.penalise(source, Offence::OversizeMessage);
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        if info.protocol_version != self.protocol_version {
            tracing::info!(%peer, "disconnected a peer of another network");
            self.block(peer);
            return;
        }
        let addresses = usable_addresses(info.listen_addrs, self.peers.address(&peer));
        for address in &addresses {
            self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
        }
        if self.peers.identified(&peer, &info.agent_version) {
            self.events.notify(NetEvent::Connected(peer));
            if let (Some(cache), Some(address)) = (&mut self.cache, addresses.into_iter().next())
                && let Ok(address) = address.with_p2p(peer)
            {
                cache.confirm(address);
            }
        }
    }

    fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found {
            if self.peers.len() >= self.peers_target {
                return;
            }
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![address])
                .build();
            if let Err(e) = self.swarm.dial(dial) {
                tracing::debug!(%peer, "peer on the local network is not dialled: {e}");
            }
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.ticks += 1;
        self.events.flush();
        for peer in self.penalties.expire(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        let listening: HashSet<PeerId> = {
            let peers = self.swarm.behaviour().gossip.all_peers();
            peers.filter(|(_, topics)| !topics.is_empty()).map(|(peer, _)| *peer).collect()
        };
        for peer in self.peers.mute(now, |peer| listening.contains(peer)) {
            tracing::info!(%peer, "disconnected a peer that does not say what it listens to");
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        for peer in self.peers.ids() {
            let score = self.swarm.behaviour().gossip.peer_score(&peer);
            if score.is_some_and(|score| score < scoring::GRAYLIST) {
                tracing::info!(%peer, score, "blocked for its gossip score");
                self.block(peer);
            }
        }
        self.dial_due(now);
        if self.ticks.is_multiple_of(TICKS_PER_SAVE)
            && let Some(save) = self.cache.as_mut().and_then(PeerCache::save)
        {
            tokio::task::spawn_blocking(save);
        }
    }

    fn dial_due(&mut self, now: Instant) {
        let swarm = &self.swarm;
        for address in self.dialer.due(now, |peer| swarm.is_connected(peer)) {
            let dial = match address.iter().last() {
                Some(Protocol::P2p(peer)) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(vec![address.clone()])
                    .build(),
                _ => DialOpts::unknown_peer_id().address(address.clone()).build(),
            };
            let connection = dial.connection_id();
            self.dialer.dialling(&address, connection);
            match self.swarm.dial(dial) {
                Ok(()) => {}
                Err(e) => self.on_dial_failed(connection, &e, now),
            }
        }
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: &DialError, now: Instant) {
        if matches!(error, DialError::LocalPeerId { .. }) {
            self.dialer.forget(connection);
            return;
        }
        if let Some(address) = self.dialer.failed(connection, now)
            // Another attempt to reach the same peer is under way.
            && !matches!(error, DialError::DialPeerConditionFalse(_))
        {
            tracing::info!(%address, "not reachable, will be tried again: {error}");
        }
    }

    fn penalise(&mut self, peer: PeerId, offence: Offence) {
        let offences = self.penalties.count(peer, Instant::now());
        Counters::add_one(&self.events.counters.offences);
        tracing::debug!(%peer, ?offence, offences, "offence");
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.set_application_score(&peer, -scoring::OFFENCE_POINTS * offences);
        if self.penalties.deserves_block(offences) {
            tracing::info!(%peer, ?offence, "blocked for repeated offences");
            self.block(peer);
        }
    }

    fn block(&mut self, peer: PeerId) {
        let blocked = &mut self.swarm.behaviour_mut().blocked;
        if let Some(unblocked) = self.penalties.block(peer, Instant::now()) {
            blocked.unblock_peer(unblocked);
        }
        // Closes the peer's connections.
        if blocked.block_peer(peer) {
            Counters::add_one(&self.events.counters.peers_blocked);
        }
    }
}
