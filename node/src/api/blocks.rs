//! Blocks as rows: what was ordered when, by whom, and who signed that it was.

use super::claims::Named;
use super::records::RecordRow;
use super::view::View;
use assay_proto::v1;
use assay_protocol::block::header_hash;
use assay_protocol::certificate::{Slot, VoteKind, vote_bytes};
use assay_protocol::ids::{BlockHash, NetworkId, PeerId};
use assay_protocol::state::State;
use prost::Message;
use serde::Serialize;

/// Blocks whose proposers and signers the table of validators counts.
pub(super) const TALLIED_BLOCKS: u64 = 100;

/// A block in a line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BlockRow {
    pub(super) height: u64,
    pub(super) hash: BlockHash,
    pub(super) time_ms: u64,
    /// Who made it.
    pub(super) proposer: Named,
    /// Records in it.
    pub(super) records: usize,
    /// Their kinds, each once, in the order in which they come.
    pub(super) kinds: Vec<&'static str>,
    /// Validators whose signature is in the certificate that this node has.
    pub(super) signed: usize,
    /// Round of the ordering protocol in which it was decided.
    pub(super) round: u32,
    /// Its size, certificate aside.
    pub(super) bytes: usize,
}

/// A block with everything in it.
#[derive(Debug, Serialize)]
pub(super) struct BlockView {
    /// Its records, in their order.
    pub(super) ordered: Vec<RecordRow>,
    #[serde(flatten)]
    pub(super) row: BlockRow,
    pub(super) parent: BlockHash,
    pub(super) body_root: String,
    pub(super) state_root: String,
    pub(super) index_root: String,
    pub(super) next_validators: String,
    pub(super) vrf_output: String,
    pub(super) signers: Vec<SignerRow>,
}

/// A signature under a block.
#[derive(Debug, Serialize)]
pub(super) struct SignerRow {
    pub(super) validator: Named,
    /// Whether it is that validator's, over this block, height and round.
    pub(super) verifies: bool,
}

/// A validator with what it did in the latest blocks.
#[derive(Debug, Serialize)]
pub(super) struct ValidatorRow {
    pub(super) validator: Named,
    pub(super) operator: String,
    pub(super) standing: u64,
    /// Votes that it has.
    pub(super) power: u64,
    /// Height at which it proposed last, or took its place.
    pub(super) heard_at: Option<u64>,
    /// Of the latest blocks, those that it proposed.
    pub(super) proposed: usize,
    /// Of the latest blocks, those whose certificate on this node has its signature.
    pub(super) signed: usize,
    /// How many blocks these are.
    pub(super) of: usize,
}

/// A hash of a header's field; zeros where it has another length, which no applied block has.
fn hash32(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}

fn named(state: &State, key: &[u8]) -> Named {
    Named::new(state, PeerId(hash32(key)))
}

/// Header of a block that the ledger has applied, which therefore has one.
fn header(item: &v1::LedgerItem) -> Option<&v1::Header> {
    item.block.as_ref()?.header.as_ref()
}

