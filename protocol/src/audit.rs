//! The audit: replays a ledger from its genesis and names the first thing that is wrong.
//!
//! It needs no node. Every signature, hash, certificate, random output, draw, seal and verdict is
//! checked again by replaying the blocks through [`crate::state::State`], which accepts nothing
//! that it did not recompute.

use crate::genesis::Genesis;
use crate::ids::{BlockHash, NetworkId};
use crate::peer::{ItemError, apply_item};
use crate::state::{Finding, Purpose, State};
use assay_proto::{DecodeError, decode_canonical, limits, v1};
use prost::Message;
use serde::Serialize;

/// First bytes of an exported ledger.
pub const EXPORT_MAGIC: &[u8; 16] = b"assay-ledger-1\0\n";
/// Bytes before the first item: magic, network id, number of items.
pub const EXPORT_HEADER_BYTES: usize = 16 + 32 + 8;

/// What was checked, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Blocks: header fields, roots, parent hashes.
    pub blocks: u64,
    /// Signed records.
    pub records: u64,
    /// Signatures in commit certificates.
    pub certificate_signatures: u64,
    /// Verifiable random outputs.
    pub random_outputs: u64,
    /// Claims that became entries.
    pub entries: u64,
    /// Rounds settled.
    pub rounds: u64,
    /// Of these, second committees of claims that would lead their track.
    pub frontier_rounds: u64,
    /// Of these, challenges by members.
    pub challenges: u64,
    /// Of these, second looks by lot.
    pub reaudits: u64,
    /// Entries that a later round refuted.
    pub debunked: u64,
    /// Committees drawn again.
    pub committees: u64,
    /// Seals compared with what was revealed.
    pub seals: u64,
    /// Verdicts computed again from the raw samples.
    pub verdicts: u64,
}

/// The first thing that is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which entry.
    #[serde(rename = "where")]
    pub place: String,
    /// The rule it breaks.
    pub rule: String,
    /// What was found.
    pub message: String,
}

/// Replays ledger items one by one, in memory that does not grow with their number.
pub struct Auditor {
    state: State,
    checked: Checked,
}

impl Auditor {
    /// An audit from a genesis.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self { state: State::new(genesis), checked: Checked::default() }
    }

    /// The state after everything checked so far.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The counts so far.
    #[must_use]
    pub fn checked(&self) -> Checked {
        self.checked
    }

    /// Checks the header of an export and returns how many items it announces.
    ///
    /// # Errors
    ///
    /// The [`Fault`] found.
    pub fn open(&self, header: &[u8]) -> Result<u64, Fault> {
        let fault = |message: String| Fault {
            place: "header of the export".to_owned(),
            rule: "format".to_owned(),
            message,
        };
        let parts = header
            .split_at_checked(16)
            .and_then(|(magic, rest)| rest.split_at_checked(32).map(|(id, n)| (magic, id, n)));
        let Some((magic, id, count)) = parts else {
            return Err(fault("the file is too short for an exported ledger".to_owned()));
        };
        if magic != EXPORT_MAGIC {
            return Err(fault("the file does not start as an exported ledger does".to_owned()));
        }
        let network = NetworkId::from_slice(id).unwrap_or_default();
        if network != self.state.network() {
            let expected = self.state.network();
            return Err(fault(format!(
                "the ledger is of network {network}, the genesis of {expected}"
            )));
        }
        let count: [u8; 8] =
            count.try_into().map_err(|_| fault("the item count is cut off".to_owned()))?;
        Ok(u64::from_le_bytes(count))
    }

    /// Checks the next item.
    ///
    /// # Errors
    ///
    /// The [`Fault`] found; the audit cannot go on after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let place = format!("entry at height {}", self.state.height() + 1);
        let fault = |rule: &str, message: String| Fault {
            place: place.clone(),
            rule: rule.to_owned(),
            message,
        };
        let item: v1::LedgerItem = decode_canonical(bytes, limits::LEDGER_ITEM_BYTES_MAX)
            .map_err(|e: DecodeError| fault("format", e.to_string()))?;
        apply_item(&mut self.state, &item).map_err(|e| fault(rule_of(&e), e.to_string()))?;
        self.count(&item);
        Ok(())
    }

    /// The head after everything checked so far.
    #[must_use]
    pub fn head(&self) -> BlockHash {
        self.state.head()
    }

    fn count(&mut self, item: &v1::LedgerItem) {
        let records = item.block.as_ref().map_or(&[][..], |block| &block.records);
        let signatures = item.certificate.as_ref().map_or(0, |c| c.signatures.len());
        let checked = &mut self.checked;
        checked.blocks += 1;
        checked.random_outputs += 1;
        checked.records += records.len() as u64;
        checked.certificate_signatures += signatures as u64;
        for (claim, round) in
            self.state.settled_rounds().iter().filter_map(|id| self.state.round(*id))
        {
            checked.rounds += 1;
            match round.purpose {
                Purpose::First => {}
                Purpose::Frontier => checked.frontier_rounds += 1,
                Purpose::Challenge { .. } => checked.challenges += 1,
                Purpose::Audit => checked.reaudits += 1,
            }
            checked.debunked += u64::from(round.finding == Some(Finding::Debunked));
            checked.entries += u64::from(claim.settled_at == round.settled_at);
            checked.verdicts += 1;
            checked.committees += u64::from(!round.committee.seats.is_empty());
            checked.seals += round.reveals.len() as u64;
        }
    }
}

/// The name of the rule that an error stands for.
fn rule_of(error: &ItemError) -> &'static str {
    use crate::error::BlockError;
    match error {
        ItemError::Missing(_) => "format",
        ItemError::Certificate(_) => "commit certificate",
        ItemError::Block(block) => match block {
            BlockError::Decode(_) | BlockError::FieldLength { .. } | BlockError::NoHeader => {
                "format"
            }
            BlockError::Field { field: "parent" | "height", .. } => "hash chain",
            BlockError::Field { field: "state_root", .. } => "state root",
            BlockError::Field { field: "index_root", .. } => "index root",
            BlockError::Field { field: "body_root", .. } => "body root",
            BlockError::Field { .. } => "header",
            BlockError::Time { .. } => "time",
            BlockError::Proposer(_) => "proposer",
            BlockError::Randomness(_) => "random output",
            BlockError::Empty | BlockError::TooManyRecords(_) => "block size",
            BlockError::Record { .. } => "record",
        },
    }
}

/// The header of an export.
#[must_use]
pub fn export_header(network: NetworkId, items: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(EXPORT_HEADER_BYTES);
    out.extend_from_slice(EXPORT_MAGIC);
    out.extend_from_slice(&network.0);
    out.extend_from_slice(&items.to_le_bytes());
    out
}

/// One item of an export: its length as a little-endian u32, then its bytes.
#[must_use]
pub fn export_item(item: &v1::LedgerItem) -> Vec<u8> {
    let bytes = item.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(bytes.len() + 4);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&bytes);
    out
}
