//! `assay-testnet ledger`: a ledger of many entries, made by the real rules in this process, to measure
//! auditors with.
//!
//! Five members claim, draw, seal, reveal, open and certify as nodes do, only that nothing is measured:
//! what a seat reports follows from a claim's true gain and noise. A fifth of the claims has a gain.

use crate::layout;
use anyhow::Context;
use assay_node::cli::output::{Format, print};
use assay_node::home::NetworkFile;
use assay_proto::v1;
use assay_protocol::audit::{export_header, export_item};
use assay_protocol::block::{Proposer, header_hash};
use assay_protocol::certificate::{Slot, VoteKind, vote_bytes};
use assay_protocol::draw::Draw;
use assay_protocol::genesis::{Genesis, Member};
use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RoundId};
use assay_protocol::measurement::{ArmReport, Environment, Measurement, Pair, Score, token_digest};
use assay_protocol::plan::{Arm, Plan};
use assay_protocol::randomness::{evaluate, vrf_keypair, vrf_public};
use assay_protocol::record::{
    Body, Claim, Opening, Recipe, Record, Reveal, Seal, opening_seal, reveal_seal,
};
use assay_protocol::state::{Phase, State};
use assay_protocol::verdict::Outcome;
use assay_protocol::wire;
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Members of the network.
const MEMBERS: u8 = 5;
/// Claims measured at a time, and waiting.
const OPEN_MAX: u32 = 64;
/// Parents that claims choose among.
const PARENTS_MAX: usize = 32;
/// Entries beyond this times the base are built upon no more, so that few lead.
const PARENT_RATIO_MAX_PPM: u64 = 1_300_000;
/// The first claim's gain, which leads.
const LEADER_PPM: u64 = 1_500_000;
/// Entries between two words of progress.
const PROGRESS_ENTRIES: u64 = 5_000;
/// Time between two blocks.
const BLOCK_MS: u64 = 2_000;
/// The class of every machine.
const CLASS: &str = "synthetic";

/// What is to be written.
#[derive(Debug)]
pub struct LedgerOptions {
    /// Entries.
    pub entries: u64,
    /// Where to; the network file stands beside it.
    pub out: PathBuf,
    /// Where keys, gains and noise start.
    pub seed: u64,
    /// How to print the result.
    pub format: Format,
}

/// Writes a ledger and its network file.
///
/// # Errors
///
/// When a file cannot be written.
pub fn run(options: &LedgerOptions) -> anyhow::Result<bool> {
    let LedgerOptions { entries, out, seed, format } = options;
    let genesis = genesis(layout::genesis, *seed);
    let network = out.with_extension("json");
    anyhow::ensure!(
        network != *out,
        "the network file would have this name too; choose another ending"
    );
    NetworkFile { genesis: genesis.clone(), bootstrap: Vec::new() }.write(&network)?;
    let file = File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    let mut told = 0;
    let written = write(genesis, *entries, *seed, &mut BufWriter::new(file), |done| {
        if done >= told + PROGRESS_ENTRIES {
            told = done;
            eprintln!("{done} of {entries} entries");
        }
    })?;
    print(*format, &written, |written| {
        let Written { entries, accepted, height, records, bytes } = written;
        format!(
            "entries  {entries}, {accepted} accepted\nblocks   {height}\nrecords  {records}\n\
             bytes    {bytes}\n\nNext: assay audit {} --genesis {}",
            out.display(),
            network.display()
        )
    })?;
    Ok(true)
}

/// A ledger that was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Claims that became entries.
    pub entries: u64,
    /// Of these, accepted ones.
    pub accepted: u64,
    /// Blocks.
    pub height: u64,
    /// Records.
    pub records: u64,
    /// Bytes of the export.
    pub bytes: u64,
}

/// The network's members and rules: those of the local testnet, with room for many claims at a time.
#[must_use]
pub fn genesis(rules: impl FnOnce(Vec<Member>) -> Genesis, seed: u64) -> Genesis {
    let members = (0..MEMBERS).map(|index| {
        let key = key(seed, index);
        Member {
            name: format!("node-{index}"),
            operator: format!("operator-{index}"),
            peer: PeerId(key.verifying_key().to_bytes()),
            vrf: vrf_public(&vrf_keypair(&key.to_bytes())),
            standing: 10,
        }
    });
    let mut genesis = rules(members.collect());
    genesis.name = "synthetic".to_owned();
    genesis.time_ms = 1_700_000_000_000;
    let committee = &mut genesis.committee;
    committee.measuring_max = OPEN_MAX;
    committee.docket_max = OPEN_MAX;
    committee.open_per_operator = OPEN_MAX;
    committee.reserves = 0;
    genesis
}

