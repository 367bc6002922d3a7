//! A ledger's head as the text of a note.

use super::{NoteError, malformed};
use crate::ids::{BlockHash, NetworkId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The origin line of a network's checkpoints, which is also the name of its validators' note keys.
#[must_use]
pub fn origin(network: NetworkId) -> String {
    format!("assay/{network}")
}

/// The last block of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which ledger.
    pub network: NetworkId,
    /// Its height.
    pub height: u64,
    /// The hash of its last block; zeros before the first.
    pub hash: BlockHash,
}

impl Head {
    /// The head as the text of a checkpoint.
    #[must_use]
    pub fn text(&self) -> String {
        let root = STANDARD.encode(self.hash.0);
        format!("{}\n{}\n{root}\n", origin(self.network), self.height)
    }

    /// Reads the text of a checkpoint of a network. Extension lines are refused: this project's
    /// checkpoints have none.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when it is none, or another log's.
    pub fn read(network: NetworkId, text: &str) -> Result<Self, NoteError> {
        let bad = |reason: &str| malformed("checkpoint", reason);
        let mut lines = text.strip_suffix('\n').unwrap_or_default().split('\n');
        if lines.next() != Some(origin(network).as_str()) {
            return Err(bad("its origin is not this network"));
        }
        let size = lines.next().unwrap_or_default();
        let height: u64 = size.parse().map_err(|_| bad("its size is no number"))?;
        if height.to_string() != size {
            return Err(bad("its size is not in its shortest form"));
        }
        let root = STANDARD.decode(lines.next().unwrap_or_default()).unwrap_or_default();
        let hash = BlockHash::from_slice(&root).map_err(|_| bad("its root has not 32 bytes"))?;
        match lines.next() {
            None => Ok(Self { network, height, hash }),
            Some(_) => Err(bad("it has lines that no checkpoint of this project has")),
        }
    }
}
