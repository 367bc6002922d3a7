//! One input of the GGUF target; the normal test suite replays its corpus through the same function.

use assay_kernels::Checkpoint;
use std::collections::BTreeMap;

/// Reads `data` as a GGUF file, and its tokenizer where the rest of it holds together.
pub fn run(data: &[u8]) {
    let files = BTreeMap::from([("model.gguf".to_string(), data.to_vec())]);
    if let Ok(checkpoint) = Checkpoint::from_files(files) {
        let _ = checkpoint.tokenizer();
    }
}
