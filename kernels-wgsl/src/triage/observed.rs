//! What the tensors say about the model, whatever the configuration says.

use super::folder::Named;
use crate::load::{Tensor, header};
use std::collections::BTreeMap;

/// Layers past this are not a Gemma's; the bound keeps a hostile name from sizing a list.
const LAYERS_MAX: usize = 1024;

/// Sizes read off the tensors of one decoder layer.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerSeen {
    pub(super) q_rows: Option<usize>,
    pub(super) k_rows: Option<usize>,
    pub(super) has_v: bool,
    pub(super) q_norm: Option<usize>,
    pub(super) inner: Option<usize>,
    pub(super) hidden: Option<usize>,
    pub(super) ple: Option<usize>,
    /// Experts, and the inner width of one.
    pub(super) experts: Option<(usize, usize)>,
    pub(super) router: Option<usize>,
}

/// Sizes read off all tensors.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) vocab: Option<usize>,
    pub(super) hidden: Option<usize>,
    pub(super) layers: Vec<LayerSeen>,
    /// Rows and columns of the per-layer embedding table.
    pub(super) ple_table: Option<(usize, usize)>,
}

impl Observed {
    pub(super) fn of(named: &Named<'_>) -> Observed {
        let text = &named.text;
        let two = |name: &str| dims(text, name);
        let mut seen = Observed {
            vocab: two("embed_tokens").map(|(rows, _)| rows),
            ple_table: two("embed_tokens_per_layer"),
            ..Observed::default()
        };
        let indices = text.keys().filter_map(|name| layer_of(name)).map(|(i, _)| i);
        let count = indices.max().map_or(0, |last| last + 1);
        seen.layers = (0..count).map(|i| layer(text, i)).collect();
        let widths = seen.layers.iter().filter_map(|l| l.hidden);
        let widths = widths.chain(two("embed_tokens").map(|(_, cols)| cols));
        seen.hidden = majority(widths.chain(length(text, "norm.weight")));
        seen
    }

    /// Which layers are full ones, where two head widths tell them apart.
    pub(super) fn kinds(&self) -> Option<Vec<bool>> {
        let norms: Option<Vec<usize>> = self.layers.iter().map(|l| l.q_norm).collect();
        let norms = norms?;
        let (least, most) = (norms.iter().min()?, norms.iter().max()?);
        let two = norms.iter().all(|n| n == least || n == most) && most == &(2 * least);
        two.then(|| norms.iter().map(|n| n == most).collect())
    }

    /// The value that most layers picked by `pick` agree on.
    pub(super) fn agreed(
        &self,
        pick: impl Fn(usize, &LayerSeen) -> Option<usize>,
    ) -> Option<usize> {
        majority(self.layers.iter().enumerate().filter_map(|(i, l)| pick(i, l)))
    }
}

/// Layer index and the rest of a name such as `layers.3.self_attn.q_proj.weight`.
pub(super) fn layer_of(name: &str) -> Option<(usize, &str)> {
    let (index, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let index = index.parse().ok().filter(|i| *i < LAYERS_MAX)?;
    Some((index, rest))
}

fn layer(text: &BTreeMap<&str, &Tensor>, i: usize) -> LayerSeen {
    let two = |name: &str| dims(text, &format!("layers.{i}.{name}"));
    let one = |name: &str| length(text, &format!("layers.{i}.{name}"));
    let fused = text.get(format!("layers.{i}.experts.gate_up_proj").as_str());
    let fused = fused.and_then(|t| match t.shape[..] {
        [experts, twice, _] => Some((experts, twice / 2)),
        _ => None,
    });
    let single = two("experts.0.gate_proj").map(|(inner, _)| {
        let exists = |e: &usize| two(&format!("experts.{e}.gate_proj")).is_some();
        ((0..4096).take_while(exists).count(), inner)
    });
    LayerSeen {
        q_rows: two("self_attn.q_proj").map(|(rows, _)| rows),
        k_rows: two("self_attn.k_proj").map(|(rows, _)| rows),
        has_v: two("self_attn.v_proj").is_some(),
        q_norm: one("self_attn.q_norm.weight"),
        inner: two("mlp.gate_proj").map(|(rows, _)| rows),
        hidden: one("input_layernorm.weight"),
        ple: two("per_layer_input_gate").map(|(rows, _)| rows),
        experts: fused.or(single),
        router: two("router.proj").map(|(rows, _)| rows),
    }
}

/// Rows and columns of a linear layer or table, in whatever form it is stored.
pub(super) fn dims(text: &BTreeMap<&str, &Tensor>, module: &str) -> Option<(usize, usize)> {
    if let Some(tensor) = text.get(format!("{module}.weight").as_str()) {
        return match tensor.shape[..] {
            [rows, cols] => Some((rows, cols)),
            _ => None,
        };
    }
    let packed = text.get(format!("{module}.weight_packed").as_str())?;
    let [rows, words] = packed.shape[..] else { return None };
    let declared = text.get(format!("{module}.weight_shape").as_str());
    let declared = declared.and_then(|t| t.whole_numbers()).and_then(|n| match n[..] {
        [r, c] => Some((dimension(r)?, dimension(c)?)),
        _ => None,
    });
    Some(declared.unwrap_or((rows, words.saturating_mul(8))))
}

/// A declared dimension that a tensor could have.
pub(super) fn dimension(declared: i64) -> Option<usize> {
    usize::try_from(declared).ok().filter(|d| *d as u64 <= header::DIMENSION_MAX)
}

fn length(text: &BTreeMap<&str, &Tensor>, name: &str) -> Option<usize> {
    match text.get(name)?.shape[..] {
        [length] => Some(length),
        _ => None,
    }
}

/// The value that more than half of `values` are.
pub(super) fn majority(values: impl Iterator<Item = usize>) -> Option<usize> {
    let mut counts = BTreeMap::new();
    let mut total = 0usize;
    for value in values {
        *counts.entry(value).or_insert(0usize) += 1;
        total += 1;
    }
    counts.into_iter().find(|(_, count)| 2 * count > total).map(|(value, _)| value)
}
