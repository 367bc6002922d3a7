//! What a log sends to a witness: the body of `add-checkpoint` in `tlog-witness` of <https://c2sp.org>.

use super::checkpoint::{read_hash, read_size};
use super::{NOTE_BYTES_MAX, Note, NoteError, Root, malformed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Most hashes of a consistency proof.
pub const PROOF_HASHES_MAX: usize = 63;
/// Largest submission, in bytes: the old size, a proof, an empty line and a note.
pub const SUBMISSION_BYTES_MAX: usize = 64 + PROOF_HASHES_MAX * 45 + NOTE_BYTES_MAX;

/// A checkpoint with the proof that it continues an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The size of the earlier checkpoint, which the witness cosigned last; 0 if none.
    pub old_size: u64,
    /// The proof, RFC 6962 section 2.1.2.
    pub proof: Vec<Root>,
    /// The checkpoint, signed by the log.
    pub note: Note,
}

impl Submission {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        let bad = |reason: &str| malformed("submission", reason);
        if bytes.len() > SUBMISSION_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or_else(|| bad("no empty line between the proof and the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| read_size(line.strip_prefix("old ")?));
        let old_size = old_size.ok_or_else(|| bad("its first line is not `old` and a size"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(bad("its proof is too long"));
            }
            proof.push(read_hash(line).ok_or_else(|| bad("a line of its proof is no hash"))?);
        }
        Ok(Self { old_size, proof, note: Note::read(note.as_bytes())? })
    }
}

impl fmt::Display for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}
