//! From `config.json` and `generation_config.json` to [`ModelConfig`].

use super::layers::parse_layers;
use super::rope::parse_rope;
use super::{Family, Keys, ModelConfig, MoeConfig};
use crate::error::{Error, Result};
use serde_json::Value;

const FILE: &str = "config.json";
const GENERATION: &str = "generation_config.json";
pub(super) const WIDTH_MAX: usize = 1 << 17;
const VOCAB_MAX: usize = 1 << 22;
pub(super) const POSITIONS_MAX: usize = 1 << 24;
/// Most experts one routing kernel ranks.
const EXPERTS_MAX: usize = 1024;
/// Most tokens a generation may stop at, or suppress.
const TOKEN_LIST_MAX: usize = 4096;

pub(super) fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported {
        what: what.into(),
        hint: "this engine runs Gemma 4 and Gemma 3 text models and Gemma 4 drafters".into(),
    }
}

pub(super) fn json(file: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::Corrupt { file: file.into(), message: e.to_string() })
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// Errors name the key that is missing or out of range, or the feature that is not supported.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json(FILE, bytes)?;
        let top = Keys::new(FILE, "", &value)?;
        let family = match top.string("model_type")?.unwrap_or("") {
            "gemma4" | "gemma4_text" | "gemma4_unified" | "gemma4_unified_text" => Family::Gemma4,
            "gemma3" | "gemma3_text" => Family::Gemma3,
            other => return Err(unsupported(format!("model_type `{other}`"))),
        };
        let text = text_of(&top, &value)?;
        let mut config = parse_text(family, &text)?;
        // The wrapper ties the head, so its word counts before the text model's.
        let tied = text.boolean("tie_word_embeddings", true)?;
        config.tied_head = top.boolean("tie_word_embeddings", tied)?;
        let quantised = top.get("quantization_config").or_else(|| text.get("quantization_config"));
        config.quantised = match quantised {
            Some(q) => check_quantisation(q)?,
            None => Vec::new(),
        };
        config.int4 = config.quantised.iter().any(|(bits, _)| *bits == 4);
        config.eos = token_list(&top, "eos_token_id", config.vocab)?;
        if config.eos.is_empty() {
            config.eos = token_list(&text, "eos_token_id", config.vocab)?;
        }
        if config.eos.is_empty() {
            config.eos = vec![1];
        }
        Ok(config)
    }

    /// Adds what a `generation_config.json` says: further tokens that end a generation
    /// (`eos_token_id`) and those that must not be sampled (`suppress_tokens`).
    pub fn add_generation(&mut self, bytes: &[u8]) -> Result<()> {
        let value = json(GENERATION, bytes)?;
        let keys = Keys::new(GENERATION, "", &value)?;
        let eos = token_list(&keys, "eos_token_id", self.vocab)?;
        let suppress = token_list(&keys, "suppress_tokens", self.vocab)?;
        for (from, into) in [(eos, &mut self.eos), (suppress, &mut self.suppress)] {
            for token in from {
                if !into.contains(&token) {
                    into.push(token);
                }
            }
        }
        Ok(())
    }
}

/// The object that holds the text keys, nested or not.
pub(super) fn text_of<'a>(top: &Keys<'a>, value: &'a Value) -> Result<Keys<'a>> {
    match top.get("text_config") {
        Some(inner) => Keys::new(FILE, "text_config.", inner),
        None => Keys::new(FILE, "", value),
    }
}

fn refuse_unsupported(text: &Keys<'_>) -> Result<()> {
    if text.boolean("attention_bias", false)? {
        return Err(unsupported("attention biases (attention_bias)"));
    }
    if text.get("attn_logit_softcapping").is_some() {
        return Err(unsupported("soft-capped attention scores (attn_logit_softcapping)"));
    }
    // "vision" concerns image tokens alone.
    if let Some(Value::Bool(true)) = text.get("use_bidirectional_attention") {
        return Err(unsupported("attention in both directions (use_bidirectional_attention)"));
    }
    if text.get("use_bidirectional_attention").is_some_and(|v| v == "all") {
        return Err(unsupported("attention in both directions (use_bidirectional_attention)"));
    }
    match text.string("hidden_activation")? {
        None | Some("gelu_pytorch_tanh") => Ok(()),
        Some(other) => Err(unsupported(format!("hidden_activation `{other}`"))),
    }
}

/// A width, which must be divisible by 32.
pub(super) fn width(text: &Keys<'_>, key: &str, default: Option<usize>) -> Result<usize> {
    let found = text.integer(key, 32..=WIDTH_MAX * 4)?.or(default);
    match found.ok_or_else(|| text.error(key, "is missing"))? {
        n if n % 32 == 0 => Ok(n),
        n => Err(text.error(key, format!("is {n}; widths must be divisible by 32"))),
    }
}

/// `key`, or what the family's reference implementation takes where it is absent. Published Gemma 3
/// files leave most keys out.
pub(super) fn family_default(
    text: &Keys<'_>,
    family: Family,
    key: &str,
    range: std::ops::RangeInclusive<usize>,
    gemma3: usize,
) -> Result<usize> {
    match (text.integer(key, range)?, family) {
        (Some(n), _) => Ok(n),
        (None, Family::Gemma3) => Ok(gemma3),
        (None, Family::Gemma4) => Err(text.error(key, "is missing")),
    }
}

