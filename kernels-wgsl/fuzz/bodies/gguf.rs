//! One input of the GGUF target; the normal test suite replays its corpus through the same function.

use assay_kernels::{Checkpoint, Drafter};
use std::collections::BTreeMap;

/// Reads `data` as a GGUF file of a model, with its tokenizer where the rest of it holds together, and as
/// one of a drafter. Returns whether it was either.
pub(crate) fn run(data: &[u8]) -> bool {
    let files = || BTreeMap::from([("model.gguf".to_string(), data.to_vec())]);
    match Checkpoint::from_files(files()) {
        Ok(checkpoint) => checkpoint.tokenizer().is_ok(),
        Err(_) => Drafter::from_files(files()).is_ok(),
    }
}
