//! Starting, finding each other, staying apart, stopping.

use std::net::{TcpListener, UdpSocket};

use assay_node::net::{self, NetError, Topic};

use crate::support::{QUIC, TCP, config, pair, start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_a_clear_error() {
    let node = start(config(1, TCP)).await;
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.local_addr().unwrap().port());
    for address in [node.address().await.to_string(), quic] {
        match net::start(config(2, &address)).await {
            Err(e @ NetError::AddressInUse { .. }) => {
                let text = e.to_string();
                assert!(text.contains(&address) && text.contains("choose another"), "{text}");
            }
            other => panic!("{:?}", other.err()),
        }
    }
    let nonsense = net::start(config(2, "/ip4/192.0.2.1/tcp/0")).await;
    assert!(matches!(nonsense, Err(NetError::Listen { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_networks_do_not_mix() {
    let node = start(config(1, TCP)).await;
    // The protocol names hold the first bytes of the id; a difference in the last one is for
    // identify to notice.
    for (seed, byte) in [(2, 0), (3, 31)] {
        let mut other = config(seed, TCP);
        other.network[byte] ^= 1;
        other.bootstrap = vec![node.address().await];
        let other = start(other).await;
        until("the end of the connection", async || {
            node.handle.counters().peers_blocked + other.handle.counters().peers_blocked > 0
        })
        .await;
        other.handle.publish(Topic::Record, b"hello".to_vec()).await.unwrap();
        assert!(other.handle.sync(node.peer(), 1, 1).await.is_err());
        assert!(node.handle.peers().await.is_empty());
        assert!(other.handle.peers().await.is_empty());
        other.handle.stop().await;
    }
    assert_eq!(node.handle.counters().offences, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_its_bootstrap_peer() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let mut early = config(1, TCP);
    early.bootstrap = vec![address.parse().unwrap()];
    let early = start(early).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(early.handle.peers().await.is_empty());

    let late = start(config(2, &address)).await;
    early.has_peers(1).await;
    let peer = early.handle.peers().await.remove(0);
    assert_eq!(peer.peer, late.peer());
    assert_eq!(peer.direction, net::Direction::Outbound);
    assert!(peer.agent.starts_with("assay/"), "{}", peer.agent);
    until("a ping", async || {
        early.handle.peers().await.first().is_some_and(|peer| peer.rtt_ms.is_some())
    })
    .await;

    // The same peer comes back after a restart.
    late.handle.stop().await;
    until("a disconnect", async || early.handle.peers().await.is_empty()).await;
    let late = start(config(2, &address)).await;
    early.has_peers(1).await;
    late.has_peers(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_is_clean_and_the_peers_are_remembered() {
    let home = tempfile::tempdir().unwrap();
    let first = start(config(1, TCP)).await;
    let mut second = config(2, TCP);
    second.peer_cache = Some(home.path().join("peers"));
    let without_bootstrap = second.clone();
    second.bootstrap = vec![first.address().await];
    let second = start(second).await;
    second.has_peers(1).await;
    let (mut first, peer, address) = (first, second.peer(), second.address().await);

    let handle = second.handle.clone();
    second.handle.stop().await;
    second.task.await.unwrap();
    first.sees_disconnect(peer).await;
    assert!(matches!(handle.publish(Topic::Record, vec![1]).await, Err(NetError::Stopped)));
    assert!(handle.peers().await.is_empty());
    let port = address.to_string().rsplit('/').next().unwrap().parse().unwrap();
    drop(TcpListener::bind(("127.0.0.1", port)).unwrap());

    let second = start(without_bootstrap).await;
    second.has_peers(1).await;
    first.sees_connect(peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dials_itself_gives_up() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let mut own = config(1, &address);
    own.bootstrap = vec![address.parse().unwrap()];
    let own = start(own).await;
    let mut other = config(2, TCP);
    other.bootstrap = vec![own.address().await];
    let other = start(other).await;
    own.has_peers(1).await;
    assert_eq!(own.handle.peers().await[0].peer, other.peer());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multicast_discovery_is_optional() {
    let mut config = config(1, QUIC);
    config.mdns = true;
    let node = start(config).await;
    node.handle.stop().await;
    let (first, _second) = pair(QUIC).await;
    assert_eq!(first.handle.peers().await.len(), 1);
}

/// The peer still holds a connection to the process that crashed, and takes the new one for a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_crashed_is_heard_again() {
    let mut peer = start(config(1, QUIC)).await;
    let mut crashes = config(2, QUIC);
    crashes.bootstrap = vec![peer.address().await];
    let process = tokio::runtime::Runtime::new().unwrap();
    let node = process.spawn(start(crashes.clone())).await.unwrap();
    node.reach(&mut peer, Topic::Record, b"before").await;
    // Nothing runs any more that could say goodbye.
    process.shutdown_background();
    drop(node);
    let again = start(crashes).await;
    again.reach(&mut peer, Topic::Record, b"after").await;
}
