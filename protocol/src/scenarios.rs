//! Whole lives of claims, played by five peers without any network.

use crate::audit::{Auditor, Fault, export_header};
use crate::block::Proposer;
use crate::block::header_hash;
use crate::certificate::{Slot, VoteKind, vote_bytes};
use crate::fixtures::{self, key};
use crate::ids::{ClaimId, PeerId};
use crate::measurement::Measurement;
use crate::peer::{Effect, Input, Peer, Secret};
use crate::plan::Plan;
use crate::randomness::{evaluate, vrf_keypair};
use crate::record::{Body, Claim, Opening, Recipe, Record, opening_seal};
use crate::state::{Phase, State};
use crate::verdict::Outcome;
use crate::wire;
use assay_proto::v1;
use ed25519_dalek::Signer;
use prost::Message;
use std::collections::BTreeSet;

/// How a simulated machine answers a plan; `None` stays silent.
type Measure = dyn Fn(u8, &Plan) -> Option<Measurement>;

struct World {
    peers: Vec<Peer>,
    effects: Vec<(usize, Effect)>,
    items: Vec<v1::LedgerItem>,
    now_ms: u64,
    measure: Box<Measure>,
}

impl World {
    fn new(measure: impl Fn(u8, &Plan) -> Option<Measurement> + 'static) -> Self {
        let state = State::new(fixtures::genesis());
        let peers = (0..5).map(|i| Peer::new(fixtures::peer(i), state.clone())).collect();
        let measure = Box::new(measure);
        Self { peers, effects: Vec::new(), items: Vec::new(), now_ms: 2_000, measure }
    }

    fn input(&mut self, index: usize, input: Input) {
        let mut effects = Vec::new();
        self.peers[index].step(input, &mut effects).unwrap();
        self.effects.extend(effects.into_iter().map(|effect| (index, effect)));
    }

    fn claim(&mut self, author: u8, recipe: Recipe) -> ClaimId {
        let network = self.peers[0].network();
        let parent = self.peers[0].state().base_claim();
        let (salt, ratio_ppm) = ([author; 32], 1_500_000);
        let me = fixtures::peer(author);
        let result_seal = opening_seal(me, recipe.id(), &salt, ratio_ppm);
        let summary = "faster".to_owned();
        let body = Body::Claim(Claim { recipe, parent, result_seal, summary });
        let record = wire::sign(network, &key(author), body);
        let claim = ClaimId(record.id.0);
        self.input(
            author.into(),
            Input::Restore(Secret::Result(Opening { claim, salt, ratio_ppm })),
        );
        self.input(author.into(), Input::Own(Box::new(record)));
        claim
    }

    /// Carries out effects until none is left.
    fn settle_effects(&mut self) {
        while let Some((index, effect)) = self.effects.pop() {
            let number = u8::try_from(index).unwrap();
            match effect {
                Effect::Sign(body) => {
                    let record = wire::sign(self.peers[0].network(), &key(number), body);
                    self.input(index, Input::Own(Box::new(record)));
                }
                Effect::Publish(record) => {
                    let bytes = record.signed.encode_to_vec();
                    for other in (0..self.peers.len()).filter(|other| *other != index) {
                        let mut effects = Vec::new();
                        self.peers[other].hear(&bytes, &mut effects);
                        self.effects.extend(effects.into_iter().map(|effect| (other, effect)));
                    }
                }
                Effect::Measure(plan) => {
                    assert_eq!(plan.seat, fixtures::peer(number));
                    if let Some(measurement) = (self.measure)(number, &plan) {
                        let measurement = Box::new(measurement);
                        let (claim, salt) = (plan.claim, [number + 100; 32]);
                        let secret = Secret::Measurement { claim, salt, measurement };
                        self.input(index, Input::Measured(secret));
                    }
                }
                Effect::Keep(_) | Effect::Forget(_) | Effect::Order | Effect::Settled(_) => {}
            }
        }
    }

