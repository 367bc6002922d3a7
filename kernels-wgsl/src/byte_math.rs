//! What one decoded token reads, by component: the arithmetic of specification §11.

use std::collections::BTreeMap;

/// What one token reads of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartBytes {
    /// Weights in matrices, however they are stored; norms and rows of tables have none.
    pub weights: u64,
    /// Bytes, scales included.
    pub bytes: u64,
}

/// What one token reads, by component: `attention`, `embeddings`, `experts`, `head`, `mlp`, `norms`,
/// `per-layer`, `router`.
pub type Parts = BTreeMap<&'static str, PartBytes>;

/// The component that a tensor belongs to, by its name.
pub(crate) fn part_of(tensor: &str) -> &'static str {
    let has = |part: &str| tensor.contains(part);
    if has("norm") || has("layer_scalar") {
        "norms"
    } else if has(".experts.") {
        "experts"
    } else if has("router") {
        "router"
    } else if has("self_attn") {
        "attention"
    } else if has("embed_tokens_per_layer") {
        "embeddings"
    } else if has("per_layer") {
        "per-layer"
    } else if has("mlp") {
        "mlp"
    } else {
        "head"
    }
}

/// Adds what one token reads of a tensor.
pub(crate) fn add(parts: &mut Parts, part: &'static str, weights: u64, bytes: u64) {
    let sum = parts.entry(part).or_default();
    sum.weights += weights;
    sum.bytes += bytes;
}

/// Bytes of `weights` stored with `bits` each and one bf16 scale for every `group`; a group of 0 has
/// no scales.
#[must_use]
pub fn stored_bytes(weights: u64, bits: u64, group: u64) -> u64 {
    let scales = weights.checked_div(group).unwrap_or(0);
    (weights.saturating_mul(bits) / 8).saturating_add(scales.saturating_mul(2))
}
