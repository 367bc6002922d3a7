//! The swarm: transports, protocols and their settings.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use assay_proto::limits::BLOCK_BYTES_MAX;
use libp2p::gossipsub::{self, MaxCountSubscriptionFilter, WhitelistSubscriptionFilter};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, Swarm, SwarmBuilder, allow_block_list, connection_limits, identify, kad, mdns, noise,
    ping, request_response, tcp, yamux,
};

use super::codec::{BlobExchange, Exchange, FrameCodec, SyncExchange};
use super::config::{Names, NetConfig, NetLimits, Topic};
use super::error::NetError;
use super::scoring;

/// Room in a gossip frame beside a message's data: source, sequence number, signature, topic, and
/// what the codec may have buffered of the next frame.
const GOSSIP_ENVELOPE_BYTES: usize = 64 * 1024;
/// How long gossip messages are remembered as seen; two Ethereum epochs.
const SEEN_FOR: Duration = Duration::from_secs(768);
/// Messages that may wait to be sent to one peer.
const GOSSIP_QUEUE: usize = 256;
/// Bytes of a gossip message id.
const MESSAGE_ID_BYTES: usize = 20;
/// Connections that are being negotiated, inbound and outbound.
const PENDING_MAX: u32 = 16;
/// Two peers that dial each other at once have two connections for a moment; with a limit of one
/// each side could refuse the connection that the other one keeps.
const CONNECTIONS_PER_PEER: u32 = 2;
/// A connection that no protocol uses is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The protocols that a node speaks.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) sync: request_response::Behaviour<FrameCodec<SyncExchange>>,
    pub(super) blob: request_response::Behaviour<FrameCodec<BlobExchange>>,
    pub(super) identify: identify::Behaviour,
    pub(super) kad: kad::Behaviour<kad::store::MemoryStore>,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
}

type Gossip = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>,
>;

/// Builds the swarm. It neither listens nor dials yet.
pub(super) fn swarm(
    config: &NetConfig,
    names: &Names,
    keypair: Keypair,
) -> Result<Swarm<Behaviour>, NetError> {
    let behaviour = behaviour(config, names, &keypair)?;
    let setup = |reason: &dyn std::fmt::Display| NetError::Setup(reason.to_string());
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|e| setup(&e))?
        .with_quic()
        .with_behaviour(|_| behaviour)
        .map_err(|e| setup(&e))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

fn behaviour(config: &NetConfig, names: &Names, keypair: &Keypair) -> Result<Behaviour, NetError> {
    let peer = keypair.public().to_peer_id();
    Ok(Behaviour {
        blocked: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
        gossip: gossip(names, keypair)?,
        sync: exchange(names, &config.limits)?,
        blob: exchange(names, &config.limits)?,
        identify: identify::Behaviour::new(
            identify::Config::new(names.protocol_version(), keypair.public())
                .with_agent_version(concat!("assay/", env!("CARGO_PKG_VERSION")).to_owned())
                .with_push_listen_addr_updates(true),
        ),
        kad: kad(names, peer)?,
        ping: ping::Behaviour::default(),
        mdns: mdns(config.mdns, peer).into(),
    })
}

/// The shares are Lighthouse's.
fn connection_limits(limits: &NetLimits) -> connection_limits::ConnectionLimits {
    let tenths = |share: u32| Some(limits.peers_target.saturating_mul(share).div_ceil(10).max(1));
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established_incoming(tenths(9))
        .with_max_established_outgoing(tenths(11))
        .with_max_established(tenths(13))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER))
}

fn exchange<E: Exchange>(
    names: &Names,
    limits: &NetLimits,
) -> Result<request_response::Behaviour<FrameCodec<E>>, NetError> {
    let protocol = (names.protocol(E::NAME)?, request_response::ProtocolSupport::Full);
    // Requests that are still being read are not in service yet, so they get places of their own.
    let streams = 4 * limits.requests_per_peer.max(1);
    let config = request_response::Config::default()
        .with_request_timeout(limits.request_timeout)
        .with_max_concurrent_streams(streams);
    Ok(request_response::Behaviour::new([protocol], config))
}

/// Kademlia finds peers; it stores nothing for anybody.
fn kad(names: &Names, peer: PeerId) -> Result<kad::Behaviour<kad::store::MemoryStore>, NetError> {
    let mut config = kad::Config::new(names.protocol("kad/1")?);
    config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_query_timeout(Duration::from_secs(30))
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(60)));
    let mut kad = kad::Behaviour::with_config(peer, kad::store::MemoryStore::new(peer), config);
    kad.set_mode(Some(kad::Mode::Server));
    Ok(kad)
}

/// Multicast may be unavailable, for example in a container; the node can do without.
fn mdns(enabled: bool, peer: PeerId) -> Option<mdns::tokio::Behaviour> {
    if !enabled {
        return None;
    }
    mdns::tokio::Behaviour::new(mdns::Config::default(), peer)
        .inspect_err(|e| tracing::warn!("peers on the local network cannot be looked for: {e}"))
        .ok()
}

