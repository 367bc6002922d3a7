//! A ledger made to order.

use super::samples::{Truth, measurement};
use assay_node::board::Board;
use assay_node::checkpoints::{Checkpoints, WitnessAddress};
use assay_proto::v1;
use assay_protocol::block::{Proposer, header_hash};
use assay_protocol::certificate::{Slot, VoteKind, vote_bytes};
use assay_protocol::genesis::{
    Challenge, CommitteeRules, Genesis, MeasurementRules, Member, MembershipRules, PromptPool,
    Quorum, SignificanceRules, VotingRules,
};
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RecordId, RoundId};
use assay_protocol::measurement::Measurement;
use assay_protocol::post::{Forecast, PostBody};
use assay_protocol::randomness::{evaluate, vrf_keypair, vrf_public};
use assay_protocol::record::{
    Body, Claim, Opening, Recipe, Record, Reveal, Seal, opening_seal, reveal_seal,
};
use assay_protocol::ruling::{Ballot, Judgement, Vote};
use assay_protocol::state::State;
use assay_protocol::tlog::LogTree;
use assay_protocol::wire;
use ed25519_dalek::{Signer, SigningKey};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The class of every machine here.
pub(super) const CLASS: &str = "cpu-llvmpipe-8wide";

const NAMES: [&str; 7] = ["ada", "bell", "curie", "dirac", "euler", "fermi", "gauss"];

fn key(index: usize) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(index).unwrap() + 1; 32])
}

pub(crate) fn peer(index: usize) -> PeerId {
    PeerId(key(index).verifying_key().to_bytes())
}

pub(crate) fn genesis(time_ms: u64) -> Genesis {
    let members = NAMES.iter().enumerate().map(|(index, name)| Member {
        name: (*name).to_owned(),
        operator: format!("operator-{index}"),
        peer: peer(index),
        vrf: vrf_public(&vrf_keypair(&key(index).to_bytes())),
        standing: 10,
    });
    Genesis {
        name: "testnet-local".to_owned(),
        time_ms,
        members: members.collect(),
        challenge: Challenge {
            name: "gemma4-nano decode".to_owned(),
            base: Recipe { checkpoint: BlobHash([0xb1; 32]), bundle: None, drafter: None },
            pool: PromptPool {
                text: BlobHash([0xc2; 32]),
                prompts: 400,
                prompt_tokens: 32,
                scored_tokens: 32,
            },
            kl_max_micronats: 50_000,
            agreement_min_ppm: 900_000,
            perplexity_ratio_max_ppm: 1_050_000,
        },
        committee: CommitteeRules {
            seats: 5,
            reserves: 1,
            quorum: 3,
            frontier: Quorum { seats: 5, quorum: 3 },
            seats_max: 5,
            seal_ms: 600_000,
            reveal_ms: 60_000,
            measuring_max: 1,
            docket_max: 16,
            open_per_operator: 4,
            audit_ppm: 0,
            null_ppm: 0,
            assumed_dishonest_ppm: 200_000,
        },
        measurement: MeasurementRules {
            pairs: 12,
            pairs_min: 12,
            decode_tokens: 64,
            reach_tokens: 32,
            context_tokens: 64,
        },
        significance: SignificanceRules {
            alpha_ppm: 1_000,
            eta_ppm: 10_000,
            gain_ppm: 30_000,
            tau_ppm: 10_000,
            tau_df: 20,
        },
        membership: MembershipRules {
            epoch_blocks: 100,
            vouches_per_epoch: 2,
            vouch_standing_min: 5,
            probation_rounds: 2,
            gain_per_epoch_max: 4,
            silent_blocks: 1_000,
        },
        voting: VotingRules { window_ms: 60_000, delay_blocks: 2 },
    }
}

/// What a member's machine makes of an honest measurement.
type Tamper = Arc<dyn Fn(usize, &mut Measurement) + Send + Sync>;

/// A ledger.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) board: Arc<Board>,
    /// The blocks with their certificates, the first one first.
    pub(crate) items: Vec<v1::LedgerItem>,
    /// What further claims cite.
    pub(crate) cites: Vec<RecordId>,
    /// Changes every measurement, by the index of the member.
    pub(crate) tamper: Tamper,
    now_ms: u64,
}

