//! Hosts wired to each other by channels, with a network that can misbehave.

use crate::toy::{Disk, Fuse, Pool, Schedule, Toy};
use assay_node::consensus::{
    Evidence, HostConfig, HostHandle, HostSender, Inbound, LinearTimeouts, Outbound, Topic, start,
};
use assay_proto::v1::{self, consensus_message::Message as Wire};
use assay_protocol::certificate;
use assay_protocol::ids::{BlockHash, NetworkId, PeerId};
use ed25519_dalek::SigningKey;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub(crate) const NETWORK: NetworkId = NetworkId([42; 32]);

/// Short, so that tests with dead proposers end soon.
pub(crate) const fn quick() -> LinearTimeouts {
    LinearTimeouts {
        propose: Duration::from_millis(200),
        propose_delta: Duration::from_millis(50),
        prevote: Duration::from_millis(80),
        prevote_delta: Duration::from_millis(30),
        precommit: Duration::from_millis(80),
        precommit_delta: Duration::from_millis(30),
        rebroadcast: Duration::from_millis(90),
        max_timeout: Duration::from_secs(2),
    }
}

/// A small generator of numbers (SplitMix64), the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Faults of the network, in percent and milliseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay_ms_max: u64,
}

type SlotOfVote = (Vec<u8>, u64, u32, i32);

/// What everyone said.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) published: u64,
    /// Blocks signed by slot; honest validators have one each.
    said: BTreeMap<SlotOfVote, BTreeSet<Vec<u8>>>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) rejected: Vec<String>,
    /// Commit certificates shown to validators that missed a decision.
    pub(crate) proofs: u64,
    /// A recent message of each node, as raw material for damaged ones.
    pub(crate) samples: Vec<(Topic, Vec<u8>)>,
}

impl Transcript {
    fn note(&mut self, topic: Topic, bytes: &[u8]) {
        self.published += 1;
        if self.samples.len() < 64 {
            self.samples.push((topic, bytes.to_vec()));
        }
        if topic == Topic::Body {
            return;
        }
        let message = v1::ConsensusMessage::decode(bytes).expect("hosts publish valid messages");
        let (slot, said) = match message.message {
            Some(Wire::Vote(vote)) => {
                ((vote.validator, vote.height, vote.round, vote.kind), vote.block)
            }
            Some(Wire::Proposal(proposal)) => {
                let said = [proposal.block, format!("{:?}", proposal.valid_round).into()].concat();
                ((proposal.validator, proposal.height, proposal.round, 0), said)
            }
            Some(Wire::Commit(_)) => {
                self.proofs += 1;
                return;
            }
            _ => return,
        };
        self.said.entry(slot).or_default().insert(said);
    }

    /// Validators that signed two things for one slot.
    pub(crate) fn double_signers(&self) -> BTreeSet<Vec<u8>> {
        let doubled = self.said.iter().filter(|(_, said)| said.len() > 1);
        doubled.map(|((validator, ..), _)| validator.clone()).collect()
    }
}

/// The network between the hosts.
pub(crate) struct Net {
    pub(crate) senders: Mutex<Vec<Option<HostSender>>>,
    disks: Vec<Disk>,
    pub(crate) faults: Mutex<Faults>,
    dice: Mutex<Dice>,
    pub(crate) transcript: Mutex<Transcript>,
    /// Sync requests get no answer.
    pub(crate) sync_is_down: AtomicBool,
}

impl Net {
    fn route(self: &Arc<Self>, from: usize, outbound: Outbound) {
        match outbound {
            Outbound::Publish(topic, bytes) => {
                self.transcript.lock().expect("transcript").note(topic, &bytes);
                for to in (0..self.disks.len()).filter(|to| *to != from) {
                    let inbound = match topic {
                        Topic::Consensus | Topic::Liveness => Inbound::Consensus(bytes.clone()),
                        Topic::Body => Inbound::Body(bytes.clone()),
                    };
                    self.carry(to, inbound);
                }
            }
            Outbound::RequestSync { from: height } => self.answer(from, height),
            Outbound::Misbehaviour(evidence) => {
                self.transcript.lock().expect("transcript").evidence.push(evidence);
            }
            Outbound::SyncRejected { reason, .. } => {
                self.transcript.lock().expect("transcript").rejected.push(reason);
            }
            Outbound::Decided { .. } => {}
        }
    }

