//! The audit: replays a ledger from its genesis and names the first thing that is wrong.
//!
//! It needs no node. Every signature, hash, certificate, random output, draw, seal and verdict is
//! checked again by replaying the blocks through [`crate::state::State`], which accepts nothing
//! that it did not recompute.
//!
//! - `rule` names the rules that a ledger can break.
//! - `screen` checks signatures ahead of the replay, `batch` many at once.
//! - `trail` notes everything that decided one claim.
//! - `proof` is what of one claim can be shown to somebody who has the genesis and no ledger.

mod batch;
mod proof;
mod rule;
mod samples;
mod screen;
mod trail;

pub use proof::{PROOF_BYTES_MAX, PROOF_TRUSTS, Proof, Proven, Prover};
pub use rule::Rule;
pub use samples::Sample;
pub use screen::{Screened, Screener};
pub use trail::{Event, Trail};

use crate::genesis::Genesis;
use crate::ids::{BlockHash, ClaimId, NetworkId, RecordId};
use crate::item::{apply_item, apply_signed_item, apply_trusted_item};
use crate::state::{Archive, ArchiveError, Finding, Purpose, State};
use crate::wire;
use assay_proto::v1;
use prost::Message;
use serde::Serialize;
use std::sync::Arc;

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
    /// The name of the rule it breaks, see [`Rule::name`].
    pub rule: String,
    /// That rule's code, see [`Rule::code`].
    pub code: String,
    /// What was found.
    pub message: String,
}

/// A block that the auditor is told to believe in, with all that it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: BlockHash,
}

/// What is not checked again up to a trusted block. Every byte is still bound to it by hashes.
pub const NOT_RECHECKED: [&str; 4] = [
    "signatures of records",
    "signatures in commit certificates",
    "verifiable random outputs",
    "state roots before the trusted block's own",
];

/// Replays ledger items one by one.
pub struct Auditor {
    state: State,
    checked: Checked,
    trusted: Option<Checkpoint>,
}

impl Auditor {
    /// An audit from a genesis.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self { state: State::new(genesis), checked: Checked::default(), trusted: None }
    }

    /// An audit from a genesis that believes in one block: up to it, [`NOT_RECHECKED`]. Where the ledger
    /// has another block at that height, or none, that is a fault.
    #[must_use]
    pub fn trusting(genesis: Genesis, checkpoint: Checkpoint) -> Self {
        Self { trusted: Some(checkpoint), ..Self::new(genesis) }
    }

    /// The same audit with an archive for closed claims, of which it then holds no more than some in memory; see
    /// [`CLAIMS_IN_MEMORY`](crate::state::CLAIMS_IN_MEMORY).
    #[must_use]
    pub fn with_archive(mut self, archive: Arc<dyn Archive>, in_memory_max: usize) -> Self {
        self.state.use_archive(archive, in_memory_max);
        self
    }

    /// Why nothing that the audit says is worth anything, if its archive failed.
    #[must_use]
    pub fn archive_error(&self) -> Option<&ArchiveError> {
        self.state.archive_error()
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
        let fault = |message: String| Rule::Format.broken("header of the export", message);
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

    /// What checks the signatures of items before their turn.
    #[must_use]
    pub fn screener(&self) -> Screener {
        let trusted = self.trusted.map_or(0, |checkpoint| checkpoint.height);
        Screener::new(self.state.network(), trusted.saturating_add(1))
    }

    /// Checks the next item and returns it.
    ///
    /// # Errors
    ///
    /// The [`Fault`] found; the audit cannot go on after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<v1::LedgerItem, Fault> {
        self.feed_screened(Screened::read(bytes))
    }

    /// Checks the next item, at whose signatures this auditor's [`Screener`] looked, and returns it.
    ///
    /// # Errors
    ///
    /// As [`Auditor::feed`].
    pub fn feed_screened(&mut self, screened: Screened) -> Result<v1::LedgerItem, Fault> {
        let height = self.state.height().saturating_add(1);
        let place = || format!("entry at height {height}");
        let Screened { item, signed } = screened;
        let item = item.map_err(|e| Rule::Format.broken(place(), e.to_string()))?;
        let trusted = self.trusted.filter(|checkpoint| height <= checkpoint.height);
        let applied = match trusted {
            None if signed => apply_signed_item(&mut self.state, &item),
            None => apply_item(&mut self.state, &item),
            Some(Checkpoint { height: last, .. }) => {
                apply_trusted_item(&mut self.state, &item, height == last)
            }
        };
        applied.map_err(|e| Rule::of(&e, &item).broken(place(), e.to_string()))?;
        if let Some(checkpoint) = trusted.filter(|checkpoint| checkpoint.height == height)
            && self.state.head() != checkpoint.hash
        {
            let (found, expected) = (self.state.head(), checkpoint.hash);
            let message = format!("the block here is {found}, the one trusted is {expected}");
            return Err(Rule::Checkpoint.broken(place(), message));
        }
        self.count(&item, trusted.is_none());
        self.state.put_away();
        Ok(item)
    }

    /// Ends the audit.
    ///
    /// # Errors
    ///
    /// The [`Fault`] that the ledger ends before the block that was to be trusted.
    pub fn close(&self) -> Result<(), Fault> {
        let height = self.state.height();
        match self.trusted {
            Some(Checkpoint { height: trusted, .. }) if height < trusted => {
                let message = format!("the block trusted is at height {trusted}, beyond the end");
                Err(Rule::Checkpoint
                    .broken(format!("end of the ledger at height {height}"), message))
            }
            _ => Ok(()),
        }
    }

    /// The head after everything checked so far.
    #[must_use]
    pub fn head(&self) -> BlockHash {
        self.state.head()
    }

    fn count(&mut self, item: &v1::LedgerItem, whole: bool) {
        let records = item.block.as_ref().map_or(&[][..], |block| &block.records);
        let signatures = item.certificate.as_ref().map_or(0, |c| c.signatures.len());
        let checked = &mut self.checked;
        checked.blocks += 1;
        if whole {
            checked.random_outputs += 1;
            checked.records += records.len() as u64;
            checked.certificate_signatures += signatures as u64;
        }
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

/// The claims of a block whose ids begin with `digits`, whether or not they apply.
pub fn claims_beginning<'a>(
    network: NetworkId,
    item: &'a v1::LedgerItem,
    digits: &'a str,
) -> impl Iterator<Item = ClaimId> + 'a {
    let records = item.block.iter().flat_map(|block| &block.records);
    records
        .filter(|signed| rule::kind_of(signed) == rule::CLAIM)
        .filter_map(move |signed| wire::id_of(network, signed))
        .map(|RecordId(id)| ClaimId(id))
        .filter(move |id| id.to_string().starts_with(digits))
}
