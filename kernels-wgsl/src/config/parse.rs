//! From `config.json` to [`ModelConfig`] and [`DrafterConfig`].

use super::{DrafterConfig, Keys, LayerConfig, LayerKind, ModelConfig, RopeConfig};
use crate::error::{Error, Result};
use serde_json::Value;

const FILE: &str = "config.json";
const WIDTH_MAX: usize = 1 << 17;
const VOCAB_MAX: usize = 1 << 22;
const POSITIONS_MAX: usize = 1 << 24;

fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported {
        what: what.into(),
        hint: "this engine runs dense Gemma 4 text models (E2B, E4B and their drafters)".into(),
    }
}

fn json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::Corrupt { file: FILE.into(), message: e.to_string() })
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// Errors name the key that is missing or out of range, or the feature that is not supported.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json(bytes)?;
        let top = Keys::new(FILE, "", &value)?;
        let kind = top.string("model_type")?.unwrap_or("");
        if !matches!(kind, "gemma4" | "gemma4_text" | "gemma4_unified" | "gemma4_unified_text") {
            return Err(unsupported(format!("model_type `{kind}`")));
        }
        let (text, nested) = text_of(&top, &value)?;
        let quantised = top.get("quantization_config").or_else(|| text.get("quantization_config"));
        let mut config = parse_text(&text)?;
        let tied =
            text.boolean("tie_word_embeddings", top.boolean("tie_word_embeddings", true)?)?;
        if !tied {
            return Err(unsupported("an untied output head (tie_word_embeddings = false)"));
        }
        config.int4 = match quantised {
            Some(q) => check_quantisation(q)?,
            None => false,
        };
        config.eos = token_list(&top, "eos_token_id", config.vocab)?;
        if config.eos.is_empty() && nested {
            config.eos = token_list(&text, "eos_token_id", config.vocab)?;
        }
        Ok(config)
    }
}

impl DrafterConfig {
    /// Reads the `config.json` of a drafter.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json(bytes)?;
        let top = Keys::new(FILE, "", &value)?;
        let kind = top.string("model_type")?.unwrap_or("");
        if !matches!(kind, "gemma4_assistant" | "gemma4_unified_assistant") {
            return Err(unsupported(format!("drafter model_type `{kind}`")));
        }
        let (text, _) = text_of(&top, &value)?;
        let mut config = parse_text(&text)?;
        if config.ple_width != 0 {
            return Err(unsupported("a drafter with per-layer embeddings"));
        }
        for (i, layer) in config.layers.iter_mut().enumerate() {
            layer.kv_source = i;
        }
        let backbone_hidden = top.required("backbone_hidden_size", 32..=WIDTH_MAX)?;
        let ordered = top.boolean("use_ordered_embeddings", false)?;
        let (centroids, centroids_searched) = if ordered {
            let count = top.required("num_centroids", 1..=config.vocab)?;
            let searched = top.required("centroid_intermediate_top_k", 1..=count.min(64))?;
            if config.vocab % count != 0 {
                return Err(top.error(
                    "num_centroids",
                    format!("is {count}, which does not divide vocab_size {}", config.vocab),
                ));
            }
            (count, searched)
        } else {
            (0, 0)
        };
        Ok(DrafterConfig { text: config, backbone_hidden, centroids, centroids_searched })
    }
}

/// The object that holds the text keys, and whether it is nested.
fn text_of<'a>(top: &Keys<'a>, value: &'a Value) -> Result<(Keys<'a>, bool)> {
    match top.get("text_config") {
        Some(inner) => Ok((Keys::new(FILE, "text_config.", inner)?, true)),
        None => Ok((Keys::new(FILE, "", value)?, false)),
    }
}