    fn order_block(&mut self) -> bool {
        let height = self.peers[0].state().height() + 1;
        let number = u8::try_from(height % 5).unwrap();
        let (vrf_output, vrf_proof) =
            evaluate(&vrf_keypair(&key(number).to_bytes()), self.peers[0].network(), height);
        let proposer = Proposer { peer: fixtures::peer(number), vrf_output, vrf_proof };
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
    fn run(&mut self, blocks_max: usize) {
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

    fn outcome(&self, claim: ClaimId) -> Option<Outcome> {
        self.peers[0].state().claim(claim).unwrap().outcome()
    }

    fn audit(&self, items: &[Vec<u8>]) -> Result<Auditor, Fault> {
        let mut auditor = Auditor::new(fixtures::genesis());
        let header = export_header(self.peers[0].network(), items.len() as u64);
        assert_eq!(auditor.open(&header)?, items.len() as u64);
        for item in items {
            auditor.feed(item)?;
        }
        Ok(auditor)
    }
}

fn certify(peer: &Peer, block: v1::Block) -> v1::LedgerItem {
    let header = block.header.as_ref().unwrap();
    let hash = header_hash(header);
    let slot = Slot { network: peer.network(), era: 0, height: header.height, round: 0 };
    let message = vote_bytes(&slot, VoteKind::Precommit, Some(hash));
    let signatures = (0..4)
        .map(|i| v1::CommitSignature {
            validator: fixtures::peer(i).to_vec(),
            signature: key(i).sign(&message).to_bytes().to_vec(),
        })
        .collect();
    let certificate =
        v1::CommitCertificate { height: header.height, round: 0, block: hash.to_vec(), signatures };
    v1::LedgerItem { block: Some(block), certificate: Some(certificate) }
}

fn honest(ratio: f64) -> World {
    World::new(move |_, plan| Some(fixtures::measurement(plan, ratio)))
}

#[test]
fn a_real_gain_is_accepted_and_the_author_opens() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    assert_eq!(world.outcome(claim), Some(Outcome::Accepted));
    let state = world.peers[0].state().claim(claim).unwrap();
    let verdict = state.verdict.as_ref().unwrap();
    let ratio = verdict.ratio.unwrap();
    assert!(ratio.low_ppm < ratio.ppm && ratio.ppm < ratio.high_ppm);
    assert!(ratio.ppm.abs_diff(1_300_000) < 10_000, "{ratio:?}");
    assert!(verdict.lossless);
    assert_eq!(verdict.attested_by.len(), 3);
    assert!(!verdict.attested_by.contains(&fixtures::peer(0)), "an author never sits");
    assert_eq!(state.opening.as_ref().unwrap().ratio_ppm, 1_500_000);
    for seat in &verdict.attested_by {
        assert_eq!(world.peers[0].state().members()[seat].standing, 11);
    }
}

#[test]
fn a_tie_is_refuted_by_the_speed_gate() {
    let mut world = honest(1.0);
    let claim = world.claim(1, fixtures::child_recipe(9));
    world.run(20);
    assert_eq!(world.outcome(claim), Some(Outcome::Refuted));
}

#[test]
fn speed_bought_with_other_tokens_is_refuted() {
    let mut world = World::new(|_, plan| {
        let mut measurement = fixtures::measurement(plan, 2.0);
        fixtures::child(plan, &mut measurement).identity_breaks = 200;
        fixtures::rescore(plan, &mut measurement, &mut |score, _| {
            score.agreements = 5;
            score.kl_micronats = 32 * 3_000_000;
        });
        Some(measurement)
    });
    let claim = world.claim(1, fixtures::child_recipe(9));
    world.run(20);
    let state = world.peers[0].state().claim(claim).unwrap();
    assert_eq!(state.outcome(), Some(Outcome::Refuted));
    assert!(!state.verdict.as_ref().unwrap().lossless);
}

#[test]
fn a_reserve_steps_in_for_a_silent_seat() {
    let silent = std::cell::Cell::new(None);
    let mut world = World::new(move |number, plan| {
        let first = silent.get().unwrap_or(number);
        silent.set(Some(first));
        (number != first).then(|| fixtures::measurement(plan, 1.3))
    });
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    let state = world.peers[0].state().claim(claim).unwrap();
    assert_eq!(state.outcome(), Some(Outcome::Accepted));
    assert_eq!(state.reserves_called, 1);
    let standings = world.peers[0].state().members().values();
    assert_eq!(standings.filter(|member| member.standing == 9).count(), 1);
}

#[test]
fn without_a_quorum_nothing_is_decided() {
    let mut world = World::new(|_, _| None);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(60);
    assert_eq!(world.outcome(claim), Some(Outcome::Inconclusive));
    assert!(world.peers[0].state().docket().next().is_none());
}

#[test]
fn claims_take_turns_and_a_recipe_is_docketed_once() {
    let mut world = honest(1.2);
    let first = world.claim(0, fixtures::child_recipe(1));
    let second = world.claim(1, fixtures::child_recipe(2));
    let again = world.claim(2, fixtures::child_recipe(1));
    world.settle_effects();
    world.order_block();
    for _ in 0..12 {
        world.settle_effects();
        world.order_block();
        world.now_ms += 50;
        let state = world.peers[3].state();
        let measured = state.docket().filter(|claim| claim.phase != Phase::Docketed);
        assert!(measured.count() <= 1);
    }
    world.run(20);
    let state = world.peers[0].state();
    // Two authors raced for one recipe; whoever was ordered first has it.
    assert!(state.claim(first).is_some() != state.claim(again).is_some());
    assert_eq!(world.outcome(second), Some(Outcome::Accepted));
}

#[test]
fn an_idle_ledger_makes_no_blocks() {
    let mut world = honest(1.2);
    world.run(10);
    assert_eq!(world.items.len(), 0);
    world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let ordered = world.items.len();
    world.run(30);
    assert_eq!(world.items.len(), ordered);
}

#[test]
fn the_audit_agrees_and_every_flipped_byte_is_found() {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let auditor = world.audit(&items).unwrap();
    assert_eq!(auditor.head(), world.peers[0].state().head());
    let checked = auditor.checked();
    assert_eq!((checked.verdicts, checked.seals, checked.committees), (1, 3, 1));
    assert_eq!(checked.blocks, items.len() as u64);

    for (index, item) in items.iter().enumerate() {
        // A stride that is coprime to every field length visits all kinds of bytes; the first and
        // last ones are where framing lives.
        let positions = (0..item.len()).step_by(37).chain([0, 1, item.len() - 1]);
        for position in positions {
            let mut damaged = items.clone();
            damaged[index][position] ^= 1 << (position % 8);
            let fault = world.audit(&damaged).err();
            let fault = fault.unwrap_or_else(|| panic!("item {index}, byte {position}"));
            assert_eq!(fault.place, format!("entry at height {}", index + 1));
        }
    }
}

#[test]
fn dropped_reordered_and_foreign_items_are_found() {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let mut dropped = items.clone();
    dropped.remove(1);
    assert_eq!(world.audit(&dropped).err().unwrap().place, "entry at height 2");
    let mut swapped = items.clone();
    swapped.swap(1, 2);
    assert_eq!(world.audit(&swapped).err().unwrap().rule, "hash chain");
    let auditor = Auditor::new(fixtures::genesis());
    assert!(auditor.open(&export_header(crate::ids::NetworkId([0; 32]), 1)).is_err());
    assert!(auditor.open(b"short").is_err());
}

#[test]
fn a_proposer_cannot_sneak_anything_into_a_block() {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.settle_effects();
    world.order_block();
    world.order_block();
    let state = world.peers[0].state().clone();
    let good = world.items.last().unwrap().block.clone().unwrap();
    let before = {
        let mut auditor = Auditor::new(fixtures::genesis());
        auditor.feed(&world.items[0].encode_to_vec()).unwrap();
        auditor.state().clone()
    };
    assert_eq!(before.extended(&good.encode_to_vec(), None).unwrap(), state);
    type Change = fn(&mut v1::Header);
    let changes: [Change; 8] = [
        |h| h.time_ms = 0,
        |h| h.state_root = vec![0; 32],
        |h| h.index_root = vec![0; 31],
        |h| h.vrf_output = vec![1; 32],
        |h| h.proposer = PeerId([1; 32]).to_vec(),
        |h| h.era = 1,
        |h| h.next_validators = vec![2; 32],
        |h| h.parent = vec![0; 32],
    ];
    for change in changes {
        let mut bad = good.clone();
        change(bad.header.as_mut().unwrap());
        assert!(before.extended(&bad.encode_to_vec(), None).is_err());
    }
    assert!(before.extended(&good.encode_to_vec(), Some(0)).is_err(), "time ahead of the clock");
}

#[test]
fn hostile_records_are_told_from_useless_ones() {
    use crate::peer::Heard;
    let mut world = honest(1.3);
    let network = world.peers[0].network();
    let claim = |name: &str| {
        let summary = name.to_owned();
        let parent = fixtures::genesis().base_claim();
        Body::Claim(Claim {
            recipe: fixtures::child_recipe(1),
            parent,
            result_seal: [0; 32],
            summary,
        })
    };
    let mut hear = |bytes: &[u8]| world.peers[0].hear(bytes, &mut Vec::new());
    let good = wire::sign(network, &key(1), claim("fine")).signed.encode_to_vec();
    assert_eq!(hear(&good), Heard::Fresh);
    assert_eq!(hear(&good), Heard::Known);
    let stranger = wire::sign(network, &key(77), claim("stranger")).signed.encode_to_vec();
    assert!(matches!(hear(&stranger), Heard::Useless(_)));
    let elsewhere = wire::sign(crate::ids::NetworkId([1; 32]), &key(1), claim("x"));
    assert!(matches!(hear(&elsewhere.signed.encode_to_vec()), Heard::Misbehaviour(_)));
    let control = wire::sign(network, &key(1), claim("\u{1b}[2J")).signed.encode_to_vec();
    assert!(matches!(hear(&control), Heard::Misbehaviour(_)));
    for cut in 0..good.len() {
        assert!(matches!(hear(&good[..cut]), Heard::Misbehaviour(_)), "cut at {cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(hear(&longer), Heard::Misbehaviour(_)));
}

/// A seat whose record is damaged in flight is never taken for another's.
#[test]
fn a_copied_seal_does_not_open() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.settle_effects();
    for _ in 0..3 {
        world.order_block();
    }
    let state = world.peers[0].state();
    let seats: Vec<PeerId> = state.claim(claim).unwrap().committee.seats.clone();
    let plan = state.plan(state.claim(claim).unwrap(), seats[0]).unwrap();
    let measurement = fixtures::measurement(&plan, 1.3);
    let original = crate::record::reveal_seal(claim, seats[0], &[1; 32], &measurement);
    let copied = crate::record::reveal_seal(claim, seats[1], &[1; 32], &measurement);
    assert_ne!(original, copied);
}

/// Bytes that decode as a record of each kind keep their meaning through the wire.
#[test]
fn records_read_back_what_was_signed() {
    let network = State::new(fixtures::genesis()).network();
    let plan = {
        let genesis = fixtures::genesis();
        let subject = crate::plan::Subject {
            beacon: crate::ids::Beacon([1; 32]),
            claim: ClaimId([2; 32]),
            parent: genesis.challenge.base,
            child: fixtures::child_recipe(1),
        };
        crate::plan::plan(&genesis, &subject, fixtures::peer(1))
    };
    let bodies = [
        Body::Seal(crate::record::Seal { claim: ClaimId([2; 32]), commitment: [3; 32] }),
        Body::Reveal(Box::new(crate::record::Reveal {
            claim: ClaimId([2; 32]),
            salt: [4; 32],
            measurement: fixtures::measurement(&plan, 1.1),
        })),
        Body::Opening(Opening { claim: ClaimId([2; 32]), salt: [5; 32], ratio_ppm: 7 }),
    ];
    for body in bodies {
        let record: Record = wire::sign(network, &key(1), body);
        assert_eq!(wire::open(network, &record.signed.encode_to_vec()), Ok(record));
    }
}