fn gossip(names: &Names, keypair: &Keypair) -> Result<Gossip, NetError> {
    let topics: HashMap<Topic, gossipsub::IdentTopic> =
        Topic::ALL.into_iter().map(|topic| (topic, names.topic(topic))).collect();
    let hashes = || topics.values().map(gossipsub::IdentTopic::hash);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(hashes().collect()),
        max_subscribed_topics: topics.len(),
        max_subscriptions_per_request: 4 * topics.len(),
    };
    let mut gossip = Gossip::new_with_subscription_filter(
        // Consensus messages are told apart by source and sequence number, which therefore have to
        // be present and authentic.
        gossipsub::MessageAuthenticity::Signed(keypair.clone()),
        gossip_config(names)?,
        filter,
    )
    .map_err(|e| NetError::Setup(e.to_owned()))?;
    gossip
        .with_peer_score(scoring::params(hashes()), scoring::thresholds())
        .map_err(NetError::Setup)?;
    for topic in topics.values() {
        gossip.subscribe(topic).map_err(|e| NetError::Setup(e.to_string()))?;
    }
    Ok(gossip)
}

/// `background/peer-systems-and-threats.md` §3.1, from the Ethereum and gossipsub v1.1
/// specifications. Up to twelve peers the mesh is everyone.
fn gossip_config(names: &Names) -> Result<gossipsub::Config, NetError> {
    let content_topics: HashSet<gossipsub::TopicHash> = Topic::ALL
        .into_iter()
        .filter(|topic| topic.by_content())
        .map(|topic| names.topic(topic).hash())
        .collect();
    let network = *names.network();
    gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(names.protocol("meshsub")?.to_string())
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        .history_length(6)
        .history_gossip(3)
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(3)
        .gossip_lazy(6)
        .gossip_factor(0.25)
        .prune_backoff(Duration::from_secs(60))
        .opportunistic_graft_ticks(86)
        .opportunistic_graft_peers(2)
        .flood_publish(true)
        .validate_messages()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .duplicate_cache_time(SEEN_FOR)
        .max_transmit_size(BLOCK_BYTES_MAX + GOSSIP_ENVELOPE_BYTES)
        .max_publish_messages(500)
        .connection_handler_queue_len(GOSSIP_QUEUE)
        .message_id_fn(move |message| message_id(&network, &content_topics, message))
        .build()
        .map_err(|e| NetError::Setup(e.to_string()))
}

/// BLAKE3 of network, topic and either the data or the source and its sequence number.
fn message_id(
    network: &[u8; 32],
    content_topics: &HashSet<gossipsub::TopicHash>,
    message: &gossipsub::Message,
) -> gossipsub::MessageId {
    let mut hasher = blake3::Hasher::new_derive_key("assay v1 gossip message id");
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(network);
    field(message.topic.as_str().as_bytes());
    if content_topics.contains(&message.topic) {
        field(&message.data);
    } else {
        field(&message.source.map(|peer| peer.to_bytes()).unwrap_or_default());
        field(&message.sequence_number.unwrap_or_default().to_le_bytes());
    }
    gossipsub::MessageId::new(&hasher.finalize().as_bytes()[..MESSAGE_ID_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(network: u8, topic: Topic, data: &[u8], sequence_number: u64) -> gossipsub::MessageId {
        let names = Names::new([network; 32]);
        let content = [names.topic(Topic::Record).hash()].into();
        let message = gossipsub::Message {
            source: Some(PeerId::from_bytes(&[0, 1, 0]).unwrap()),
            data: data.to_vec(),
            sequence_number: Some(sequence_number),
            topic: names.topic(topic).hash(),
        };
        message_id(&[network; 32], &content, &message)
    }

    #[test]
    fn message_ids_follow_the_content_or_the_source() {
        assert_eq!(id(1, Topic::Record, b"a", 1), id(1, Topic::Record, b"a", 2));
        assert_ne!(id(1, Topic::Record, b"a", 1), id(1, Topic::Record, b"b", 1));
        assert_ne!(id(1, Topic::Record, b"a", 1), id(2, Topic::Record, b"a", 1));
        assert_eq!(id(1, Topic::Consensus, b"a", 1), id(1, Topic::Consensus, b"a", 1));
        assert_ne!(id(1, Topic::Consensus, b"a", 1), id(1, Topic::Consensus, b"a", 2));
    }

    #[test]
    fn connection_shares_leave_room_for_own_choices() {
        let limits = NetLimits { peers_target: 10, ..NetLimits::default() };
        let text = format!("{:?}", connection_limits(&limits));
        assert!(text.contains("max_established_incoming: Some(9)"), "{text}");
        assert!(text.contains("max_established_total: Some(13)"), "{text}");
    }
}