    fn carry(self: &Arc<Self>, to: usize, inbound: Inbound) {
        let faults = *self.faults.lock().expect("faults");
        let mut dice = self.dice.lock().expect("dice");
        if dice.below(100) < faults.loss {
            return;
        }
        let copies = 1 + u64::from(dice.below(100) < faults.duplicate);
        for _ in 0..copies {
            let delay_ms = dice.below(faults.delay_ms_max + 1);
            if delay_ms == 0 {
                self.deliver(to, inbound.clone());
                continue;
            }
            let (net, inbound) = (self.clone(), inbound.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(delay_ms)).await;
                net.deliver(to, inbound);
            });
        }
    }

    fn deliver(&self, to: usize, inbound: Inbound) {
        if let Some(sender) = &self.senders.lock().expect("senders")[to] {
            // A full queue is loss, which the protocol has to survive.
            let _ = sender.try_deliver(inbound);
        }
    }

    fn answer(self: &Arc<Self>, asker: usize, from: u64) {
        if self.sync_is_down.load(Ordering::SeqCst) {
            return;
        }
        let longest = (0..self.disks.len())
            .filter(|other| *other != asker)
            .max_by_key(|other| self.disks[*other].lock().expect("disk").len());
        let chain = self.disks[longest.expect("several nodes")].lock().expect("disk").clone();
        let items = chain.iter().skip(from as usize - 1).take(16).map(|(certificate, body)| {
            v1::LedgerItem {
                block: Some(v1::Block::decode(body.as_slice()).expect("decided")),
                certificate: Some(certificate.clone()),
            }
        });
        let response = v1::SyncResponse { head: chain.len() as u64, items: items.collect() };
        self.carry(asker, Inbound::Synced { from: PeerId([0; 32]), response });
    }
}

/// Some nodes of one network.
pub(crate) struct Cluster {
    homes: tempfile::TempDir,
    keys: Vec<SigningKey>,
    schedule: Schedule,
    pub(crate) pool: Pool,
    pub(crate) net: Arc<Net>,
    pub(crate) fuses: Vec<Arc<Fuse>>,
    pub(crate) handles: Vec<Option<HostHandle>>,
    starts: u64,
    /// A node that proposes bad blocks.
    pub(crate) cheat: Option<usize>,
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn peer(key: &SigningKey) -> PeerId {
    PeerId(key.verifying_key().to_bytes())
}

impl Cluster {
    /// `nodes` nodes with keys 1, 2, …, of which the first `validators` order.
    pub(crate) fn new(nodes: u8, validators: u8) -> Self {
        let peers: Vec<PeerId> = (1..=validators).map(|seed| peer(&key(seed))).collect();
        Self::with((1..=nodes).map(key).collect(), Arc::new(move |_| peers.clone()))
    }

    pub(crate) fn with(keys: Vec<SigningKey>, schedule: Schedule) -> Self {
        let disks = keys.iter().map(|_| Disk::default()).collect();
        let net = Arc::new(Net {
            senders: Mutex::new(keys.iter().map(|_| None).collect()),
            disks,
            faults: Mutex::default(),
            dice: Mutex::new(Dice::new(7)),
            transcript: Mutex::default(),
            sync_is_down: AtomicBool::new(false),
        });
        let unlit = || Arc::new(Fuse(AtomicI64::new(i64::MAX)));
        Self {
            homes: tempfile::tempdir().expect("tempdir"),
            fuses: keys.iter().map(|_| unlit()).collect(),
            handles: keys.iter().map(|_| None).collect(),
            keys,
            schedule,
            pool: Pool::default(),
            net,
            starts: 0,
            cheat: None,
        }
    }

    pub(crate) async fn start_all(&mut self) {
        for node in 0..self.keys.len() {
            self.start(node).await;
        }
    }