impl World {
    pub(crate) fn new(time_ms: u64) -> Self {
        Self::of(genesis(time_ms))
    }

    pub(crate) fn of(genesis: Genesis) -> Self {
        Self {
            now_ms: genesis.time_ms,
            state: State::new(genesis),
            board: Arc::default(),
            items: Vec::new(),
            cites: Vec::new(),
            tamper: Arc::new(|_, _| {}),
        }
    }

    fn base(&self) -> Recipe {
        self.state.genesis().challenge.base
    }

    pub(crate) fn base_with_bundle(&self, bundle: u8) -> Recipe {
        Recipe { bundle: Some(BlobHash([bundle; 32])), ..self.base() }
    }

    fn sign(&self, index: usize, body: Body) -> Record {
        wire::sign(self.state.network(), &key(index), body)
    }

    fn block(&mut self, records: &[Record]) {
        self.now_ms += 1_500;
        let height = self.state.height() + 1;
        let index = usize::try_from(height).unwrap() % NAMES.len();
        let keypair = vrf_keypair(&key(index).to_bytes());
        let (vrf_output, vrf_proof) = evaluate(&keypair, self.state.network(), height);
        let proposer = Proposer { peer: peer(index), vrf_output, vrf_proof };
        let block = self.state.build(records, self.now_ms, proposer).unwrap();
        assert_eq!(block.records.len(), records.len(), "a record was refused");
        self.state.apply(&block, None).unwrap();
        let bodies: BTreeMap<BlobHash, Vec<u8>> = records
            .iter()
            .filter_map(|record| Some((post_body(record)?, record.attachment.clone())))
            .collect();
        let certificate = Some(self.certificate());
        let item = v1::LedgerItem { block: Some(block), certificate };
        self.board.take_block(self.state.network(), &item, |hash| bodies.get(&hash).cloned());
        self.items.push(item);
    }

    /// Five of the seven sign the head.
    fn certificate(&self) -> v1::CommitCertificate {
        let (network, height, block) =
            (self.state.network(), self.state.height(), self.state.head());
        let slot = Slot { network, era: 0, height, round: 0 };
        let message = vote_bytes(&slot, VoteKind::Precommit, Some(block));
        let signature = |index| v1::CommitSignature {
            validator: peer(index).to_vec(),
            signature: key(index).sign(&message).to_bytes().to_vec(),
        };
        let signatures = (0..5).map(signature).collect();
        v1::CommitCertificate { height, round: 0, block: block.to_vec(), signatures }
    }

    /// The blocks as witnesses see them.
    pub(crate) fn tree(&self) -> LogTree {
        let mut tree = LogTree::default();
        let headers = self.items.iter().filter_map(|item| item.block.as_ref()?.header.as_ref());
        headers.for_each(|header| tree.push(header_hash(header)));
        tree
    }

    /// Checkpoints as a member's node signs them.
    pub(crate) fn checkpoints(&self, member: usize, witnesses: Vec<WitnessAddress>) -> Checkpoints {
        let tree = Arc::new(Mutex::new(self.tree()));
        Checkpoints::new(self.state.network(), key(member), tree, witnesses)
    }

    /// Says something in a member's name that is ordered at once.
    pub(crate) fn say(&mut self, author: usize, body: Body) -> RecordId {
        let record = self.sign(author, body);
        let id = record.id;
        self.block(&[record]);
        id
    }

    /// Orders blocks for as long as any is wanted at a time so much later.
    pub(crate) fn wait(&mut self, passed_ms: u64) {
        self.now_ms += passed_ms;
        while self.state.wants_block(self.now_ms) {
            self.block(&[]);
        }
    }

    fn post_record(&self, author: usize, body: &PostBody, forecast: Option<Forecast>) -> Record {
        let epoch = self.state.epoch_of(self.state.height() + 1);
        wire::sign_post(self.state.network(), &key(author), body, epoch, forecast)
    }

    /// Says something that is ordered at once.
    pub(crate) fn post(&mut self, author: usize, body: &PostBody) -> RecordId {
        self.foretell(author, body, None)
    }

    /// Says something with a forecast.
    pub(crate) fn foretell(
        &mut self,
        author: usize,
        body: &PostBody,
        forecast: Option<Forecast>,
    ) -> RecordId {
        let record = self.post_record(author, body, forecast);
        let id = record.id;
        self.block(&[record]);
        id
    }

