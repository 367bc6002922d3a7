//! The layers of a configuration: kinds, head sizes, caches.

use super::parse::{family_default, unsupported, width};
use super::{Family, Keys, LayerConfig, LayerKind};
use crate::error::Result;

const FILE: &str = "config.json";
/// Five sliding layers, then a full one, where a file does not say.
const PERIOD: usize = 6;

fn layer_kinds(family: Family, text: &Keys<'_>, count: usize) -> Result<Vec<LayerKind>> {
    let mut kinds = Vec::with_capacity(count);
    match text.get("layer_types") {
        None => {
            let period = match family {
                Family::Gemma3 => text.integer("sliding_window_pattern", 1..=1024)?,
                Family::Gemma4 => None,
            };
            let period = period.unwrap_or(PERIOD);
            kinds.extend((0..count).map(|i| match (i + 1) % period {
                0 => LayerKind::Full,
                _ => LayerKind::Sliding,
            }));
        }
        Some(value) => {
            let list = value.as_array().filter(|l| l.len() == count).ok_or_else(|| {
                text.error("layer_types", format!("must be a list of {count} names"))
            })?;
            for name in list {
                kinds.push(match name.as_str() {
                    Some("sliding_attention") => LayerKind::Sliding,
                    Some("full_attention") => LayerKind::Full,
                    _ => return Err(unsupported(format!("layer type {name}"))),
                });
            }
        }
    }
    // Gemma 4's reference implementation forces the last layer to full attention whatever the list says.
    if let (Family::Gemma4, Some(last)) = (family, kinds.last_mut()) {
        *last = LayerKind::Full;
    }
    Ok(kinds)
}

/// What the layers of one kind have in common.
#[derive(Clone, Copy)]
struct KindShape {
    head_dim: usize,
    kv_heads: usize,
    k_eq_v: bool,
}

/// Head sizes of the sliding and of the full layers, before `per_layer_config`.
fn kind_shapes(family: Family, text: &Keys<'_>, heads: usize) -> Result<[KindShape; 2]> {
    let head_dim = family_default(text, family, "head_dim", 32..=512, 256)?;
    let kv_heads = match family {
        Family::Gemma3 => 4.min(heads),
        Family::Gemma4 => heads,
    };
    let kv_heads = text.integer("num_key_value_heads", 1..=heads)?.unwrap_or(kv_heads);
    let sliding = KindShape { head_dim, kv_heads, k_eq_v: false };
    if family == Family::Gemma3 {
        return Ok([sliding, sliding]);
    }
    // Files of the other style say it per layer; a file of neither has the reference's default.
    let default = if text.get("per_layer_config").is_some() { head_dim } else { 512 };
    let head_dim = text.integer("global_head_dim", 32..=512)?.unwrap_or(default);
    let k_eq_v = text.boolean("attention_k_eq_v", false)?;
    let global_heads = text.integer("num_global_key_value_heads", 1..=heads)?;
    // The reference implementation looks at it only where the values are the keys.
    let kv_heads = global_heads.filter(|_| k_eq_v).unwrap_or(kv_heads);
    Ok([sliding, KindShape { head_dim, kv_heads, k_eq_v }])
}

/// Reads every layer's geometry; `heads` query heads in each.
pub(super) fn parse_layers(
    family: Family,
    text: &Keys<'_>,
    heads: usize,
) -> Result<Vec<LayerConfig>> {
    let count = family_default(text, family, "num_hidden_layers", 1..=1024, 26)?;
    let kinds = layer_kinds(family, text, count)?;
    let [sliding, full] = kind_shapes(family, text, heads)?;
    let gemma3 = family == Family::Gemma3;
    let intermediate = width(text, "intermediate_size", gemma3.then_some(9216))?;
    let (shared, double) = match family {
        Family::Gemma3 => (0, false),
        Family::Gemma4 => (
            text.integer("num_kv_shared_layers", 0..=count)?.unwrap_or(0),
            text.boolean("use_double_wide_mlp", false)?,
        ),
    };
    let first_shared = count - shared;
    let mut layers: Vec<LayerConfig> = Vec::with_capacity(count);
    for (i, kind) in kinds.into_iter().enumerate() {
        let shape = if kind == LayerKind::Full { full } else { sliding };
        let mut layer = LayerConfig {
            kind,
            head_dim: shape.head_dim,
            kv_heads: shape.kv_heads,
            intermediate: intermediate * if double && i >= first_shared { 2 } else { 1 },
            k_eq_v: shape.k_eq_v,
            kv_source: i,
        };
        apply_override(text, i, heads, &mut layer)?;
        // All layers of a drafter read the target's cache, so with nothing to share the source stays.
        if i >= first_shared && first_shared > 0 {
            let source = layers[..first_shared].iter().rposition(|l| l.kind == kind);
            layer.kv_source = source.ok_or_else(|| {
                text.error("num_kv_shared_layers", format!("leaves layer {i} no cache of its kind"))
            })?;
            let owner = &layers[layer.kv_source];
            if (owner.head_dim, owner.kv_heads) != (layer.head_dim, layer.kv_heads) {
                return Err(text.error("head_dim", format!("of layer {i} differs from its source")));
            }
        }
        if !layer.head_dim.is_multiple_of(32) || !heads.is_multiple_of(layer.kv_heads) {
            return Err(text.error(
                "head_dim",
                format!("layer {i}: widths must be divisible by 32 and heads by kv heads"),
            ));
        }
        layers.push(layer);
    }
    check_one_size_per_kind(text, &layers)?;
    Ok(layers)
}

/// Layers of a kind share one rotation table.
fn check_one_size_per_kind(text: &Keys<'_>, layers: &[LayerConfig]) -> Result<()> {
    for (i, layer) in layers.iter().enumerate() {
        let first = layers.iter().find(|l| l.kind == layer.kind).unwrap_or(layer);
        if first.head_dim != layer.head_dim {
            return Err(text.error(
                "per_layer_config",
                format!("gives layer {i} another head_dim than other layers of its kind"),
            ));
        }
    }
    Ok(())
}

/// Applies `per_layer_config.<i>`, the style of files re-saved by recent transformers versions.
fn apply_override(text: &Keys<'_>, i: usize, heads: usize, layer: &mut LayerConfig) -> Result<()> {
    let Some(table) = text.get("per_layer_config") else { return Ok(()) };
    let Some(entry) = Keys::new(FILE, "per_layer_config.", table)?.get(&i.to_string()) else {
        return Ok(());
    };
    let prefix = format!("per_layer_config.{i}.");
    let keys = Keys::new(FILE, &prefix, entry)?;
    layer.head_dim = keys.integer("head_dim", 32..=512)?.unwrap_or(layer.head_dim);
    layer.kv_heads = keys.integer("num_key_value_heads", 1..=heads)?.unwrap_or(layer.kv_heads);
    if keys.get("intermediate_size").is_some() {
        layer.intermediate = width(&keys, "intermediate_size", None)?;
    }
    Ok(())
}
