//! What the last block bound into the history, so that one event of it can be shown to somebody who has
//! no ledger.

use crate::ids::hash_parts;

/// A block's part of the hash chain over everything settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// The chain's value before the block.
    pub(crate) before: [u8; 32],
    /// The parts of each event, in order.
    pub(crate) list: Vec<Vec<Vec<u8>>>,
}

impl Events {
    /// Starts a block.
    pub(crate) fn begin(&mut self, history: [u8; 32]) {
        self.before = history;
        self.list.clear();
    }
}

/// The chain's value after an event of these parts.
pub(crate) fn next_history(history: [u8; 32], event: &[impl AsRef<[u8]>]) -> [u8; 32] {
    let mut parts: Vec<&[u8]> = vec![&history];
    parts.extend(event.iter().map(AsRef::as_ref));
    hash_parts("assay history v1", &parts)
}
