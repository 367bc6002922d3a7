//! Blocks: how one is made and when one extends the ledger.

use crate::error::{BlockError, Reject, field32, mismatch};
use crate::ids::{BlockHash, PeerId, hash_parts};
use crate::merkle;
use crate::randomness::{next_beacon, verify};
use crate::record::Record;
use crate::state::State;
use crate::wire;
use assay_proto::{decode_canonical, limits, v1};
use prost::Message;

/// How far a block's time may run ahead of a validator's clock.
pub const CLOCK_DISPARITY_MS: u64 = 500;

/// Hash of a header: the block's name.
#[must_use]
pub fn header_hash(header: &v1::Header) -> BlockHash {
    BlockHash(hash_parts("assay block v1", &[&header.encode_to_vec()]))
}

/// Merkle root over the records as they travel. The signatures are part of it, so that a header
/// names exactly one sequence of bytes.
fn body_root<'a>(records: impl IntoIterator<Item = &'a v1::SignedRecord>) -> [u8; 32] {
    let leaves: Vec<Vec<u8>> = records.into_iter().map(Message::encode_to_vec).collect();
    merkle::root(leaves.iter().map(Vec::as_slice))
}

/// Reads a block and names it, whatever the state: the hash of its header, which binds every byte
/// of the records.
///
/// # Errors
///
/// [`BlockError`] when the bytes are no block or not the one that their header promises.
pub fn identify(bytes: &[u8]) -> Result<(BlockHash, v1::Block), BlockError> {
    let block: v1::Block = decode_canonical(bytes, limits::BLOCK_BYTES_MAX)?;
    let header = block.header.as_ref().ok_or(BlockError::NoHeader)?;
    let (expected, found) = (body_root(&block.records), field32("body_root", &header.body_root)?);
    if expected != found {
        return Err(mismatch("body_root", hex::encode(expected), hex::encode(found)));
    }
    Ok((header_hash(header), block))
}

/// What a proposer brings to a block besides the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposer {
    /// Its key.
    pub peer: PeerId,
    /// Its verifiable random output on (network, height).
    pub vrf_output: Vec<u8>,
    /// The proof of that output.
    pub vrf_proof: Vec<u8>,
}

/// What is checked of a block besides its hashes.
#[derive(Debug, Clone, Copy)]
enum Depth {
    /// Signatures of records, the random output, the state root.
    Whole,
    /// All but the signatures of records, which were found to verify.
    Signed,
    /// Nothing, because a block stands on it that is believed in.
    Trusted,
    /// The state root, because this is that block.
    TrustedLast,
}

