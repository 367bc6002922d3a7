//! What a witness may cosign: the checks of `add-checkpoint` in `tlog-witness` of <https://c2sp.org>, in
//! their order.

use super::{Checkpoint, LogTree, NoteKey, Submission, is_beginning};

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The old size is larger than the checkpoint's.
    #[error("the old size {old} is beyond the checkpoint's {size}")]
    Backwards {
        /// What the log takes the witness to have cosigned.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// No key that is accepted for this log signed the checkpoint.
    #[error("no key that is accepted for this log signed the checkpoint")]
    NotSigned,
    /// Another size than the log thinks was cosigned last.
    #[error("the checkpoint cosigned last has size {kept}")]
    OtherSize {
        /// That size.
        kept: u64,
    },
    /// The log signed two roots for one size. The two notes prove it to anybody.
    #[error("a checkpoint of the same size, {kept}, was cosigned with another root")]
    SplitView {
        /// That size.
        kept: u64,
    },
    /// The proof does not show that the checkpoint continues the one cosigned last. Whoever has a signed
    /// checkpoint can send it with a false proof, so this alone proves nothing about the log.
    #[error("the proof does not show that it continues the checkpoint of size {kept}")]
    Unproven {
        /// The size of the one cosigned last.
        kept: u64,
    },
}

/// Whether a checkpoint may be cosigned, by the `keys` that its log signs with and the checkpoint of that
/// log that was `kept`, because it was cosigned last. Two checkpoints of one size and different roots are
/// told from everything else first, whatever the log thinks was cosigned.
///
/// # Errors
///
/// [`Refusal`] with the first reason.
pub fn judge(
    submission: &Submission,
    checkpoint: &Checkpoint,
    keys: &[NoteKey],
    kept: Option<&Checkpoint>,
) -> Result<(), Refusal> {
    let Submission { old_size: old, proof, note } = submission;
    if !keys.iter().any(|key| note.signed_by(key).is_some()) {
        return Err(Refusal::NotSigned);
    }
    let (size, root) = (checkpoint.size, checkpoint.root);
    if let Some(kept) = kept.filter(|kept| kept.size == size && kept.root != root) {
        return Err(Refusal::SplitView { kept: kept.size });
    }
    let kept = kept.map_or_else(|| (0, LogTree::default().root()), |kept| (kept.size, kept.root));
    if *old > size {
        return Err(Refusal::Backwards { old: *old, size });
    }
    if *old != kept.0 {
        return Err(Refusal::OtherSize { kept: kept.0 });
    }
    match is_beginning(kept, (size, root), proof) {
        true => Ok(()),
        false => Err(Refusal::Unproven { kept: kept.0 }),
    }
}
