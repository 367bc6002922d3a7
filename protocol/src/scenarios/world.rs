//! Five peers on one clock, with whatever machines a scenario gives them.

use crate::audit::{Auditor, Fault, export_header};
use crate::block::{Proposer, header_hash};
use crate::certificate::{Slot, VoteKind, vote_bytes};
use crate::error::Reject;
use crate::fixtures::{self, key};
use crate::genesis::Genesis;
use crate::ids::{BlobHash, ClaimId, NetworkId, RecordId};
use crate::measurement::Measurement;
use crate::membership::Join;
use crate::peer::{Case, Effect, Input, Peer, Secret};
use crate::plan::Plan;
use crate::pool::applies;
use crate::randomness::{evaluate, vrf_keypair, vrf_public};
use crate::record::{Body, Claim, Opening, Recipe, opening_seal};
use crate::ruling::{Ballot, Judgement, Vote};
use crate::state::State;
use crate::verdict::Outcome;
use crate::wire;
use assay_proto::v1;
use ed25519_dalek::Signer;
use std::collections::BTreeSet;

/// How a simulated machine answers a plan; `None` fails to measure.
pub(super) type Measure = dyn Fn(u8, &Plan) -> Option<Measurement>;
/// How a simulated machine answers a charge.
pub(super) type Judge = dyn Fn(u8, &Case) -> Vote;

/// A finding whose reason is of no matter.
pub(super) fn vote(finding: Judgement) -> Vote {
    Vote { finding, digest: BlobHash([7; 32]) }
}

pub(super) struct World {
    pub(super) peers: Vec<Peer>,
    pub(super) effects: Vec<(usize, Effect)>,
    pub(super) items: Vec<v1::LedgerItem>,
    pub(super) now_ms: u64,
    pub(super) measure: Box<Measure>,
    /// What each machine finds about a charge.
    pub(super) judge: Box<Judge>,
    /// Peers that say nothing any more.
    muted: BTreeSet<u8>,
    /// Peers that do not propose when it is their turn.
    absent: BTreeSet<u8>,
}

impl World {
    pub(super) fn new(measure: impl Fn(u8, &Plan) -> Option<Measurement> + 'static) -> Self {
        Self::of(fixtures::genesis(), measure)
    }

    /// A world with other rules or more peers.
    pub(super) fn of(
        genesis: Genesis,
        measure: impl Fn(u8, &Plan) -> Option<Measurement> + 'static,
    ) -> Self {
        let count = u8::try_from(genesis.members.len()).unwrap();
        let state = State::new(genesis);
        let peers = (0..count).map(|i| Peer::new(fixtures::peer(i), state.clone())).collect();
        let measure = Box::new(measure);
        Self {
            peers,
            effects: Vec::new(),
            items: Vec::new(),
            now_ms: 2_000,
            measure,
            judge: Box::new(|_, _| vote(Judgement::Upheld)),
            muted: BTreeSet::new(),
            absent: BTreeSet::new(),
        }
    }

    pub(super) fn input(&mut self, index: usize, input: Input) {
        let mut effects = Vec::new();
        self.peers[index].step(input, &mut effects).unwrap();
        self.effects.extend(effects.into_iter().map(|effect| (index, effect)));
    }

    pub(super) fn claim(&mut self, author: u8, recipe: Recipe) -> ClaimId {
        let parent = self.peers[0].state().base_claim();
        self.claim_on(parent, author, recipe)
    }

    pub(super) fn claim_on(&mut self, parent: ClaimId, author: u8, recipe: Recipe) -> ClaimId {
        self.submit(parent, author, recipe, false)
    }

    /// Signs a claim; the author knows whether it is a trap.
    pub(super) fn submit(
        &mut self,
        parent: ClaimId,
        author: u8,
        recipe: Recipe,
        null: bool,
    ) -> ClaimId {
        self.submit_citing(parent, author, recipe, null, Vec::new())
    }

    pub(super) fn submit_citing(
        &mut self,
        parent: ClaimId,
        author: u8,
        recipe: Recipe,
        null: bool,
        cites: Vec<RecordId>,
    ) -> ClaimId {
        let network = self.peers[0].network();
        let (salt, ratio_ppm) = ([author; 32], 1_500_000);
        let me = fixtures::peer(author);
        let result_seal = opening_seal(me, recipe.id(), &salt, ratio_ppm, null);
        let summary = "faster".to_owned();
        let body = Body::Claim(Claim {
            recipe,
            parent,
            result_seal,
            summary,
            hardware_class: fixtures::CLASS.to_owned(),
            cites,
        });
        let record = wire::sign(network, &key(author), body);
        let claim = ClaimId(record.id.0);
        self.input(
            author.into(),
            Input::Restore(Secret::Result(Opening { claim, salt, ratio_ppm, null })),
        );
        self.input(author.into(), Input::Own(Box::new(record)));
        claim
    }

    /// Lets a peer say nothing any more.
    pub(super) fn mute(&mut self, number: u8) {
        self.muted.insert(number);
    }

    /// Lets a peer neither say nor propose anything, or be there again.
    pub(super) fn set_absent(&mut self, number: u8, absent: bool) {
        for set in [&mut self.muted, &mut self.absent] {
            if absent {
                set.insert(number)
            } else {
                set.remove(&number)
            };
        }
    }