impl BlockRow {
    fn new(state: &State, item: &v1::LedgerItem) -> Option<Self> {
        let (block, header) = (item.block.as_ref()?, header(item)?);
        let mut kinds = Vec::new();
        for signed in &block.records {
            let kind = RecordRow::kind_of(signed);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Some(Self {
            height: header.height,
            hash: header_hash(header),
            time_ms: header.time_ms,
            proposer: named(state, &header.proposer),
            records: block.records.len(),
            kinds,
            signed: item.certificate.as_ref().map_or(0, |c| c.signatures.len()),
            round: item.certificate.as_ref().map_or(0, |certificate| certificate.round),
            bytes: block.encoded_len(),
        })
    }
}

/// The block at a height. One that cannot be read is left out of what is shown, and named in the node's log.
pub(super) fn readable(view: &dyn View, height: u64) -> Option<v1::LedgerItem> {
    match view.block(height) {
        Ok(item) => item,
        Err(error) => {
            tracing::warn!(height, %error, "block cannot be read");
            None
        }
    }
}

/// At most `limit` blocks from height `from` down, newest first.
pub(super) fn rows(view: &dyn View, state: &State, from: u64, limit: u64) -> Vec<BlockRow> {
    let newest = from.min(state.height());
    let heights = (newest.saturating_sub(limit) + 1..=newest).rev();
    let items = heights.filter_map(|height| readable(view, height));
    items.filter_map(|item| BlockRow::new(state, &item)).collect()
}

/// One block.
///
/// # Errors
///
/// What to tell the reader.
pub(super) fn block(view: &dyn View, state: &State, height: u64) -> Result<BlockView, String> {
    if height == 0 || height > state.height() {
        return Err(format!("block {height} is not there: the ledger has 1 to {}", state.height()));
    }
    let item = view.block(height)?.ok_or_else(|| format!("block {height} is not stored here"))?;
    let row = BlockRow::new(state, &item).ok_or("the block has no header")?;
    let header = header(&item).ok_or("the block has no header")?;
    let records = item.block.as_ref().map_or(&[][..], |block| &block.records);
    let hex32 = |bytes: &[u8]| hex::encode(hash32(bytes));
    Ok(BlockView {
        parent: BlockHash(hash32(&header.parent)),
        body_root: hex32(&header.body_root),
        state_root: hex32(&header.state_root),
        index_root: hex32(&header.index_root),
        next_validators: hex32(&header.next_validators),
        vrf_output: hex::encode(&header.vrf_output),
        ordered: records
            .iter()
            .zip(0..)
            .map(|(one, place)| RecordRow::new(state, one, place))
            .collect(),
        signers: signers(state, &item, row.hash),
        row,
    })
}

fn signers(state: &State, item: &v1::LedgerItem, hash: BlockHash) -> Vec<SignerRow> {
    let Some(certificate) = &item.certificate else { return Vec::new() };
    let era = header(item).map_or(0, |header| header.era);
    let row = |entry: &v1::CommitSignature| SignerRow {
        validator: named(state, &entry.validator),
        verifies: verifies(state.network(), era, certificate, entry, hash),
    };
    certificate.signatures.iter().map(row).collect()
}

fn verifies(
    network: NetworkId,
    era: u64,
    certificate: &v1::CommitCertificate,
    entry: &v1::CommitSignature,
    hash: BlockHash,
) -> bool {
    let slot = Slot { network, era, height: certificate.height, round: certificate.round };
    let message = vote_bytes(&slot, VoteKind::Precommit, Some(hash));
    PeerId(hash32(&entry.validator)).has_signed(&message, &entry.signature)
}

/// The validators of the next height, by falling standing, with what they did in the latest blocks.
pub(super) fn validators(view: &dyn View, state: &State) -> Vec<ValidatorRow> {
    let newest = state.height();
    let heights = newest.saturating_sub(TALLIED_BLOCKS) + 1..=newest;
    let items: Vec<v1::LedgerItem> = heights.filter_map(|height| readable(view, height)).collect();
    let mut rows: Vec<ValidatorRow> = state
        .validators()
        .into_iter()
        .map(|(peer, power)| {
            let member = state.members().get(&peer);
            let proposed = |item: &&v1::LedgerItem| {
                header(item).is_some_and(|header| header.proposer == peer.0)
            };
            let signed = |item: &&v1::LedgerItem| {
                let signatures = item.certificate.iter().flat_map(|c| &c.signatures);
                signatures.into_iter().any(|entry| entry.validator == peer.0)
            };
            ValidatorRow {
                validator: Named::new(state, peer),
                operator: member.map(|member| member.operator.clone()).unwrap_or_default(),
                standing: member.map_or(0, |member| member.standing),
                power,
                heard_at: state.turns().heard_at.get(&peer).copied(),
                proposed: items.iter().filter(proposed).count(),
                signed: items.iter().filter(signed).count(),
                of: items.len(),
            }
        })
        .collect();
    rows.sort_by(|a, b| {
        b.standing.cmp(&a.standing).then_with(|| a.validator.name.cmp(&b.validator.name))
    });
    rows
}
