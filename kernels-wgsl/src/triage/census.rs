//! Counting what a checkpoint holds.

use crate::engine::is_unused;
use crate::load::{Checkpoint, Dtype};
use serde::Serialize;
use std::collections::BTreeMap;

/// Parameters and bytes of a checkpoint's text model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Weights, however they are stored; scales of quantised ones are not counted.
    pub parameters: u64,
    /// Weights that one token is multiplied with, the output head among them: all but the per-layer
    /// embedding table and the experts that are not chosen.
    pub active_parameters: u64,
    /// Bytes by storage form; scales belong to the form that they scale.
    pub formats: BTreeMap<String, u64>,
}

/// Counts `checkpoint`. Key and value projections that a layer carries without using them are left out.
pub fn census(checkpoint: &Checkpoint) -> Census {
    let config = checkpoint.config();
    let tensors = checkpoint.tensors();
    let mut census = Census::default();
    for (name, tensor) in tensors.iter().filter(|(name, _)| !is_unused(config, name)) {
        let bytes = tensor.data().len() as u64;
        let module = [".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let packed = module.and_then(|m| tensors.get(&format!("{m}.weight_packed")));
        let (format, weights) = match (module, packed) {
            (Some(module), Some(packed)) => {
                let declared = tensors.get(&format!("{module}.weight_shape"));
                let declared = declared.and_then(|t| t.whole_numbers());
                let words: u64 = packed.shape.iter().map(|&d| d as u64).product();
                let weights = declared
                    .map(|shape| shape.iter().map(|&d| d.unsigned_abs()).product())
                    .unwrap_or(words * 8);
                let bits = (words * 32).checked_div(weights).unwrap_or(0);
                let counts = name.ends_with("weight_packed");
                (format!("int{bits}"), if counts { weights } else { 0 })
            }
            _ => {
                let count: u64 = tensor.shape.iter().map(|&d| d as u64).product();
                let weight = matches!(tensor.dtype, Dtype::BF16 | Dtype::Block(_));
                (tensor.dtype.name().to_lowercase(), if weight { count } else { 0 })
            }
        };
        *census.formats.entry(format).or_default() += bytes;
        census.parameters += weights;
        if name == "embed_tokens_per_layer.weight" {
            continue;
        }
        census.active_parameters += match (&config.moe, name.contains(".experts.")) {
            (Some(moe), true) => weights * moe.per_token as u64 / moe.experts.max(1) as u64,
            _ => weights,
        };
    }
    census
}