    /// Starts a node from what its home and disk hold. A fuse may end it while it starts.
    pub(crate) async fn start(&mut self, node: usize) {
        self.starts += 1;
        let mut app = Toy::open(
            self.net.disks[node].clone(),
            self.pool.clone(),
            self.schedule.clone(),
            self.fuses[node].clone(),
            peer(&self.keys[node]),
            self.starts << 32,
        );
        app.cheats = self.cheat == Some(node);
        let config = self.config(node);
        let (outbound, mut taken) = mpsc::channel(64);
        let started = std::panic::AssertUnwindSafe(|| start(config, app, outbound));
        let Ok(started) = std::panic::catch_unwind(started) else { return };
        let handle = started.expect("host starts");
        self.net.senders.lock().expect("senders")[node] = Some(handle.sender());
        self.handles[node] = Some(handle);
        let net = self.net.clone();
        tokio::spawn(async move {
            while let Some(outbound) = taken.recv().await {
                net.route(node, outbound);
            }
        });
        let height = self.heights().into_iter().max().unwrap_or(0) as u64;
        self.net.deliver(node, Inbound::PeerHead { height });
    }

    pub(crate) fn config(&self, node: usize) -> HostConfig {
        HostConfig {
            home: self.homes.path().join(node.to_string()),
            network: NETWORK,
            signer: self.keys[node].clone(),
            timeouts: quick(),
        }
    }

    /// Takes a node down and waits until its files are closed.
    pub(crate) async fn stop(&mut self, node: usize) {
        self.net.senders.lock().expect("senders")[node] = None;
        if let Some(handle) = self.handles[node].take() {
            // A burnt fuse shows as a panic here.
            let _ = handle.stop().await;
        }
    }

    pub(crate) fn submit(&self, numbers: impl IntoIterator<Item = u64>) {
        self.pool.lock().expect("pool").extend(numbers);
        for sender in self.net.senders.lock().expect("senders").iter().flatten() {
            let _ = sender.try_deliver(Inbound::Wake);
        }
    }

    pub(crate) fn disk(&self, node: usize) -> &Disk {
        &self.net.disks[node]
    }

    pub(crate) fn heights(&self) -> Vec<usize> {
        self.net.disks.iter().map(|disk| disk.lock().expect("disk").len()).collect()
    }

    /// Waits until these nodes have ordered everything submitted and agree on the height.
    pub(crate) async fn settle(&self, nodes: &[usize]) {
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let pool = self.pool.lock().expect("pool").clone();
            let heights: BTreeSet<usize> = nodes.iter().map(|node| self.heights()[*node]).collect();
            let done = nodes.iter().all(|node| {
                let ordered = crate::toy::ordered(self.disk(*node));
                ordered.iter().copied().collect::<BTreeSet<u64>>() == pool
            });
            if done && heights.len() == 1 {
                return;
            }
            assert!(Instant::now() < deadline, "no progress: heights {:?}", self.heights());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nobody has said anything for a while; returns how much was said by then. What a
    /// host said last may be on its way after the disks agree.
    pub(crate) async fn silence(&self) -> u64 {
        let published = || self.net.transcript.lock().expect("transcript").published;
        let (mut said, mut quiet) = (published(), 0);
        // Several looks in a row, because a machine that stalls for one of them is silent too.
        while quiet < 5 {
            sleep(Duration::from_millis(150)).await;
            quiet = if published() == said { quiet + 1 } else { 0 };
            said = published();
        }
        said
    }

    /// Checks that no two disks differ, that every certificate is good, and nobody but the keys
    /// given signed two things for one slot.
    pub(crate) fn check(&self, twins: &[PeerId]) {
        let chains: Vec<_> =
            self.net.disks.iter().map(|disk| disk.lock().expect("disk").clone()).collect();
        let longest = chains.iter().max_by_key(|chain| chain.len()).expect("nodes");
        for (node, chain) in chains.iter().enumerate() {
            for (index, (certificate, body)) in chain.iter().enumerate() {
                assert_eq!(certificate.block, longest[index].0.block, "fork at node {node}");
                assert_eq!(*body, longest[index].1, "bodies differ at node {node}");
                let height = index as u64 + 1;
                let block = BlockHash::from_slice(&certificate.block).expect("hash");
                let set = (self.schedule)(height).into_iter().map(|peer| (peer, 1)).collect();
                certificate::verify(NETWORK, 0, certificate, height, block, &set).expect("proof");
            }
        }
        let mut doubled = self.net.transcript.lock().expect("transcript").double_signers();
        for twin in twins {
            doubled.remove(twin.0.as_slice());
        }
        assert!(doubled.is_empty(), "an honest validator signed twice for one slot");
    }
}