fn refuse_unsupported(text: &Keys<'_>) -> Result<()> {
    if text.boolean("enable_moe_block", false)? {
        return Err(unsupported("mixture-of-experts layers (enable_moe_block)"));
    }
    if text.boolean("attention_k_eq_v", false)? {
        return Err(unsupported("layers whose values are their keys (attention_k_eq_v)"));
    }
    if text.boolean("attention_bias", false)? {
        return Err(unsupported("attention biases (attention_bias)"));
    }
    match text.string("hidden_activation")? {
        None | Some("gelu_pytorch_tanh") => Ok(()),
        Some(other) => Err(unsupported(format!("hidden_activation `{other}`"))),
    }
}

fn parse_text(text: &Keys<'_>) -> Result<ModelConfig> {
    refuse_unsupported(text)?;
    let multiple = |key: &str, range| -> Result<usize> {
        let n = text.required(key, range)?;
        if n % 32 == 0 {
            Ok(n)
        } else {
            Err(text.error(key, format!("is {n}; widths must be divisible by 32")))
        }
    };
    let vocab = text.required("vocab_size", 8..=VOCAB_MAX)?;
    let hidden = multiple("hidden_size", 32..=WIDTH_MAX)?;
    let heads = text.required("num_attention_heads", 1..=1024)?;
    let sliding_window = text.required("sliding_window", 1..=POSITIONS_MAX)?;
    let layers = parse_layers(text, heads)?;
    let ple_width = text.integer("hidden_size_per_layer_input", 0..=WIDTH_MAX)?.unwrap_or(0);
    if ple_width % 32 != 0 {
        return Err(text.error("hidden_size_per_layer_input", "must be divisible by 32"));
    }
    let bos = text.integer("bos_token_id", 0..=vocab - 1)?.unwrap_or(2);
    Ok(ModelConfig {
        vocab,
        hidden,
        heads,
        layers,
        ple_width,
        ple_vocab: text.integer("vocab_size_per_layer_input", 0..=VOCAB_MAX)?.unwrap_or(vocab),
        sliding_window,
        max_positions: text
            .integer("max_position_embeddings", 1..=POSITIONS_MAX)?
            .unwrap_or(131_072),
        norm_epsilon: text.positive("rms_norm_eps")?.unwrap_or(1e-6),
        logit_cap: text.positive("final_logit_softcapping")?,
        rope: parse_rope(text)?,
        bos: bos as u32,
        eos: Vec::new(),
        int4: false,
    })
}

