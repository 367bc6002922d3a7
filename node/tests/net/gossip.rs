//! What is published reaches everybody, once or as often as it is meant to.

use assay_node::net::{NetError, Topic};

use crate::support::{QUIC, TCP, config, pair, start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_exchange_messages_over_tcp() {
    exchange_messages(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_exchange_messages_over_quic() {
    exchange_messages(QUIC).await;
}

async fn exchange_messages(listen: &str) {
    let (mut first, mut second) = pair(listen).await;
    for topic in Topic::ALL {
        first.reach(&mut second, topic, format!("to second {topic:?}").as_bytes()).await;
        second.reach(&mut first, topic, format!("to first {topic:?}").as_bytes()).await;
    }
    // The longest message of each topic passes; one byte more is refused before it is sent.
    for topic in Topic::ALL {
        let longest = vec![b'x'; topic.bytes_max()];
        first.reach(&mut second, topic, &longest).await;
        let too_long = first.handle.publish(topic, vec![b'x'; topic.bytes_max() + 1]).await;
        assert!(matches!(too_long, Err(NetError::TooLong { .. })), "{too_long:?}");
    }
    assert_eq!(first.handle.counters().offences, 0);
    assert_eq!(second.handle.counters().offences, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_reach_each_other_through_one() {
    let mut hub = config(1, TCP);
    hub.listen.push(QUIC.parse().unwrap());
    let hub = start(hub).await;
    let addresses = hub.handle.listen_addresses().await;
    let mut nodes = vec![hub];
    for seed in 2..=5u8 {
        let over = usize::from(seed % 2 == 0);
        let mut config = config(seed, [TCP, QUIC][over]);
        config.bootstrap = vec![addresses[over].clone()];
        nodes.push(start(config).await);
    }
    for node in &nodes[1..] {
        node.has_peers(1).await;
    }
    for sender in 0..nodes.len() {
        for topic in Topic::ALL {
            for receiver in 0..nodes.len() {
                if sender == receiver {
                    continue;
                }
                let data = format!("{topic:?} from {sender} to {receiver}");
                let [from, to] = nodes.get_disjoint_mut([sender, receiver]).unwrap();
                from.reach(to, topic, data.as_bytes()).await;
            }
        }
    }
    // Everybody knew only the hub, and finds the others through it.
    for node in &nodes {
        node.has_peers(4).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_again_arrives_again_and_bodies_do_not() {
    let (first, mut second) = pair(TCP).await;
    for (topic, expected) in
        [(Topic::Consensus, 3), (Topic::Liveness, 3), (Topic::Record, 3), (Topic::Body, 1)]
    {
        first.reach(&mut second, topic, b"start").await;
        for _ in 0..3 {
            first.handle.publish(topic, b"same".to_vec()).await.unwrap();
        }
        first.handle.publish(topic, b"end".to_vec()).await.unwrap();
        let mut messages = second.messages_until(b"end").await;
        messages.retain(|data| data == b"same");
        assert_eq!(messages.len(), expected, "{topic:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_accepted_messages_are_forwarded() {
    let middle = start(config(1, TCP)).await;
    // Neither end listens, so that what one hears of the other has come through the middle.
    let mut ends = Vec::new();
    for seed in [2, 3] {
        let mut end = config(seed, TCP);
        end.listen.clear();
        end.bootstrap = vec![middle.address().await];
        ends.push(start(end).await);
    }
    let [sender, far] = &mut ends[..] else { unreachable!() };
    sender.reach(far, Topic::Consensus, b"start").await;
    for data in ["skip this", "bad", "end"] {
        sender.handle.publish(Topic::Consensus, data.into()).await.unwrap();
    }
    let messages = far.messages_until(b"end").await;
    assert!(messages.iter().all(|data| data == b"start"), "{messages:?}");
    assert_eq!(far.handle.peers().await.len(), 1);
    assert_eq!(middle.handle.peers().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_messages_lower_the_score_and_end_the_connection() {
    let mut victim = config(1, TCP);
    victim.limits.block = std::time::Duration::from_millis(1500);
    let mut victim = start(victim).await;
    let mut sender = config(2, TCP);
    sender.bootstrap = vec![victim.address().await];
    let sender = start(sender).await;
    sender.has_peers(1).await;
    sender.reach(&mut victim, Topic::Record, b"fine").await;
    let score = async || victim.handle.peers().await.first().and_then(|peer| peer.score);
    assert!(score().await.unwrap() > 0.0);

    sender.handle.publish(Topic::Record, b"bad 0".to_vec()).await.unwrap();
    until("a lower score", async || score().await.is_some_and(|score| score < 0.0)).await;
    for i in 1..5 {
        sender.handle.publish(Topic::Record, format!("bad {i}").into_bytes()).await.unwrap();
    }
    victim.sees_disconnect(sender.peer()).await;
    assert_eq!(victim.handle.counters().offences, 5);
    assert_eq!(victim.handle.counters().peers_blocked, 1);
    // The block ends by itself, and the sender has kept knocking.
    victim.sees_connect(sender.peer()).await;
}
