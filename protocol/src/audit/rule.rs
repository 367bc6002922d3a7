//! The rules that a ledger can break, with names and codes that stay.

use super::Fault;
use crate::error::{BlockError, Reject};
use crate::item::ItemError;
use assay_proto::v1;

/// A rule of `protocol/LEDGER.md` §5, in the order in which they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The framing of the file, the encoding of messages, the lengths of header fields.
    Format,
    /// The commit certificate.
    Certificate,
    /// Network and era of a header.
    Header,
    /// Height and parent.
    HashChain,
    /// Block time.
    Time,
    /// Who proposed.
    Proposer,
    /// The proposer's verifiable random output.
    RandomOutput,
    /// Too many records, or none where nothing is due.
    BlockSize,
    /// The form of a record.
    RecordForm,
    /// A signature of a record, or within one.
    RecordSignature,
    /// A record of somebody who may say nothing.
    RecordAuthor,
    /// The rule of one kind of record, by its number in the `oneof` of the message `Record`.
    Record(u32),
    /// The Merkle root over the records.
    BodyRoot,
    /// The hash of everything decided.
    StateRoot,
    /// The Merkle root over all record ids.
    IndexRoot,
    /// The hash of the next validators.
    Validators,
    /// The block hash that the auditor was told to trust.
    Checkpoint,
    /// The hash chain over everything settled, in a proof.
    History,
    /// A signed checkpoint that the auditor was given.
    SignedCheckpoint,
}

/// Kinds of records by their number.
const KINDS: [(u32, &str); 18] = [
    (1, "claim"),
    (2, "seal"),
    (3, "reveal"),
    (4, "opening"),
    (5, "challenge"),
    (20, "vouch"),
    (21, "join"),
    (22, "leave"),
    (23, "equivocation"),
    (24, "double vote"),
    (25, "disclosure"),
    (26, "return"),
    (27, "ruling ballot"),
    (28, "appeal"),
    (29, "proposal"),
    (30, "voice"),
    (40, "post"),
    (0, "record"),
];

impl Rule {
    /// A code for programs: a letter and two digits.
    #[must_use]
    pub fn code(self) -> String {
        let fixed = match self {
            Self::Format => "F01",
            Self::Certificate => "C01",
            Self::Header => "H01",
            Self::HashChain => "H02",
            Self::Time => "H03",
            Self::Proposer => "H04",
            Self::RandomOutput => "H05",
            Self::BlockSize => "B01",
            Self::RecordForm => "S01",
            Self::RecordSignature => "S02",
            Self::RecordAuthor => "S03",
            Self::Record(kind) => return format!("R{kind:02}"),
            Self::BodyRoot => "T01",
            Self::StateRoot => "T02",
            Self::IndexRoot => "T03",
            Self::Validators => "T04",
            Self::Checkpoint => "K01",
            Self::History => "K02",
            Self::SignedCheckpoint => "K03",
        };
        fixed.to_owned()
    }

    /// The rule's name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Certificate => "commit certificate",
            Self::Header => "header",
            Self::HashChain => "hash chain",
            Self::Time => "time",
            Self::Proposer => "proposer",
            Self::RandomOutput => "random output",
            Self::BlockSize => "block size",
            Self::RecordForm => "record form",
            Self::RecordSignature => "record signature",
            Self::RecordAuthor => "record author",
            Self::Record(kind) => {
                KINDS.iter().find(|(tag, _)| *tag == kind).map_or("record", |(_, name)| name)
            }
            Self::BodyRoot => "body root",
            Self::StateRoot => "state root",
            Self::IndexRoot => "index root",
            Self::Validators => "validators",
            Self::Checkpoint => "trusted checkpoint",
            Self::History => "history",
            Self::SignedCheckpoint => "signed checkpoint",
        }
    }

    /// A break of this rule.
    pub fn broken(self, place: impl Into<String>, message: impl Into<String>) -> Fault {
        let (rule, code) = (self.name().to_owned(), self.code());
        Fault { place: place.into(), rule, code, message: message.into() }
    }

    /// The rule that a refused item breaks.
    pub(super) fn of(error: &ItemError, item: &v1::LedgerItem) -> Self {
        match error {
            ItemError::Missing(_) => Self::Format,
            ItemError::Certificate(_) => Self::Certificate,
            ItemError::Block(block) => Self::of_block(block, item),
        }
    }

    fn of_block(error: &BlockError, item: &v1::LedgerItem) -> Self {
        match error {
            BlockError::Decode(_) | BlockError::FieldLength { .. } | BlockError::NoHeader => {
                Self::Format
            }
            BlockError::Field { field: "parent" | "height", .. } => Self::HashChain,
            BlockError::Field { field: "state_root", .. } => Self::StateRoot,
            BlockError::Field { field: "index_root", .. } => Self::IndexRoot,
            BlockError::Field { field: "body_root", .. } => Self::BodyRoot,
            BlockError::Field { field: "next_validators", .. } => Self::Validators,
            BlockError::Field { .. } => Self::Header,
            BlockError::Time { .. } => Self::Time,
            BlockError::Proposer(_) => Self::Proposer,
            BlockError::Randomness(_) => Self::RandomOutput,
            BlockError::Empty | BlockError::TooManyRecords(_) => Self::BlockSize,
            BlockError::Form { reason: Reject::Signature(_), .. } => Self::RecordSignature,
            BlockError::Form { .. } => Self::RecordForm,
            BlockError::Record { reason: Reject::NotMember(_), .. } => Self::RecordAuthor,
            BlockError::Record { index, .. } => {
                let mut records = item.block.iter().flat_map(|block| &block.records);
                Self::Record(records.nth(*index).map_or(0, kind_of))
            }
        }
    }
}

/// The number of a claim among the kinds of records.
pub(super) const CLAIM: u32 = 1;

/// The kind of a record: the number of its payload's first field, its only one if it decodes.
pub(super) fn kind_of(signed: &v1::SignedRecord) -> u32 {
    let key = prost::encoding::decode_varint(&mut signed.payload.as_slice()).unwrap_or(0);
    u32::try_from(key >> 3).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_all_different() {
        let fixed = [
            Rule::Format,
            Rule::Certificate,
            Rule::Header,
            Rule::HashChain,
            Rule::Time,
            Rule::Proposer,
            Rule::RandomOutput,
            Rule::BlockSize,
            Rule::RecordForm,
            Rule::RecordSignature,
            Rule::RecordAuthor,
            Rule::BodyRoot,
            Rule::StateRoot,
            Rule::IndexRoot,
            Rule::Validators,
            Rule::Checkpoint,
            Rule::History,
            Rule::SignedCheckpoint,
        ];
        let all = fixed.into_iter().chain(KINDS.iter().map(|(kind, _)| Rule::Record(*kind)));
        let (codes, names): (Vec<_>, Vec<_>) = all.map(|rule| (rule.code(), rule.name())).unzip();
        for list in [codes, names.into_iter().map(str::to_owned).collect()] {
            let distinct: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(distinct.len(), list.len(), "{list:?}");
        }
    }
}
