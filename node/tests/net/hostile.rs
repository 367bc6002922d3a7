//! Peers that speak the protocols and mean no good, built from plain libp2p.

use std::io;
use std::time::Duration;

use assay_node::net::{self, NetError, NetEvent, Topic};
use assay_proto::limits::{BLOB_RESPONSE_BYTES_MAX, SYNC_BYTES_MAX};
use assay_proto::v1;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify, noise, tcp, yamux,
};
use prost::Message;
use tokio::sync::mpsc;

use crate::support::{NETWORK, Node, Seen, TCP, config, soon, start, until};

/// Sends and receives whatever bytes it is given.
#[derive(Clone, Default)]
struct RawCodec;

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await.map(|_| bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        self.read_request(protocol, io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        self.write_request(protocol, io, bytes).await
    }
}

#[derive(NetworkBehaviour)]
struct RawBehaviour {
    gossip: gossipsub::Behaviour,
    sync: request_response::Behaviour<RawCodec>,
    blob: request_response::Behaviour<RawCodec>,
    identify: identify::Behaviour,
}

/// What a hostile peer is told to do.
enum Do {
    Publish(Topic, Vec<u8>),
    Ask(PeerId, Vec<u8>),
}

fn protocol(what: &str) -> StreamProtocol {
    let name = format!("/assay/{}/{what}", hex::encode(&NETWORK[..8]));
    StreamProtocol::try_from_owned(name).unwrap()
}

fn raw_swarm() -> Swarm<RawBehaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let gossip_config = gossipsub::ConfigBuilder::default()
                .protocol_id_prefix(protocol("meshsub").to_string())
                .max_transmit_size(8 << 20)
                .build()
                .unwrap();
            let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
            let exchange = |name| {
                request_response::Behaviour::new(
                    [(protocol(name), ProtocolSupport::Full)],
                    request_response::Config::default(),
                )
            };
            let version = format!("assay/1/{}", hex::encode(NETWORK));
            RawBehaviour {
                gossip: gossipsub::Behaviour::new(signed, gossip_config).unwrap(),
                sync: exchange("sync/1"),
                blob: exchange("blob/1"),
                identify: identify::Behaviour::new(identify::Config::new(version, key.public())),
            }
        })
        .unwrap()
        .build()
}

/// Starts a hostile peer that dials `victim` and answers every request with `answer`.
fn hostile(victim: Multiaddr, answer: Vec<u8>) -> (PeerId, mpsc::Sender<Do>) {
    let mut swarm = raw_swarm();
    let topic = |topic: Topic| {
        gossipsub::IdentTopic::new(format!("/assay/{}/{}/1", hex::encode(NETWORK), topic.name()))
    };
    for every in Topic::ALL {
        swarm.behaviour_mut().gossip.subscribe(&topic(every)).unwrap();
    }
    swarm.dial(victim).unwrap();
    let peer = *swarm.local_peer_id();
    let (sender, mut orders) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = swarm.select_next_some() => event,
                order = orders.recv() => {
                    match order {
                        // Whether the victim's end still listens is the point of the test.
                        Some(Do::Publish(to, data)) => {
                            let _ = swarm.behaviour_mut().gossip.publish(topic(to), data);
                        }
                        Some(Do::Ask(peer, bytes)) => {
                            swarm.behaviour_mut().sync.send_request(&peer, bytes);
                        }
                        None => return,
                    }
                    continue;
                }
            };
            let (protocol, event) = match event {
                SwarmEvent::Behaviour(RawBehaviourEvent::Sync(event)) => (0, event),
                SwarmEvent::Behaviour(RawBehaviourEvent::Blob(event)) => (1, event),
                _ => continue,
            };
            if let request_response::Event::Message {
                message: request_response::Message::Request { channel, .. },
                ..
            } = event
            {
                let behaviour = swarm.behaviour_mut();
                let behaviour =
                    [&mut behaviour.sync, &mut behaviour.blob].into_iter().nth(protocol);
                let _ = behaviour.unwrap().send_response(channel, answer.clone());
            }
        }
    });
    (peer, sender)
}

