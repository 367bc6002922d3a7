//! A proof about one claim, for somebody who has the genesis and no ledger.
//!
//! ```text
//! signed reveals ─► their seals, in the claim's state
//! claim's state ─► claim hash ─► an event of the history ─► history ─► state root ─► header
//! header ─► block hash ─► commit certificate ─► validators ─► … ─► validators of the genesis
//! ```
//!
//! Between the genesis and the header stand only the blocks that changed the validators, each
//! certified by the set before it.

use super::samples::{self, Reveals, Sample};
use super::{Fault, Rule};
use crate::block::header_hash;
use crate::certificate;
use crate::genesis::Genesis;
use crate::ids::{BlockHash, ClaimId, NetworkId, PeerId, hash_parts};
use crate::state::{
    STATE_DOMAIN, State, next_history, spelling, spelling_digest, validator_set_hash,
};
use crate::wire;
use assay_proto::{decode_canonical, limits, v1};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest proof, in bytes of its JSON.
pub const PROOF_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How a proof names its format.
const FORMAT: &str = "assay-claim-proof-2";
/// Parts of an event of the history, at most.
const EVENT_PARTS_MAX: usize = 8;

/// What a proof rests on besides the genesis and hashes.
pub const PROOF_TRUSTS: [&str; 3] = [
    "more than two thirds of each validator set named, from the genesis's on, then and since: the keys of \
     a set that retired can sign a history that never was",
    "the same validators that the verdict follows from the samples; `assay audit` computes it again",
    "that nothing about the claim changed after this height, for example by a challenge",
];

/// Bytes as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A header with its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certified {
    header: Hex,
    certificate: Hex,
}

/// A block after which other validators sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetChange {
    block: Certified,
    /// The validators from the next height on, with their powers.
    validators: BTreeMap<PeerId, u64>,
}

/// What the ledger had of one claim at one height, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    format: String,
    network: NetworkId,
    /// The claim.
    pub claim: ClaimId,
    /// The claim as its author signed it: a `SignedRecord`.
    record: Hex,
    /// Its state, in the spelling that is hashed.
    state: String,
    /// The reveals that the state names: a `SignedRecord` each.
    reveals: Vec<Hex>,
    /// The history before the block.
    history_before: Hex,
    /// What the block bound into the history.
    events: Vec<Vec<Hex>>,
    /// What the block's state root is the hash of.
    root_parts: Vec<Hex>,
    block: Certified,
    /// How the validators came to be those that certified the block.
    sets: Vec<SetChange>,
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proven {
    /// The claim.
    pub claim: ClaimId,
    /// Its author.
    pub author: PeerId,
    /// The block that its state is of.
    pub height: u64,
    /// That block's hash.
    pub block: BlockHash,
    /// That block's time.
    pub time_ms: u64,
    /// Validators that certified it, and of how many.
    pub signed_by: (usize, usize),
    /// How often the validators changed from the genesis to there.
    pub set_changes: usize,
    /// The claim's state: rounds, seats, seals, verdicts.
    pub state: serde_json::Value,
    /// What the seats measured.
    pub samples: Vec<Sample>,
}

/// Gathers a proof while a ledger is audited.
#[derive(Debug)]
pub struct Prover {
    claim: ClaimId,
    record: Option<Vec<u8>>,
    reveals: Reveals,
    /// The hash of the present validators.
    set: [u8; 32],
    sets: Vec<SetChange>,
    proof: Option<Proof>,
}

impl Prover {
    /// A prover for a claim of the ledger that begins with this state.
    #[must_use]
    pub fn new(claim: ClaimId, start: &State) -> Self {
        let set = start.validators_hash();
        Self {
            claim,
            record: None,
            reveals: Reveals::default(),
            set,
            sets: Vec::new(),
            proof: None,
        }
    }

