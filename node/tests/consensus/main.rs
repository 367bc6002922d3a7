//! Several hosts order numbers over a network that loses, repeats and reorders messages, while
//! hosts die and somebody cheats.

mod cluster;
mod toy;

use assay_node::consensus::{HostError, Inbound, Topic, WalError, start};
use assay_proto::v1;
use assay_protocol::ids::PeerId;
use cluster::{Cluster, Dice, Faults, key, peer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

const ALL: [usize; 4] = [0, 1, 2, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_when_there_is_work_and_rests_when_not() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all().await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(cluster.heights(), [0; 4]);
    assert_eq!(cluster.net.transcript.lock().expect("transcript").published, 0);

    for batch in 0..5 {
        cluster.submit(batch * 10..batch * 10 + 3);
        cluster.settle(&ALL).await;
    }
    let said = cluster.silence().await;
    let heights = cluster.heights();
    assert_eq!((cluster.silence().await, cluster.heights()), (said, heights));
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_validator_orders_alone() {
    let mut cluster = Cluster::new(2, 1);
    cluster.start_all().await;
    cluster.submit(0..100);
    cluster.settle(&[0, 1]).await;
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_with_one_down_halts_with_two_and_resumes() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all().await;
    cluster.stop(2).await;
    for number in 0..6 {
        cluster.submit([number]);
        cluster.settle(&[0, 1, 3]).await;
    }
    cluster.stop(3).await;
    let before = cluster.heights();
    cluster.submit([100]);
    sleep(Duration::from_millis(800)).await;
    assert_eq!(cluster.heights(), before);
    cluster.start(3).await;
    cluster.settle(&[0, 1, 3]).await;
    cluster.start(2).await;
    cluster.settle(&ALL).await;
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_loss_repetition_and_reordering() {
    let mut cluster = Cluster::new(4, 4);
    *cluster.net.faults.lock().expect("faults") =
        Faults { loss: 5, duplicate: 20, delay_ms_max: 15 };
    cluster.start_all().await;
    for number in 0..15 {
        cluster.submit([number]);
        sleep(Duration::from_millis(60)).await;
    }
    cluster.settle(&ALL).await;
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_validators_neither_fork_nor_contradict_themselves() {
    let mut cluster = Cluster::new(4, 4);
    *cluster.net.faults.lock().expect("faults") = Faults { loss: 1, duplicate: 5, delay_ms_max: 3 };
    cluster.start_all().await;
    let mut dice = Dice::new(3);
    let mut number = 0;
    for _ in 0..25 {
        let victim = dice.below(4) as usize;
        // The fuse ends the host inside a call to the application, before or after it took
        // effect; if it does not burn down in time, the host ends between two inputs.
        let fuse = cluster.fuses[victim].clone();
        fuse.0.store(1 + dice.below(12) as i64, Ordering::SeqCst);
        for _ in 0..4 {
            number += 1;
            cluster.submit([number]);
            sleep(Duration::from_millis(dice.below(40))).await;
        }
        cluster.stop(victim).await;
        // Sometimes it dies again while it recovers.
        fuse.0.store(if dice.below(3) == 0 { 1 } else { i64::MAX }, Ordering::SeqCst);
        cluster.start(victim).await;
        sleep(Duration::from_millis(10)).await;
        cluster.stop(victim).await;
        fuse.0.store(i64::MAX, Ordering::SeqCst);
        cluster.start(victim).await;
    }
    number += 1;
    cluster.submit([number]);
    cluster.settle(&ALL).await;
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_validators_die_at_once_and_go_on() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all().await;
    let mut dice = Dice::new(11);
    for round in 0..6 {
        cluster.submit([round * 2, round * 2 + 1]);
        sleep(Duration::from_millis(dice.below(12))).await;
        for node in ALL {
            cluster.stop(node).await;
        }
        cluster.start_all().await;
        cluster.settle(&ALL).await;
    }
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_changes_nothing() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all().await;
    cluster.submit([1]);
    cluster.settle(&ALL).await;
    let before = cluster.silence().await;
    let samples = cluster.net.transcript.lock().expect("transcript").samples.clone();
    let mut dice = Dice::new(5);
    let senders: Vec<_> =
        cluster.net.senders.lock().expect("senders").iter().flatten().cloned().collect();
    for _ in 0..3000 {
        let (topic, mut bytes) = samples[dice.below(samples.len() as u64) as usize].clone();
        match dice.below(3) {
            0 => bytes = (0..dice.below(200)).map(|_| dice.next() as u8).collect(),
            1 => bytes.truncate(dice.below(bytes.len() as u64) as usize),
            _ => {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << dice.below(8);
            }
        }
        let inbound = match topic {
            Topic::Body => Inbound::Body(bytes),
            Topic::Consensus | Topic::Liveness => Inbound::Consensus(bytes),
        };
        senders[dice.below(4) as usize].deliver(inbound).await.expect("host lives");
    }
    let false_answer = v1::SyncResponse { head: u64::MAX, items: vec![v1::LedgerItem::default()] };
    let lie = Inbound::Synced { from: PeerId([9; 32]), response: false_answer };
    for sender in &senders {
        sender.deliver(lie.clone()).await.expect("host lives");
    }
    // Every host takes the lie last, so that refusing it follows all the garbage.
    while cluster.net.transcript.lock().expect("transcript").rejected.len() < senders.len() {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(cluster.heights(), [1; 4], "nothing was ordered");
    assert_eq!(before, cluster.silence().await, "nothing was said");
    cluster.submit([2]);
    cluster.settle(&ALL).await;
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_and_newcomers_get_every_block() {
    let mut cluster = Cluster::new(6, 4);
    for node in 0..5 {
        cluster.start(node).await;
    }
    for number in 0..40 {
        cluster.submit([number]);
        cluster.settle(&[0, 1, 2, 3, 4]).await;
    }
    cluster.start(5).await;
    cluster.settle(&[0, 1, 2, 3, 4, 5]).await;
    let handle = cluster.handles[5].as_ref().expect("runs");
    assert!(!handle.status().borrow().validator);
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_votes_twice_cannot_fork_the_ledger() {
    // The fifth node has the first one's key, its own home and its own opinion.
    let keys = [1, 2, 3, 4, 1].map(key).to_vec();
    let validators: Vec<PeerId> = keys[..4].iter().map(peer).collect();
    let twin = validators[0];
    let mut cluster = Cluster::with(keys, Arc::new(move |_| validators.clone()));
    *cluster.net.faults.lock().expect("faults") = Faults { loss: 0, duplicate: 0, delay_ms_max: 4 };
    cluster.start_all().await;
    for number in 0..30 {
        cluster.submit([number]);
        cluster.settle(&[1, 2, 3]).await;
    }
    cluster.check(&[twin]);
    let transcript = cluster.net.transcript.lock().expect("transcript");
    assert!(transcript.double_signers().contains(twin.0.as_slice()), "the twin did cheat");
    assert!(!transcript.evidence.is_empty(), "nobody noticed");
    assert!(transcript.evidence.iter().all(|evidence| evidence.validator == twin));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_validator_set_changes_between_heights() {
    let all: Vec<PeerId> = (1..=6).map(|seed| peer(&key(seed))).collect();
    let schedule = move |height: u64| {
        let first = ((height / 3) % 3) as usize;
        all[first..first + 4].to_vec()
    };
    let mut cluster = Cluster::with((1..=6).map(key).collect(), Arc::new(schedule));
    cluster.start_all().await;
    for number in 0..15 {
        cluster.submit([number]);
        cluster.settle(&[0, 1, 2, 3, 4, 5]).await;
    }
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_missed_a_decision_is_shown_the_proof() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all().await;
    let cut = cluster.net.senders.lock().expect("senders")[3].take();
    cluster.submit([1]);
    cluster.settle(&[0, 1, 2]).await;
    cluster.silence().await;
    // The others rest, and nothing but the answer to its votes tells the fourth how far they are.
    cluster.net.sync_is_down.store(true, Ordering::SeqCst);
    cluster.net.senders.lock().expect("senders")[3] = cut;
    cluster.submit([]);
    while cluster.net.transcript.lock().expect("transcript").proofs == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    cluster.net.sync_is_down.store(false, Ordering::SeqCst);
    cluster.settle(&ALL).await;
    cluster.check(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposer_of_bad_blocks_costs_its_own_rounds_only() {
    let mut cluster = Cluster::new(4, 4);
    cluster.cheat = Some(1);
    cluster.start_all().await;
    for number in 0..8 {
        cluster.submit([number]);
        cluster.settle(&ALL).await;
    }
    cluster.check(&[]);
    let chain = cluster.disk(0).lock().expect("disk").clone();
    assert!(chain.iter().any(|(certificate, _)| certificate.round > 0), "no round was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_cannot_share_a_home() {
    let mut cluster = Cluster::new(2, 2);
    cluster.start(0).await;
    let (outbound, _taken) = mpsc::channel(1);
    let schedule: toy::Schedule = Arc::new(|_| vec![peer(&key(1))]);
    let app = toy::Toy::open(
        toy::Disk::default(),
        toy::Pool::default(),
        schedule,
        cluster.fuses[1].clone(),
        peer(&key(1)),
        0,
    );
    let second = start(cluster.config(0), app, outbound);
    assert!(matches!(second, Err(HostError::Wal(WalError::Io(_)))));
}