impl State {
    /// Makes the next block from those `records` that apply, in their order, until the block is
    /// full. `None` when none applies and no block is wanted.
    #[must_use]
    pub fn build<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        now_ms: u64,
        proposer: Proposer,
    ) -> Option<v1::Block> {
        let time_ms = now_ms.max(self.time_ms);
        let mut next = self.clone();
        next.events.begin(next.history);
        let mut chosen = Vec::new();
        let mut bytes = 0;
        for record in records {
            let record_bytes = record.signed.encoded_len() + 8;
            let full = chosen.len() == limits::BLOCK_RECORDS_MAX
                || bytes + record_bytes > limits::BLOCK_BYTES_MAX - 1024;
            if full {
                break;
            }
            if next.apply_record(record, self.height + 1).is_ok() {
                next.index.push(&record.id.0);
                bytes += record_bytes;
                chosen.push(record);
            }
        }
        if chosen.is_empty() && !self.wants_block(time_ms) {
            return None;
        }
        next.finish(time_ms, proposer.peer, &proposer.vrf_output);
        let header = v1::Header {
            network: self.network.to_vec(),
            era: 0,
            height: next.height,
            parent: self.head.to_vec(),
            time_ms,
            body_root: body_root(chosen.iter().map(|record| &record.signed)).to_vec(),
            state_root: next.root().to_vec(),
            index_root: next.index.root().to_vec(),
            next_validators: next.validators_hash().to_vec(),
            vrf_output: proposer.vrf_output,
            vrf_proof: proposer.vrf_proof,
            proposer: proposer.peer.to_vec(),
        };
        let records = chosen.into_iter().map(|record| record.signed.clone()).collect();
        Some(v1::Block { header: Some(header), records })
    }

    /// Reads a block and checks it against this state, which stays as it is.
    ///
    /// `now_ms` bounds the block's time in live validation; replay passes `None`.
    ///
    /// # Errors
    ///
    /// [`BlockError`] with the first fault.
    pub fn extended(&self, bytes: &[u8], now_ms: Option<u64>) -> Result<Self, BlockError> {
        let block = decode_canonical(bytes, limits::BLOCK_BYTES_MAX)?;
        let mut next = self.clone();
        next.apply(&block, now_ms)?;
        Ok(next)
    }

    /// Applies a decoded block.
    ///
    /// # Errors
    ///
    /// [`BlockError`] with the first fault. The state is then neither the old nor a new one and
    /// must be thrown away; [`State::extended`] keeps the old.
    pub fn apply(&mut self, block: &v1::Block, now_ms: Option<u64>) -> Result<(), BlockError> {
        self.apply_to(block, now_ms, Depth::Whole)
    }

    /// Applies a decoded block whose records' signatures were found to verify.
    ///
    /// # Errors
    ///
    /// As [`State::apply`].
    pub(crate) fn apply_signed(&mut self, block: &v1::Block) -> Result<(), BlockError> {
        self.apply_to(block, None, Depth::Signed)
    }

    /// Applies a decoded block on which one stands that is believed in, or, as `last`, that block itself:
    /// signatures and random output are not checked, and the state root is in the last one only.
    ///
    /// # Errors
    ///
    /// As [`State::apply`].
    pub(crate) fn apply_trusted(
        &mut self,
        block: &v1::Block,
        last: bool,
    ) -> Result<(), BlockError> {
        self.apply_to(block, None, if last { Depth::TrustedLast } else { Depth::Trusted })
    }

    fn apply_to(
        &mut self,
        block: &v1::Block,
        now_ms: Option<u64>,
        depth: Depth,
    ) -> Result<(), BlockError> {
        let header = block.header.as_ref().ok_or(BlockError::NoHeader)?;
        self.events.begin(self.history);
        self.check_header(header, now_ms, depth)?;
        if block.records.len() > limits::BLOCK_RECORDS_MAX {
            return Err(BlockError::TooManyRecords(block.records.len()));
        }
        if block.records.is_empty() && !self.wants_block(header.time_ms) {
            return Err(BlockError::Empty);
        }
        for (index, signed) in block.records.iter().enumerate() {
            let opened = match depth {
                Depth::Whole => wire::open_signed(self.network, signed.clone()),
                _ => wire::open_unchecked(self.network, signed.clone()),
            };
            let record = opened.map_err(|reason| BlockError::Form { index, reason })?;
            self.apply_record(&record, header.height)
                .map_err(|reason: Reject| BlockError::Record { index, reason })?;
            self.index.push(&record.id.0);
            self.count_record(signed.encoded_len());
            self.put_away();
        }
        let proposer = PeerId(field32("proposer", &header.proposer)?);
        self.finish(header.time_ms, proposer, &header.vrf_output);
        let state_root = match depth {
            Depth::Trusted => field32("state_root", &header.state_root)?,
            _ => self.root(),
        };
        let roots = [
            ("body_root", body_root(&block.records), &header.body_root),
            ("state_root", state_root, &header.state_root),
            ("index_root", self.index.root(), &header.index_root),
            ("next_validators", self.validators_hash(), &header.next_validators),
        ];
        for (field, expected, found) in roots {
            if expected != field32(field, found)? {
                return Err(mismatch(field, hex::encode(expected), hex::encode(found)));
            }
        }
        self.head = header_hash(header);
        Ok(())
    }

    /// Everything a block changes after its records.
    fn finish(&mut self, time_ms: u64, proposer: PeerId, vrf_output: &[u8]) {
        self.height += 1;
        self.time_ms = time_ms;
        self.beacon = next_beacon(self.beacon, vrf_output);
        self.advance(self.height, time_ms);
        self.take_turn(proposer);
    }

    fn check_header(
        &self,
        header: &v1::Header,
        now_ms: Option<u64>,
        depth: Depth,
    ) -> Result<(), BlockError> {
        if header.network != self.network.0 {
            return Err(mismatch("network", self.network, hex::encode(&header.network)));
        }
        if header.era != 0 {
            return Err(mismatch("era", 0, header.era));
        }
        if Some(header.height) != self.height.checked_add(1) {
            return Err(mismatch("height", self.height.saturating_add(1), header.height));
        }
        if header.parent != self.head.0 {
            return Err(mismatch("parent", self.head, hex::encode(&header.parent)));
        }
        let latest_ms = now_ms.map_or(u64::MAX, |now| now.saturating_add(CLOCK_DISPARITY_MS));
        if header.time_ms < self.time_ms || header.time_ms > latest_ms {
            let (time_ms, earliest_ms) = (header.time_ms, self.time_ms);
            return Err(BlockError::Time { time_ms, earliest_ms, latest_ms });
        }
        let proposer = PeerId(field32("proposer", &header.proposer)?);
        let member = self
            .members
            .get(&proposer)
            .filter(|_| self.validators().contains_key(&proposer))
            .ok_or(BlockError::Proposer(proposer))?;
        let (output, proof) = (&header.vrf_output, &header.vrf_proof);
        let whole = matches!(depth, Depth::Whole | Depth::Signed);
        if whole && !verify(member.vrf, self.network, header.height, output, proof) {
            return Err(BlockError::Randomness(proposer));
        }
        Ok(())
    }
}