fn key(seed: u64, index: u8) -> SigningKey {
    let mut bytes = [index; 32];
    for (byte, of_seed) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *byte ^= of_seed;
    }
    SigningKey::from_bytes(&bytes)
}

/// Writes a ledger with so many entries.
///
/// # Errors
///
/// When the file cannot be written, or the rules refuse what should apply.
pub fn write(
    genesis: Genesis,
    entries: u64,
    seed: u64,
    out: &mut (impl Write + Seek),
    mut progress: impl FnMut(u64),
) -> anyhow::Result<Written> {
    genesis.check()?;
    let mut maker = Maker::new(genesis, seed);
    out.write_all(&export_header(maker.state.network(), 0))?;
    let (mut written, mut bytes) = (0, 0);
    while (maker.state.entries().count() as u64) < entries {
        let item = maker.next_item(entries)?;
        let item = export_item(&item);
        out.write_all(&item)?;
        bytes += item.len() as u64;
        written += 1;
        progress(maker.state.entries().count() as u64);
    }
    let header = export_header(maker.state.network(), written);
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header)?;
    out.flush()?;
    let accepted = maker.state.entries().filter(|c| c.outcome() == Some(Outcome::Accepted)).count();
    Ok(Written {
        entries: maker.state.entries().count() as u64,
        accepted: accepted as u64,
        height: written,
        records: maker.state.records(),
        bytes: bytes + header.len() as u64,
    })
}

/// The members, each with what it keeps to itself.
struct Maker {
    state: State,
    keys: Vec<SigningKey>,
    seed: u64,
    now_ms: u64,
    /// Claims made so far.
    made: u64,
    /// What claims may be built on.
    parents: Vec<ClaimId>,
    /// The true gain of open claims, in millionths.
    gains: BTreeMap<ClaimId, u64>,
    openings: BTreeMap<ClaimId, Opening>,
    sealed: BTreeMap<(RoundId, PeerId), ([u8; 32], Measurement)>,
}

impl Maker {
    fn new(genesis: Genesis, seed: u64) -> Self {
        let (now_ms, state) = (genesis.time_ms, State::new(genesis));
        let parents = vec![state.base_claim()];
        let keys = (0..MEMBERS).map(|index| key(seed, index)).collect();
        Self {
            state,
            keys,
            seed,
            now_ms,
            made: 0,
            parents,
            gains: BTreeMap::new(),
            openings: BTreeMap::new(),
            sealed: BTreeMap::new(),
        }
    }

    fn draw(&self, what: &'static str, number: u64) -> Draw {
        Draw::new(what, &[&self.seed.to_le_bytes(), &number.to_le_bytes()])
    }

    fn sign(&self, author: PeerId, body: Body) -> Option<Record> {
        let key = self.keys.iter().find(|key| key.verifying_key().to_bytes() == author.0)?;
        Some(wire::sign(self.state.network(), key, body))
    }

    /// Orders everything that is to be said.
    fn next_item(&mut self, entries: u64) -> anyhow::Result<v1::LedgerItem> {
        self.now_ms += BLOCK_MS;
        let mut records = self.of_seats();
        records.extend(self.of_authors());
        records.extend(self.of_claimants(entries));
        let height = self.state.height() + 1;
        let validators: Vec<PeerId> = self.state.validators().into_keys().collect();
        let turn = usize::try_from(height)? % validators.len();
        let peer = validators[turn];
        let keys = || {
            self.keys
                .iter()
                .filter(|key| validators.contains(&PeerId(key.verifying_key().to_bytes())))
        };
        let own = keys().find(|key| key.verifying_key().to_bytes() == peer.0);
        let own = own.context("a validator without a key")?;
        let network = self.state.network();
        let (vrf_output, vrf_proof) = evaluate(&vrf_keypair(&own.to_bytes()), network, height);
        let proposer = Proposer { peer, vrf_output, vrf_proof };
        let block = self.state.build(&records, self.now_ms, proposer);
        let block = block.context("nothing is to be said, and nothing is due")?;
        let hash = header_hash(block.header.as_ref().context("a block without a header")?);
        let slot = Slot { network, era: 0, height, round: 0 };
        let message = vote_bytes(&slot, VoteKind::Precommit, Some(hash));
        let signatures = keys().map(|key| v1::CommitSignature {
            validator: key.verifying_key().to_bytes().to_vec(),
            signature: key.sign(&message).to_bytes().to_vec(),
        });
        let certificate = v1::CommitCertificate {
            height,
            round: 0,
            block: hash.to_vec(),
            signatures: signatures.collect(),
        };
        self.state.apply(&block, None)?;
        Ok(v1::LedgerItem { block: Some(block), certificate: Some(certificate) })
    }

