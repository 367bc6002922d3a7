//! The ledger as a transparency log, in the formats of <https://c2sp.org>, so that any witness that speaks
//! them can cosign its heads.
//!
//! ```text
//! assay/3fa9c0d1…                                          origin: "assay/" and the network id
//! 4160                                                     size: how many blocks
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=             root of the Merkle tree over their hashes
//!
//! — assay/3fa9c0d1… Az3grlgtzPICa5OS8npVmf1Myq/5…          a node of the network
//! — witness.example/1 jWbPPwAAAABkGFDLEZMHwSRaJNiI…        a witness, with its time
//! ```
//!
//! - `note` is `signed-note`: texts with signatures, and the keys that verify them, with the timestamped
//!   signatures of `tlog-cosignature`.
//! - `checkpoint` is `tlog-checkpoint`: size and root of a log as the text of a note.
//! - `tree` is the tree of RFC 6962 over the blocks, with the proofs that one is a beginning of another.
//! - `submission` is what a log sends to a witness, and `judge` what a witness may cosign: `tlog-witness`.
//!
//! Nothing of this decides anything on the ledger. A block is final by its certificate; witnesses make it
//! known when keys that had signed certificates sign another history later.

mod checkpoint;
mod judge;
mod note;
mod submission;
mod tree;

pub use checkpoint::{Checkpoint, origin};
pub use judge::{Refusal, judge};
pub use note::{Algorithm, NOTE_BYTES_MAX, Note, NoteKey, NoteSignature, SIGNATURES_MAX};
pub use submission::{PROOF_HASHES_MAX, SUBMISSION_BYTES_MAX, Submission};
pub use tree::{LogTree, Root, is_beginning};

/// Why something is no note, checkpoint, key or submission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {reason}")]
pub struct NoteError {
    what: &'static str,
    reason: String,
}

fn malformed(what: &'static str, reason: impl Into<String>) -> NoteError {
    NoteError { what, reason: reason.into() }
}

#[cfg(test)]
mod tests;