fn layer_kinds(text: &Keys<'_>, count: usize) -> Result<Vec<LayerKind>> {
    let mut kinds = Vec::with_capacity(count);
    match text.get("layer_types") {
        None => kinds.extend((0..count).map(|i| match (i + 1) % 6 {
            0 => LayerKind::Full,
            _ => LayerKind::Sliding,
        })),
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
    // The reference implementation forces the last layer to full attention whatever the list says.
    if let Some(last) = kinds.last_mut() {
        *last = LayerKind::Full;
    }
    Ok(kinds)
}

fn parse_layers(text: &Keys<'_>, heads: usize) -> Result<Vec<LayerConfig>> {
    let count = text.required("num_hidden_layers", 1..=1024)?;
    let kinds = layer_kinds(text, count)?;
    let shared = text.integer("num_kv_shared_layers", 0..=count)?.unwrap_or(0);
    let first_shared = count - shared;
    let head_dim = text.required("head_dim", 32..=512)?;
    let global_head_dim = text.integer("global_head_dim", 32..=512)?.unwrap_or(head_dim);
    let kv_heads = text.integer("num_key_value_heads", 1..=heads)?.unwrap_or(heads);
    let intermediate = text.required("intermediate_size", 32..=WIDTH_MAX * 4)?;
    let double = text.boolean("use_double_wide_mlp", false)?;
    let mut layers: Vec<LayerConfig> = Vec::with_capacity(count);
    for (i, kind) in kinds.into_iter().enumerate() {
        let mut layer = LayerConfig {
            kind,
            head_dim: if kind == LayerKind::Full { global_head_dim } else { head_dim },
            kv_heads,
            intermediate: intermediate * if double && i >= first_shared { 2 } else { 1 },
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
        let widths = [layer.head_dim, layer.intermediate];
        if widths.iter().any(|w| w % 32 != 0) || !heads.is_multiple_of(layer.kv_heads) {
            return Err(text.error(
                "head_dim",
                format!("layer {i}: widths must be divisible by 32 and heads by kv heads"),
            ));
        }
        layers.push(layer);
    }
    Ok(layers)
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
    Ok(())
}

fn parse_rope(text: &Keys<'_>) -> Result<RopeConfig> {
    let mut rope = RopeConfig { sliding_theta: 1e4, full_theta: 1e6, full_fraction: 0.25 };
    let Some(value) = text.get("rope_parameters") else { return Ok(rope) };
    let table = Keys::new(FILE, "rope_parameters.", value)?;
    if let Some(sliding) = table.get("sliding_attention") {
        let keys = Keys::new(FILE, "rope_parameters.sliding_attention.", sliding)?;
        if !matches!(keys.string("rope_type")?, None | Some("default")) {
            return Err(unsupported("a rope_type other than `default` in sliding layers"));
        }
        rope.sliding_theta = keys.positive("rope_theta")?.unwrap_or(rope.sliding_theta);
    }
    if let Some(full) = table.get("full_attention") {
        let keys = Keys::new(FILE, "rope_parameters.full_attention.", full)?;
        if !matches!(keys.string("rope_type")?, None | Some("proportional")) {
            return Err(unsupported("a rope_type other than `proportional` in full layers"));
        }
        rope.full_theta = keys.positive("rope_theta")?.unwrap_or(rope.full_theta);
        let fraction = keys.positive("partial_rotary_factor")?.unwrap_or(rope.full_fraction);
        if fraction > 1.0 {
            return Err(keys.error("partial_rotary_factor", "must not be above 1"));
        }
        rope.full_fraction = fraction;
    }
    Ok(rope)
}

fn check_quantisation(value: &Value) -> Result<bool> {
    let top = Keys::new(FILE, "quantization_config.", value)?;
    let method = top.string("quant_method")?.unwrap_or("");
    let format = top.string("format")?.unwrap_or("");
    if method != "compressed-tensors" || format != "pack-quantized" {
        return Err(unsupported(format!("quantisation `{method}` in format `{format}`")));
    }
    let groups =
        top.get("config_groups").ok_or_else(|| top.error("config_groups", "is missing"))?;
    let groups = groups
        .as_object()
        .filter(|m| !m.is_empty())
        .ok_or_else(|| top.error("config_groups", "must be an object with at least one group"))?;
    for (name, group) in groups {
        let prefix = format!("quantization_config.config_groups.{name}.");
        let group = Keys::new(FILE, &prefix, group)?;
        let weights = group.get("weights").ok_or_else(|| group.error("weights", "is missing"))?;
        let prefix = format!("{prefix}weights.");
        let weights = Keys::new(FILE, &prefix, weights)?;
        let bits = weights.required("num_bits", 1..=64)?;
        let size = weights.integer("group_size", 1..=WIDTH_MAX)?.unwrap_or(0);
        let symmetric = weights.boolean("symmetric", true)?;
        let kind = weights.string("type")?.unwrap_or("int");
        if (bits, size, symmetric, kind) != (4, 32, true, "int") {
            return Err(unsupported(format!(
                "{bits}-bit {kind} weights in groups of {size}, symmetric = {symmetric}"
            )));
        }
    }
    Ok(true)
}

/// `eos_token_id` is one id or a list of them.
fn token_list(keys: &Keys<'_>, key: &str, vocab: usize) -> Result<Vec<u32>> {
    let Some(value) = keys.get(key) else { return Ok(Vec::new()) };
    let one = std::slice::from_ref(value);
    let list = value.as_array().map_or(one, Vec::as_slice);
    list.iter()
        .map(|v| match v.as_u64().and_then(|n| u32::try_from(n).ok()) {
            // Ids past a shrunken vocabulary can never be produced, so they are kept as they are.
            Some(n) if n < VOCAB_MAX as u32 => Ok(n),
            _ => Err(keys.error(key, format!("{v} is not a token id (vocabulary {vocab})"))),
        })
        .collect()
}