    /// Seals and reveals that are due.
    fn of_seats(&mut self) -> Vec<Record> {
        let mut bodies = Vec::new();
        for (claim, round) in self.state.open_rounds() {
            let (id, phase) = (round.id(claim.id), round.phase);
            for seat in round.active_seats() {
                match phase {
                    Phase::Sealing { .. } if !round.seals.contains_key(&seat) => {
                        let Some(plan) = self.state.plan(claim, round, seat) else { continue };
                        let gain = self.gains.get(&claim.id).copied().unwrap_or(1_000_000);
                        let measurement = measured(self.state.genesis(), &plan, gain);
                        let salt = plan.reach_seed.to_le_bytes();
                        let salt: [u8; 32] = std::array::from_fn(|i| salt[i % 8]);
                        let commitment = reveal_seal(id, seat, &salt, &measurement);
                        bodies.push((seat, Body::Seal(Seal { round: id, commitment })));
                        self.sealed.insert((id, seat), (salt, measurement));
                    }
                    Phase::Revealing { .. } if !round.reveals.contains_key(&seat) => {
                        let Some((salt, measurement)) = self.sealed.remove(&(id, seat)) else {
                            continue;
                        };
                        let reveal = Reveal { round: id, salt, measurement };
                        bodies.push((seat, Body::Reveal(Box::new(reveal))));
                    }
                    _ => {}
                }
            }
        }
        bodies.into_iter().filter_map(|(seat, body)| self.sign(seat, body)).collect()
    }

    /// Openings of what was settled, and parents from it.
    fn of_authors(&mut self) -> Vec<Record> {
        let mut bodies = Vec::new();
        let settled: BTreeSet<ClaimId> =
            self.state.settled_rounds().iter().map(|round| round.claim).collect();
        for id in settled {
            let Some(claim) = self.state.claim(id).filter(|claim| claim.is_entry()) else {
                continue;
            };
            if let Some(opening) = self.openings.remove(&id) {
                bodies.push((claim.author, Body::Opening(opening)));
            }
            let builds = claim.ratio_to_base_ppm.is_some_and(|ppm| ppm < PARENT_RATIO_MAX_PPM);
            if builds && claim.outcome() == Some(Outcome::Accepted) && !claim.is_open() {
                if self.parents.len() == PARENTS_MAX {
                    // The base stays.
                    self.parents.remove(1);
                }
                self.parents.push(id);
            }
            if !claim.is_open() {
                self.gains.remove(&id);
            }
        }
        bodies.into_iter().filter_map(|(author, body)| self.sign(author, body)).collect()
    }

    /// New claims, as many as the docket has room for.
    fn of_claimants(&mut self, entries: u64) -> Vec<Record> {
        let mut taken: BTreeSet<(PeerId, ClaimId)> =
            self.state.docket().map(|claim| (claim.author, claim.parent)).collect();
        let mut room = usize::try_from(OPEN_MAX).unwrap_or(usize::MAX) - taken.len();
        let mut records = Vec::new();
        let authors: Vec<PeerId> =
            self.keys.iter().map(|key| PeerId(key.verifying_key().to_bytes())).collect();
        // The leader comes first and alone, so that what follows is measured against it.
        if self.made == 1 && self.state.entries().next().is_none() {
            return records;
        }
        for parent in self.parents.clone() {
            for author in &authors {
                if room == 0 || self.made >= entries || !taken.insert((*author, parent)) {
                    continue;
                }
                room -= 1;
                records.extend(self.claim(*author, parent));
                if self.made == 1 {
                    return records;
                }
            }
        }
        records
    }