    /// Looks at an item that was checked, and the state after it.
    pub fn observe(&mut self, item: &v1::LedgerItem, state: &State) {
        let (Some(block), Some(certificate)) = (&item.block, &item.certificate) else { return };
        let Some(header) = &block.header else { return };
        let is_claim = |signed: &&v1::SignedRecord| {
            wire::id_of(state.network(), signed).is_some_and(|id| id.0 == self.claim.0)
        };
        if let Some(signed) = block.records.iter().find(is_claim) {
            self.record = Some(signed.encode_to_vec());
        }
        for signed in &block.records {
            self.reveals.observe(state.network(), self.claim, signed);
        }
        let certified = || Certified {
            header: Hex(header.encode_to_vec()),
            certificate: Hex(certificate.encode_to_vec()),
        };
        if let (Some(claim), Some(record)) = (state.claim(self.claim), &self.record)
            && !state.events().list.is_empty()
        {
            let text = spelling(claim);
            let digest = spelling_digest(&text);
            let mut parts = state.events().list.iter().flatten();
            if parts.any(|part| *part == digest) {
                let hex = |parts: &[Vec<u8>]| parts.iter().cloned().map(Hex).collect();
                self.proof = Some(Proof {
                    format: FORMAT.to_owned(),
                    network: state.network(),
                    claim: self.claim,
                    record: Hex(record.clone()),
                    state: String::from_utf8(text).unwrap_or_default(),
                    reveals: self.reveals.of(claim),
                    history_before: Hex(state.events().before.to_vec()),
                    events: state.events().list.iter().map(|event| hex(event)).collect(),
                    root_parts: hex(&state.root_parts()),
                    block: certified(),
                    sets: self.sets.clone(),
                });
            }
        }
        let next = state.validators_hash();
        if next != self.set {
            self.set = next;
            self.sets.push(SetChange { block: certified(), validators: state.validators() });
        }
    }

    /// The proof of what was bound into the history last; `None` while nothing of the claim was.
    #[must_use]
    pub fn finish(self) -> Option<Proof> {
        self.proof
    }
}

