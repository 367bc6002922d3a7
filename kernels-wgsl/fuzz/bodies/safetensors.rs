//! One input of the safetensors and configuration target; the normal test suite replays its corpus, and
//! mutations of its seeds, through the same function.

use assay_kernels::{Checkpoint, Drafter};
use std::collections::BTreeMap;

/// Between the configuration and the weights of an input.
const SEPARATOR: &[u8] = b"\n----\n";

/// Reads what stands before the separator as `config.json` and what stands behind it as
/// `model.safetensors`: as a target, as a drafter, and by the checker.
pub(crate) fn run(data: &[u8]) {
    let at = data.windows(SEPARATOR.len()).position(|w| w == SEPARATOR);
    let (config, weights) = match at {
        Some(at) => (&data[..at], &data[at + SEPARATOR.len()..]),
        None => (data, data),
    };
    let files = BTreeMap::from([
        ("config.json".to_string(), config.to_vec()),
        ("model.safetensors".to_string(), weights.to_vec()),
    ]);
    let _ = assay_kernels::triage::check_files(files.clone());
    let _ = Drafter::from_files(files.clone());
    let _ = Checkpoint::from_files(files);
}

/// Inputs to start from: `config` with headers of several forms.
#[allow(dead_code, reason = "the fuzzer starts from the corpus that these were written to")]
pub(crate) fn seeds(config: &[u8]) -> Vec<Vec<u8>> {
    let headers = [
        r#"{"model.embed_tokens.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}"#,
        r#"{"__metadata__":{"format":"pt"},"model.norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"model.layers.0.mlp.gate_proj.weight_packed":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]},"model.layers.0.mlp.gate_proj.weight_scale":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]}}"#,
        r#"{"model.layers.1023.experts.gate_up_proj":{"dtype":"F16","shape":[2,2,1],"data_offsets":[0,8]},"lm_head.weight":{"dtype":"BF16","shape":[0],"data_offsets":[8,8]}}"#,
        r#"{"masked_embedding.token_ordering":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#,
    ];
    let input = |header: &&str| {
        let length = (header.len() as u64).to_le_bytes();
        [config, SEPARATOR, &length, header.as_bytes(), &[0; 8]].concat()
    };
    headers.iter().map(input).collect()
}