pub(super) fn parse_text(family: Family, text: &Keys<'_>) -> Result<ModelConfig> {
    refuse_unsupported(text)?;
    let gemma4 = family == Family::Gemma4;
    let vocab = family_default(text, family, "vocab_size", 8..=VOCAB_MAX, 262_208)?;
    let hidden = width(text, "hidden_size", (!gemma4).then_some(2304))?;
    if hidden > WIDTH_MAX {
        return Err(text.error("hidden_size", format!("is {hidden}; at most {WIDTH_MAX}")));
    }
    let heads = family_default(text, family, "num_attention_heads", 1..=1024, 8)?;
    let window = family_default(text, family, "sliding_window", 1..=POSITIONS_MAX, 4096)?;
    let ple_width = match gemma4 {
        true => text.integer("hidden_size_per_layer_input", 0..=WIDTH_MAX)?.unwrap_or(0),
        false => 0,
    };
    if ple_width % 32 != 0 {
        return Err(text.error("hidden_size_per_layer_input", "must be divisible by 32"));
    }
    let attention_scale = match gemma4 {
        true => 1.0,
        false => 1.0 / text.positive("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt(),
    };
    let bos = text.integer("bos_token_id", 0..=vocab - 1)?.unwrap_or(2);
    Ok(ModelConfig {
        family,
        vocab,
        hidden,
        heads,
        layers: parse_layers(family, text, heads)?,
        moe: parse_moe(family, text)?,
        attention_scale,
        value_norm: gemma4,
        layer_scalar: gemma4,
        norm_plus_one: !gemma4,
        tied_head: true,
        ple_width,
        ple_vocab: text.integer("vocab_size_per_layer_input", 0..=VOCAB_MAX)?.unwrap_or(vocab),
        sliding_window: window,
        max_positions: text
            .integer("max_position_embeddings", 1..=POSITIONS_MAX)?
            .unwrap_or(131_072),
        norm_epsilon: text.positive("rms_norm_eps")?.unwrap_or(1e-6),
        logit_cap: text.positive("final_logit_softcapping")?,
        rope: parse_rope(family, text)?,
        bos: bos as u32,
        eos: Vec::new(),
        suppress: Vec::new(),
        int4: false,
        quantised: Vec::new(),
    })
}

fn parse_moe(family: Family, text: &Keys<'_>) -> Result<Option<MoeConfig>> {
    if family == Family::Gemma3 || !text.boolean("enable_moe_block", false)? {
        return Ok(None);
    }
    let experts = text.required("num_experts", 1..=EXPERTS_MAX)?;
    Ok(Some(MoeConfig {
        experts,
        per_token: text.required("top_k_experts", 1..=experts.min(64))?,
        intermediate: width(text, "moe_intermediate_size", None)?,
    }))
}

/// Bits of a code and weights per scale of every group of the configuration; 0 for a scale per row.
fn check_quantisation(value: &Value) -> Result<Vec<(usize, usize)>> {
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
    let mut found = Vec::with_capacity(groups.len());
    for (name, group) in groups {
        let prefix = format!("quantization_config.config_groups.{name}.");
        let group = Keys::new(FILE, &prefix, group)?;
        let weights = group.get("weights").ok_or_else(|| group.error("weights", "is missing"))?;
        let prefix = format!("{prefix}weights.");
        let weights = Keys::new(FILE, &prefix, weights)?;
        let bits = weights.required("num_bits", 1..=64)?;
        let symmetric = weights.boolean("symmetric", true)?;
        let kind = weights.string("type")?.unwrap_or("int");
        let size = match (weights.get("group_size"), weights.string("strategy")?) {
            (_, Some("channel")) => 0,
            (Some(size), _) if size.as_i64() == Some(-1) => 0,
            _ => weights.required("group_size", 1..=WIDTH_MAX)?,
        };
        if !matches!(bits, 4 | 8) || size % 32 != 0 || !symmetric || kind != "int" {
            return Err(unsupported(format!(
                "{bits}-bit {kind} weights in groups of {size}, symmetric = {symmetric}"
            )));
        }
        found.push((bits, size));
    }
    Ok(found)
}

/// `eos_token_id` is one id or a list of them.
fn token_list(keys: &Keys<'_>, key: &str, vocab: usize) -> Result<Vec<u32>> {
    let Some(value) = keys.get(key) else { return Ok(Vec::new()) };
    let one = std::slice::from_ref(value);
    let list = value.as_array().map_or(one, Vec::as_slice);
    if list.len() > TOKEN_LIST_MAX {
        let count = list.len();
        return Err(keys.error(key, format!("lists {count} tokens; at most {TOKEN_LIST_MAX}")));
    }
    list.iter()
        .map(|v| match v.as_u64().and_then(|n| u32::try_from(n).ok()) {
            // Ids past a shrunken vocabulary can never be produced, so they are kept as they are.
            Some(n) if n < VOCAB_MAX as u32 => Ok(n),
            _ => Err(keys.error(key, format!("{v} is not a token id (vocabulary {vocab})"))),
        })
        .collect()
}