    /// Carries out effects until none is left.
    pub(super) fn settle_effects(&mut self) {
        while let Some((index, effect)) = self.effects.pop() {
            let number = u8::try_from(index).unwrap();
            match effect {
                Effect::Sign(_) if self.muted.contains(&number) => {}
                Effect::Sign(body) => {
                    let record = wire::sign(self.peers[0].network(), &key(number), *body);
                    self.input(index, Input::Own(Box::new(record)));
                }
                Effect::Join(vouch) => {
                    let vrf = vrf_public(&vrf_keypair(&key(number).to_bytes()));
                    let body = Body::Join(Join { vouch, vrf });
                    let record = wire::sign(self.peers[0].network(), &key(number), body);
                    self.input(index, Input::Own(Box::new(record)));
                }
                Effect::Publish(record) => {
                    let bytes = record.to_gossip();
                    for other in (0..self.peers.len()).filter(|other| *other != index) {
                        let mut effects = Vec::new();
                        self.peers[other].hear(&bytes, &mut effects);
                        self.effects.extend(effects.into_iter().map(|effect| (other, effect)));
                    }
                }
                Effect::Measure(plan) => {
                    assert_eq!(plan.seat, fixtures::peer(number));
                    let (round, salt) = (plan.round, [number + 100; 32]);
                    let outcome = match (self.measure)(number, &plan).map(Box::new) {
                        Some(measurement) => {
                            Input::Measured(Secret::Measurement { round, salt, measurement })
                        }
                        None => Input::MeasureFailed(round),
                    };
                    self.input(index, outcome);
                }
                Effect::Judge(case) => {
                    let vote = (self.judge)(number, &case);
                    let Case { ruling: charge, hearing, .. } = *case;
                    self.input(index, Input::Judged(Ballot { charge, hearing, vote }));
                }
                Effect::Keep(_)
                | Effect::KeepPost(_)
                | Effect::Forget(_)
                | Effect::Order
                | Effect::Settled(_) => {}
            }
        }
    }

    pub(super) fn order_block(&mut self) -> bool {
        let height = self.peers[0].state().height() + 1;
        let validators = validators(&self.peers[0]);
        let turn = usize::try_from(height).unwrap() % validators.len();
        let present = |number: &&u8| !self.absent.contains(number);
        let number = *validators.iter().cycle().skip(turn).find(present).unwrap();
        let proposer = proposer(number, self.peers[0].network(), height);
        let Some(block) = self.peers[usize::from(number)].build(self.now_ms, proposer) else {
            return false;
        };
        let item = certify(&self.peers[0], block);
        for index in 0..self.peers.len() {
            self.input(index, Input::Block(Box::new(item.clone())));
        }
        self.items.push(item);
        true
    }

    /// Orders blocks while anything moves, letting time pass when nothing does.
    pub(super) fn run(&mut self, blocks_max: usize) {
        for _ in 0..blocks_max {
            self.settle_effects();
            let ordered = self.order_block();
            self.now_ms += if ordered { 50 } else { 5_000 };
            if !ordered {
                for index in 0..self.peers.len() {
                    self.input(index, Input::Tick);
                }
            }
        }
        let heads: BTreeSet<_> = self.peers.iter().map(|peer| peer.state().head()).collect();
        assert_eq!(heads.len(), 1);
    }

    /// Says something in a peer's name, whether or not the ledger takes it.
    pub(super) fn say(&mut self, author: u8, body: Body) {
        let record = wire::sign(self.peers[0].network(), &key(author), body);
        self.input(author.into(), Input::Own(Box::new(record)));
    }

    /// What the ledger would answer.
    pub(super) fn refusal(&self, author: u8, body: Body) -> Option<Reject> {
        let record = wire::sign(self.peers[0].network(), &key(author), body);
        applies(self.state(), &record).err()
    }

    pub(super) fn state(&self) -> &State {
        self.peers[0].state()
    }

    pub(super) fn outcome(&self, claim: ClaimId) -> Option<Outcome> {
        self.peers[0].state().claim(claim).unwrap().outcome()
    }

    pub(super) fn audit(&self, items: &[Vec<u8>]) -> Result<Auditor, Fault> {
        let mut auditor = Auditor::new(self.peers[0].state().genesis().clone());
        let header = export_header(self.peers[0].network(), items.len() as u64);
        assert_eq!(auditor.open(&header)?, items.len() as u64);
        for item in items {
            auditor.feed(item)?;
        }
        Ok(auditor)
    }
}

/// The validators of the next height, by the number of their keys.
pub(super) fn validators(peer: &Peer) -> Vec<u8> {
    let set = peer.state().validators();
    (0..64).filter(|number| set.contains_key(&fixtures::peer(*number))).collect()
}

/// What member `number` says as the proposer of a height.
pub(super) fn proposer(number: u8, network: NetworkId, height: u64) -> Proposer {
    let (vrf_output, vrf_proof) = evaluate(&vrf_keypair(&key(number).to_bytes()), network, height);
    Proposer { peer: fixtures::peer(number), vrf_output, vrf_proof }
}

pub(super) fn certify(peer: &Peer, block: v1::Block) -> v1::LedgerItem {
    let header = block.header.as_ref().unwrap();
    let hash = header_hash(header);
    let slot = Slot { network: peer.network(), era: 0, height: header.height, round: 0 };
    let message = vote_bytes(&slot, VoteKind::Precommit, Some(hash));
    let signatures = validators(peer)
        .into_iter()
        .map(|i| v1::CommitSignature {
            validator: fixtures::peer(i).to_vec(),
            signature: key(i).sign(&message).to_bytes().to_vec(),
        })
        .collect();
    let certificate =
        v1::CommitCertificate { height: header.height, round: 0, block: hash.to_vec(), signatures };
    v1::LedgerItem { block: Some(block), certificate: Some(certificate) }
}

pub(super) fn honest(ratio: f64) -> World {
    World::new(move |_, plan| Some(fixtures::measurement(plan, ratio)))
}