fn framed(length: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

/// A victim, which blocks after four offences, and a hostile peer connected to it.
async fn victim_of(answer: Vec<u8>) -> (Node, PeerId, mpsc::Sender<Do>) {
    let mut config = config(1, TCP);
    config.limits.offences = 4;
    let victim = start(config).await;
    let (peer, orders) = hostile(victim.address().await, answer);
    victim.has_peers(1).await;
    (victim, peer, orders)
}

async fn is_blocked(victim: &Node) {
    until("a block", async || {
        victim.handle.counters().peers_blocked == 1 && victim.handle.peers().await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_blob_is_detected_and_costs_its_sender() {
    let wrong = v1::BlobResponse { found: true, data: b"wrong".to_vec() }.encode_to_vec();
    let (victim, peer, _orders) = victim_of(framed(wrong.len(), &wrong)).await;
    let hash = *blake3::hash(b"right").as_bytes();
    for _ in 0..4 {
        match victim.handle.fetch_blob(peer, hash).await {
            Err(NetError::BadAnswer { reason, .. }) => {
                assert!(reason.contains(&hex::encode(hash)), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    is_blocked(&victim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_answers_are_cut_off() {
    // The first announces too much, the second sends more than it announced.
    for answer in [
        framed(SYNC_BYTES_MAX.max(BLOB_RESPONSE_BYTES_MAX) + 1, &[0; 100]),
        framed(10, &vec![0; 16 << 20]),
    ] {
        let (victim, peer, _orders) = victim_of(answer).await;
        for _ in 0..2 {
            let blob = victim.handle.fetch_blob(peer, [1; 32]).await;
            assert!(matches!(blob, Err(NetError::BadAnswer { .. })), "{blob:?}");
            let sync = victim.handle.sync(peer, 1, 1).await;
            assert!(matches!(sync, Err(NetError::BadAnswer { .. })), "{sync:?}");
        }
        is_blocked(&victim).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_to_the_question_are_refused() {
    let items = vec![v1::LedgerItem::default(); 3];
    let three = v1::SyncResponse { head: 3, items }.encode_to_vec();
    let (victim, peer, _orders) = victim_of(framed(three.len(), &three)).await;
    assert_eq!(victim.handle.sync(peer, 1, 3).await.unwrap().items.len(), 3);
    let unasked = victim.handle.sync(peer, 1, 2).await;
    assert!(matches!(unasked, Err(NetError::BadAnswer { .. })), "{unasked:?}");
    until("an offence", async || victim.handle.counters().offences == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_end_the_connection() {
    let (victim, _, orders) = victim_of(Vec::new()).await;
    let to = victim.peer();
    for request in [
        framed(1000, &[0; 1000]),
        framed(4, &[0xff; 4]),
        framed(2, &[0x08, 0x01, 0x08]),
        vec![0xff; 200],
    ] {
        orders.send(Do::Ask(to, request)).await.unwrap();
    }
    is_blocked(&victim).await;
    assert_eq!(victim.handle.counters().offences, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_messages_are_dropped_and_cost_their_sender() {
    let (mut victim, _, orders) = victim_of(Vec::new()).await;
    let publish = |topic, data| orders.send(Do::Publish(topic, data));
    // The hostile peer learns late what the victim listens to, so the first messages may be lost.
    let mut i = 0u32;
    until("an offence", async || {
        i += 1;
        let mut data = vec![b'x'; Topic::Record.bytes_max() + 1];
        data[..4].copy_from_slice(&i.to_be_bytes());
        publish(Topic::Record, data).await.unwrap();
        victim.handle.counters().offences > 0
    })
    .await;
    is_blocked_after(&victim, &orders).await;
    while let Ok(seen) = victim.seen.try_recv() {
        assert!(!matches!(seen, Seen::Message { .. }), "{seen:?}");
    }
}

/// Keeps publishing oversize messages until the victim blocks their sender.
async fn is_blocked_after(victim: &Node, orders: &mpsc::Sender<Do>) {
    let mut i = 0u8;
    until("a block", async || {
        i = i.wrapping_add(1);
        let data = vec![i; Topic::Consensus.bytes_max() + 1];
        orders.send(Do::Publish(Topic::Consensus, data)).await.unwrap();
        victim.handle.counters().peers_blocked == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_floods_do_not_silence_honest_peers() {
    let mut limited = config(1, TCP);
    limited.limits.events = 32;
    limited.limits.messages_per_peer = 4;
    let mut victim = start(limited).await;
    let (_, orders) = hostile(victim.address().await, Vec::new());
    victim.has_peers(1).await;
    let mut honest = config(2, TCP);
    honest.bootstrap = vec![victim.address().await];
    let honest = start(honest).await;
    honest.has_peers(1).await;

    let flood = tokio::spawn(async move {
        let mut i = 0u64;
        loop {
            i += 1;
            // Longer than any message may be, and once in a while than any frame may be.
            let data =
                if i.is_multiple_of(100) { vec![0; 2 << 20] } else { i.to_be_bytes().into() };
            if orders.send(Do::Publish(Topic::Consensus, data)).await.is_err() {
                return;
            }
        }
    });
    let port: u16 = victim.address().await.to_string().rsplit('/').next().unwrap().parse().unwrap();
    let garbage = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        for _ in 0..20 {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // The victim hangs up as soon as it has seen enough.
            let _ = stream.write_all(&[0xaa; 4096]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for i in 0..10 {
        honest.reach(&mut victim, Topic::Record, format!("honest {i}").as_bytes()).await;
        let answer = honest.handle.sync(victim.peer(), 1, 1).await;
        assert!(matches!(answer, Ok(_) | Err(NetError::Refused { .. })), "{answer:?}");
    }
    flood.abort();
    garbage.await.unwrap();
    let honest_id = honest.peer();
    assert!(victim.handle.peers().await.iter().any(|peer| peer.peer == honest_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_takes_only_its_senders_places() {
    let mut limited = config(1, TCP);
    limited.limits.messages_per_peer = 4;
    let (victim, mut events, _task) = net::start(limited).await.unwrap();
    let address = victim.listen_addresses().await.remove(0);
    let (flooder, orders) = hostile(address.clone(), Vec::new());
    let mut honest = config(2, TCP);
    honest.bootstrap = vec![address];
    let honest = start(honest).await;
    honest.has_peers(1).await;

    let mut i = 0u64;
    until("dropped messages", async || {
        i += 1;
        orders.send(Do::Publish(Topic::Liveness, i.to_be_bytes().into())).await.unwrap();
        victim.counters().messages_dropped > 0
    })
    .await;
    // Nobody judges the flood, so that its places stay taken while the honest peer speaks.
    let mut unjudged = Vec::new();
    soon("an honest message", async {
        loop {
            honest.handle.publish(Topic::Record, b"honest".to_vec()).await.unwrap();
            let event = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
            if let Ok(Some(NetEvent::Message { source, token, data, .. })) = event {
                if source == honest.peer() && data == b"honest" {
                    return;
                }
                assert_eq!(source, flooder);
                unjudged.push(token);
            }
        }
    })
    .await;
    assert_eq!(unjudged.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_has_two_requests_in_service() {
    let (victim, mut events, _task) = net::start(config(1, TCP)).await.unwrap();
    let (asker, orders) = hostile(victim.listen_addresses().await.remove(0), Vec::new());
    until("a peer", async || victim.peers().await.len() == 1).await;
    let request = v1::SyncRequest { from: 1, max: 1 }.encode_to_vec();
    for _ in 0..5 {
        let ask = Do::Ask(victim.local_peer(), framed(request.len(), &request));
        orders.send(ask).await.unwrap();
    }
    until("refusals", async || victim.counters().requests_refused == 3).await;
    let mut replies = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let NetEvent::SyncRequest { peer, reply, .. } = event {
            assert_eq!(peer, asker);
            replies.push(reply);
        }
    }
    assert_eq!(replies.len(), 2);
    // A refused request is no offence, and an answered one makes room.
    assert_eq!(victim.counters().offences, 0);
    for reply in replies {
        reply.send(v1::SyncResponse::default()).unwrap();
    }
    soon("another request", async {
        loop {
            let ask = Do::Ask(victim.local_peer(), framed(request.len(), &request));
            orders.send(ask).await.unwrap();
            let event = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
            if matches!(event, Ok(Some(NetEvent::SyncRequest { .. }))) {
                return;
            }
        }
    })
    .await;
}