impl Proof {
    /// Reads a proof.
    ///
    /// # Errors
    ///
    /// The [`Fault`] of its form.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let fault = |message: String| Rule::Format.broken("the proof", message);
        if bytes.len() as u64 > PROOF_BYTES_MAX {
            return Err(fault(format!("{} bytes, at most {PROOF_BYTES_MAX}", bytes.len())));
        }
        let proof: Self = serde_json::from_slice(bytes).map_err(|e| fault(e.to_string()))?;
        match proof.format == FORMAT {
            true => Ok(proof),
            false => Err(fault(format!("its format is not {FORMAT}"))),
        }
    }

    /// Checks everything on the genesis.
    ///
    /// # Errors
    ///
    /// The first [`Fault`].
    pub fn verify(&self, genesis: &Genesis) -> Result<Proven, Fault> {
        let network = genesis.network();
        if self.network != network {
            let message = format!("the proof is of network {}, not {network}", self.network);
            return Err(Rule::Format.broken("the proof", message));
        }
        let mut validators = State::new(genesis.clone()).validators();
        let mut height = 0;
        for change in &self.sets {
            let header = certified(network, &change.block, &validators, height)?;
            let place = || format!("validators after height {}", header.height);
            if header.next_validators != validator_set_hash(&change.validators) {
                let message = "the header names other validators than the proof".to_owned();
                return Err(Rule::Validators.broken(place(), message));
            }
            height = header.height;
            validators.clone_from(&change.validators);
        }
        let header = certified(network, &self.block, &validators, height)?;
        self.check_state(&header)?;
        let (author, state) = self.check_claim()?;
        let samples = samples::check(network, self.claim, &self.state, &self.reveals)?;
        Ok(Proven {
            claim: self.claim,
            author,
            height: header.height,
            block: header_hash(&header),
            time_ms: header.time_ms,
            signed_by: (signatures(&self.block), validators.len()),
            set_changes: self.sets.len(),
            state,
            samples,
        })
    }

    /// That the block's state root binds the claim's state.
    fn check_state(&self, header: &v1::Header) -> Result<(), Fault> {
        let place = || format!("entry at height {}", header.height);
        let parts: Vec<&[u8]> = self.root_parts.iter().map(|part| part.0.as_slice()).collect();
        if header.state_root != hash_parts(STATE_DOMAIN, &parts) {
            let message = "the header's state root is not the hash of these parts";
            return Err(Rule::StateRoot.broken(place(), message));
        }
        let mut history: [u8; 32] = self.history_before.0.as_slice().try_into().map_err(|_| {
            Rule::Format.broken(place(), "the history before the block has not 32 bytes")
        })?;
        for event in &self.events {
            let parts: Vec<&[u8]> = event.iter().map(|part| part.0.as_slice()).collect();
            if parts.len() > EVENT_PARTS_MAX {
                return Err(
                    Rule::Format.broken(place(), format!("an event of {} parts", parts.len()))
                );
            }
            history = next_history(history, &parts);
        }
        if parts.last().is_none_or(|last| *last != history) {
            let message = "the state's history does not end with these events";
            return Err(Rule::History.broken(place(), message));
        }
        // Only what a claim's own event binds is its state: such an event has a word and the claim's hash.
        let digest = spelling_digest(self.state.as_bytes());
        let binds = |event: &Vec<Hex>| match event.as_slice() {
            [word, hash] => {
                ![b"ruling".as_slice(), b"proposal"].contains(&word.0.as_slice())
                    && hash.0 == digest
            }
            _ => false,
        };
        match self.events.iter().any(binds) {
            true => Ok(()),
            false => Err(Rule::History.broken(place(), "no event binds the claim's state given")),
        }
    }

    /// That the author signed the claim, and that the state given is its state.
    fn check_claim(&self) -> Result<(PeerId, serde_json::Value), Fault> {
        let place = || format!("claim {}", self.claim);
        let signed: v1::SignedRecord =
            decode_canonical(&self.record.0, limits::RECORD_BYTES_MAX + 1024)
                .map_err(|e| Rule::RecordForm.broken(place(), e.to_string()))?;
        let record = wire::open_signed(self.network, signed)
            .map_err(|e| Rule::RecordSignature.broken(place(), e.to_string()))?;
        if record.id.0 != self.claim.0 {
            return Err(Rule::RecordForm.broken(place(), "the signed record is another one"));
        }
        let state: serde_json::Value = serde_json::from_str(&self.state)
            .map_err(|e| Rule::Format.broken(place(), e.to_string()))?;
        match state.get("id").and_then(|id| id.as_str()) == Some(self.claim.to_string().as_str()) {
            true => Ok((record.author, state)),
            false => Err(Rule::History.broken(place(), "the state given is another claim's")),
        }
    }
}

fn signatures(block: &Certified) -> usize {
    let certificate = v1::CommitCertificate::decode(block.certificate.0.as_slice());
    certificate.map_or(0, |certificate| certificate.signatures.len())
}

/// Reads a header above `height` that these validators certified.
fn certified(
    network: NetworkId,
    block: &Certified,
    validators: &BTreeMap<PeerId, u64>,
    height: u64,
) -> Result<v1::Header, Fault> {
    let unreadable = |e: assay_proto::DecodeError| Rule::Format.broken("the proof", e.to_string());
    let header: v1::Header =
        decode_canonical(&block.header.0, limits::BLOCK_BYTES_MAX).map_err(unreadable)?;
    let certificate: v1::CommitCertificate =
        decode_canonical(&block.certificate.0, limits::LEDGER_ITEM_BYTES_MAX)
            .map_err(unreadable)?;
    let place = || format!("entry at height {}", header.height);
    if header.height <= height {
        let message = format!("not above height {height}");
        return Err(Rule::HashChain.broken(place(), message));
    }
    if header.network != network.0 || header.era != 0 {
        return Err(Rule::Header.broken(place(), "another network or era"));
    }
    let hash = header_hash(&header);
    certificate::verify(network, header.era, &certificate, header.height, hash, validators)
        .map_err(|e| Rule::Certificate.broken(place(), e.to_string()))?;
    Ok(header)
}