    fn claim(&mut self, author: PeerId, parent: ClaimId) -> Option<Record> {
        let mut draw = self.draw("assay synthetic claim v1", self.made);
        let gain = match (self.made, draw.below(5)) {
            (0, _) => LEADER_PPM,
            (_, 0) => 1_030_000 + draw.below(30_000),
            _ => 985_000 + draw.below(20_000),
        };
        let mut bundle = [0xb0; 32];
        for (byte, of_number) in bundle.iter_mut().zip(self.made.to_le_bytes()) {
            *byte = of_number;
        }
        let base = self.state.genesis().challenge.base;
        let recipe = Recipe { bundle: Some(BlobHash(bundle)), ..base };
        let salt: [u8; 32] = std::array::from_fn(|_| draw.below(256).to_le_bytes()[0]);
        let claim = Claim {
            recipe,
            parent,
            result_seal: opening_seal(author, recipe.id(), &salt, gain, false),
            summary: format!("synthetic {}", self.made),
            hardware_class: CLASS.to_owned(),
            cites: Vec::new(),
        };
        let record = self.sign(author, Body::Claim(claim))?;
        let claim = ClaimId(record.id.0);
        self.made += 1;
        self.gains.insert(claim, gain);
        self.openings.insert(claim, Opening { claim, salt, ratio_ppm: gain, null: false });
        Some(record)
    }
}

/// What an honest seat reports of a lossless child that is `gain_ppm` as fast, with noise of a percent.
fn measured(genesis: &Genesis, plan: &Plan, gain_ppm: u64) -> Measurement {
    let tokens = genesis.measurement.decode_tokens;
    let scored = u64::from(genesis.challenge.pool.scored_tokens);
    let mut noise = Draw::new("assay synthetic noise v1", &[&plan.reach_seed.to_le_bytes()]);
    let pairs = plan.prompts.iter().map(|prompt| {
        let parent_ns = 1_000_000_000 + noise.below(10_000_000);
        let child_ns = parent_ns * 1_000 / (gain_ppm / 1_000) + noise.below(10_000_000);
        let (x_ns, y_ns) = match plan.child {
            Arm::X => (child_ns, parent_ns),
            Arm::Y => (parent_ns, child_ns),
        };
        let digest = token_digest(&[*prompt]);
        let base_nll_micronats = scored * 3_500_000;
        let score =
            Score { kl_micronats: 0, agreements: tokens, nll_micronats: base_nll_micronats };
        Pair {
            prompt: *prompt,
            x_ns,
            y_ns,
            x_prefill_us: 1_000,
            y_prefill_us: 1_000,
            x_tokens: digest,
            y_tokens: digest,
            x_score: score,
            y_score: score,
            base_nll_micronats,
        }
    });
    let pairs: Vec<Pair> = pairs.collect();
    let count = pairs.len() as u64;
    let decoded = count * u64::from(tokens);
    let arm = ArmReport {
        decoded_tokens: decoded,
        scored_tokens: count * scored,
        path_positions: decoded,
        repeat_positions: u64::from(tokens) + 1,
        shape: [3; 32],
        bytes_per_token: 10_000_000,
        reach_positions: u64::from(genesis.measurement.reach_tokens),
        ..ArmReport::default()
    };
    let environment = Environment {
        adapter: "synthetic adapter".to_owned(),
        hardware_class: CLASS.to_owned(),
        bandwidth_mb_s: 10_000,
        compute_mflop_s: 50_000,
        ..Environment::default()
    };
    Measurement { pairs, x: arm.clone(), y: arm, environment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::audit::{Auditor, EXPORT_HEADER_BYTES, Prover};
    use std::io::Cursor;

    #[test]
    fn the_ledger_passes_the_audit_and_is_the_same_from_the_same_seed() {
        let genesis = genesis(layout::genesis, 3);
        let make = || {
            let mut out = Cursor::new(Vec::new());
            let written = write(genesis.clone(), 70, 3, &mut out, |_| {}).unwrap();
            (written, out.into_inner())
        };
        let (written, file) = make();
        assert_eq!(file, make().1);
        let mut auditor = Auditor::new(genesis.clone());
        let (header, mut rest) = file.split_at(EXPORT_HEADER_BYTES);
        assert_eq!(auditor.open(header).unwrap(), written.height);
        let mut prover = None;
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let (item, more) = more.split_at(u32::from_le_bytes(*length) as usize);
            let item = auditor.feed(item).unwrap();
            let first = auditor.state().claims().next().map(|claim| claim.id);
            if let (None, Some(first)) = (&prover, first) {
                prover = Some(Prover::new(first, &State::new(genesis.clone())));
            }
            if let Some(prover) = &mut prover {
                prover.observe(&item, auditor.state());
            }
            rest = more;
        }
        assert!(written.entries >= 70 && written.accepted > 1, "{written:?}");
        assert_eq!(auditor.checked().entries, written.entries);
        assert_eq!(auditor.state().records(), written.records);
        let proof = prover.and_then(Prover::finish).unwrap();
        assert_eq!(proof.verify(&genesis).unwrap().claim, proof.claim);
    }
}