    /// Says something that waits to be ordered.
    pub(crate) fn whisper(&mut self, author: usize, body: &PostBody) -> RecordId {
        let record = self.post_record(author, body, None);
        self.board.hear(&record, self.now_ms);
        record.id
    }

    /// Orders something whose body nobody gives.
    pub(crate) fn withhold(&mut self, author: usize, body: &PostBody) -> (RecordId, BlobHash) {
        let mut record = self.post_record(author, body, None);
        record.attachment.clear();
        let hash = post_body(&record).unwrap();
        let id = record.id;
        self.now_ms += 1;
        let header = v1::Header { height: self.state.height(), ..Default::default() };
        let item = v1::LedgerItem {
            block: Some(v1::Block { header: Some(header), records: vec![record.signed] }),
            certificate: None,
        };
        self.board.take_block(self.state.network(), &item, |_| None);
        (id, hash)
    }

    /// Dockets a claim whose author measured `own_ppm`.
    pub(crate) fn docket(
        &mut self,
        author: usize,
        recipe: Recipe,
        parent: Option<ClaimId>,
        summary: &str,
        own_ppm: u64,
    ) -> ClaimId {
        let parent = parent.unwrap_or_else(|| self.state.base_claim());
        let result_seal = opening_seal(peer(author), recipe.id(), &[7; 32], own_ppm, false);
        let record = self.sign(
            author,
            Body::Claim(Claim {
                recipe,
                parent,
                result_seal,
                summary: summary.to_owned(),
                hardware_class: CLASS.to_owned(),
                cites: self.cites.clone(),
            }),
        );
        let id = ClaimId(record.id.0);
        self.block(&[record]);
        id
    }

    /// Orders blocks until the claim has its committee.
    pub(crate) fn draw(&mut self, claim: ClaimId) {
        for _ in 0..2 {
            if self.state.claim(claim).unwrap().latest().unwrap().committee.seats.is_empty() {
                self.block(&[]);
            }
        }
    }

    /// Members on the committee of the claim's latest round.
    pub(crate) fn seated(&self, claim: ClaimId) -> Vec<usize> {
        let round = self.state.claim(claim).unwrap().latest().unwrap();
        (0..NAMES.len()).filter(|index| round.committee.seats.contains(&peer(*index))).collect()
    }

    /// The claim's latest round.
    fn round(&self, claim: ClaimId) -> RoundId {
        self.state.claim(claim).unwrap().latest().unwrap().id(claim)
    }

    fn measurements(&self, claim: ClaimId, truth: Truth) -> Vec<(usize, Measurement)> {
        let claim = self.state.claim(claim).unwrap();
        let round = claim.latest().unwrap();
        let seats = round.committee.seats.iter().map(|seat| {
            let index = (0..NAMES.len()).find(|index| peer(*index) == *seat).unwrap();
            let plan = self.state.plan(claim, round, *seat).unwrap();
            let mut measurement = measurement(&plan, index, truth);
            (self.tamper)(index, &mut measurement);
            (index, measurement)
        });
        seats.collect()
    }

    /// Lets the first `count` seats seal.
    pub(crate) fn seal(&mut self, claim: ClaimId, truth: Truth, count: usize) {
        for (index, measurement) in self.measurements(claim, truth).into_iter().take(count) {
            let round = self.round(claim);
            let commitment = reveal_seal(round, peer(index), &[9; 32], &measurement);
            let record = self.sign(index, Body::Seal(Seal { round, commitment }));
            self.block(&[record]);
        }
    }

    /// Lets the first `count` seats reveal.
    pub(crate) fn reveal(&mut self, claim: ClaimId, truth: Truth, count: usize) {
        for index in self.seated(claim).into_iter().take(count) {
            self.reveal_of(claim, truth, index);
        }
    }

    /// Lets one member on the committee reveal.
    pub(crate) fn reveal_of(&mut self, claim: ClaimId, truth: Truth, member: usize) {
        let mut measurements = self.measurements(claim, truth).into_iter();
        let (_, measurement) = measurements.find(|(index, _)| *index == member).unwrap();
        let reveal = Reveal { round: self.round(claim), salt: [9; 32], measurement };
        let record = self.sign(member, Body::Reveal(Box::new(reveal)));
        self.block(&[record]);
    }

    /// The whole life of a claim.
    pub(crate) fn settle(&mut self, claim: ClaimId, truth: Truth) {
        while self.state.claim(claim).unwrap().is_open() {
            self.draw(claim);
            self.seal(claim, truth, 5);
            self.reveal(claim, truth, 5);
        }
    }

    /// Lets every seat that is drawn for a flag find the same.
    pub(crate) fn judge(&mut self, charge: RecordId, finding: Judgement) {
        let seats = |state: &State| {
            let (number, hearing) = state.ruling(charge).unwrap().open_hearing().unwrap();
            (number, hearing.seats.clone())
        };
        while seats(&self.state).1.is_empty() {
            self.block(&[]);
        }
        let (hearing, drawn) = seats(&self.state);
        let vote = Vote { finding, digest: BlobHash([6; 32]) };
        let mut ballots = Vec::new();
        for index in (0..NAMES.len()).filter(|index| drawn.contains(&peer(*index))) {
            ballots.push(self.sign(index, Body::Ballot(Ballot { charge, hearing, vote })));
        }
        self.block(&ballots);
    }

    /// Lets the author open its result.
    pub(crate) fn open(&mut self, author: usize, claim: ClaimId, ratio_ppm: u64) {
        let opening = Opening { claim, salt: [7; 32], ratio_ppm, null: false };
        let record = self.sign(author, Body::Opening(opening));
        self.block(&[record]);
    }

    /// Lets the sealing deadline pass.
    pub(crate) fn run_out(&mut self) {
        self.now_ms += 600_000;
        self.block(&[]);
    }

    /// A ledger with a claim of every kind, the last ones still open. Returns the claims in the
    /// order docketed.
    pub(crate) fn lively(time_ms: u64) -> (Self, Vec<ClaimId>) {
        let mut world = Self::new(time_ms);
        let base = world.base();
        let bundle = |n: u8| Recipe { bundle: Some(BlobHash([n; 32])), ..base };
        let mut claims = Vec::new();
        let mut life = |world: &mut Self, author, recipe, parent, summary, own, truth| {
            let id = world.docket(author, recipe, parent, summary, own);
            world.settle(id, truth);
            world.open(author, id, own);
            claims.push(id);
            id
        };
        let fused = "fuse RMSNorm into the gate and up projections";
        let first = life(&mut world, 0, bundle(1), None, fused, 1_320_000, Truth::faster(1.304));
        let text = "wider workgroups for the attention softmax";
        life(&mut world, 1, bundle(2), None, text, 1_050_000, Truth::faster(1.002));
        let int4 = Recipe { checkpoint: BlobHash([0xd4; 32]), ..bundle(1) };
        let truth = Truth { ratio: 1.62, lossy: true, perplexity: 33.98 };
        let text = "int4 checkpoint, group 32, scales in f16";
        let second = life(&mut world, 2, int4, Some(first), text, 1_600_000, truth);
        let pruned = Recipe { checkpoint: BlobHash([0xe5; 32]), ..base };
        let truth = Truth { ratio: 2.41, lossy: true, perplexity: 88.4 };
        let text = "prune the head to the 16k most frequent tokens";
        life(&mut world, 3, pruned, None, text, 2_400_000, truth);
        let text = "<script>alert(1)</script>\" onload=x \u{202e}desrever ='A1";
        life(&mut world, 4, bundle(5), None, text, 3_000_000, Truth::faster(0.93));
        let text = "three-row tiles for the down projection";
        let silent = world.docket(5, bundle(6), Some(second), text, 1_100_000);
        world.draw(silent);
        world.seal(silent, Truth::faster(1.0), 2);
        world.run_out();
        claims.push(silent);
        let text = "draft four tokens a step with the MTP drafter";
        let now = world.docket(0, bundle(7), Some(second), text, 1_400_000);
        world.draw(now);
        world.seal(now, Truth::faster(1.4), 3);
        claims.push(now);
        let text = "skip the copy of the last hidden state";
        claims.push(world.docket(1, bundle(8), Some(first), text, 1_020_000));
        (world, claims)
    }
}

fn post_body(record: &Record) -> Option<BlobHash> {
    let Body::Post(post) = &record.body else { return None };
    Some(post.body)
}
