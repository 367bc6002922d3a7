//! The published configurations (specification §1, §1.1, §4).

use crate::error::{Error, Result};
use crate::load::{embedded_drafter_files, embedded_files};
use serde_json::{Value, json};

/// A published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Like {
    /// Gemma 4 E2B.
    E2b,
    /// Gemma 4 E4B.
    E4b,
    /// Gemma 4 12B.
    B12,
    /// Gemma 4 26B-A4B, with experts.
    B26,
    /// Gemma 4 31B.
    B31,
    /// Gemma 3 270m.
    Gemma3M270,
    /// Gemma 3 1b.
    Gemma3B1,
    /// gemma4-nano.
    Nano,
}

/// The numbers that tell the Gemma 4 variants apart.
struct Variant {
    hidden: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    global_kv_heads: Option<usize>,
    inner: usize,
    period: usize,
    window: usize,
    shared: usize,
    key_is_value: bool,
    double_wide: bool,
    ple: usize,
    experts: Option<(usize, usize, usize)>,
    positions: usize,
}

impl Like {
    /// Every model, with the name that stands for it.
    pub const ALL: [(Like, &'static str); 8] = [
        (Like::E2b, "e2b"),
        (Like::E4b, "e4b"),
        (Like::B12, "12b"),
        (Like::B26, "26b"),
        (Like::B31, "31b"),
        (Like::Gemma3M270, "gemma3-270m"),
        (Like::Gemma3B1, "gemma3-1b"),
        (Like::Nano, "nano"),
    ];

    fn variant(self) -> Option<Variant> {
        let dense = Variant {
            hidden: 3840,
            layers: 48,
            heads: 16,
            kv_heads: 8,
            global_kv_heads: Some(1),
            inner: 15_360,
            period: 6,
            window: 1024,
            shared: 0,
            key_is_value: true,
            double_wide: false,
            ple: 0,
            experts: None,
            positions: 262_144,
        };
        let effective = Variant {
            hidden: 2560,
            layers: 42,
            heads: 8,
            kv_heads: 2,
            global_kv_heads: None,
            inner: 10_240,
            window: 512,
            shared: 18,
            key_is_value: false,
            ple: 256,
            positions: 131_072,
            ..dense
        };
        Some(match self {
            Like::E2b => Variant {
                hidden: 1536,
                layers: 35,
                kv_heads: 1,
                inner: 6144,
                period: 5,
                shared: 20,
                double_wide: true,
                ..effective
            },
            Like::E4b => effective,
            Like::B12 => dense,
            Like::B26 => Variant {
                hidden: 2816,
                layers: 30,
                global_kv_heads: Some(2),
                inner: 2112,
                experts: Some((128, 8, 704)),
                ..dense
            },
            Like::B31 => Variant {
                hidden: 5376,
                layers: 60,
                heads: 32,
                kv_heads: 16,
                global_kv_heads: Some(4),
                inner: 21_504,
                ..dense
            },
            Like::Gemma3M270 | Like::Gemma3B1 | Like::Nano => return None,
        })
    }

    /// `config.json` as published.
    pub(super) fn config(self) -> Result<Value> {
        if let Some(variant) = self.variant() {
            return Ok(gemma4(self, &variant));
        }
        Ok(match self {
            Like::Gemma3M270 => gemma3(640, 18, 2048),
            Like::Gemma3B1 => gemma3(1152, 26, 6912),
            _ => embedded(&embedded_files())?,
        })
    }

    /// `config.json` of the model's drafter.
    pub(super) fn drafter_config(self) -> Result<Value> {
        let Some(v) = self.variant() else {
            return match self {
                Like::Nano => embedded(&embedded_drafter_files()),
                _ => Err(Error::Input("Gemma 3 models have no drafter".into())),
            };
        };
        let ordered = v.ple > 0;
        let unified = self == Like::B12;
        let mut text = json!({
            "model_type": "gemma4_text",
            "vocab_size": 262_144,
            "hidden_size": if ordered { 256 } else { 1024 },
            "intermediate_size": if ordered { 2048 } else { 8192 },
            "num_hidden_layers": 4,
            "layer_types": [SLIDING, SLIDING, SLIDING, FULL],
            "num_attention_heads": if ordered { 4 } else { v.heads },
            "num_key_value_heads": v.kv_heads,
            "num_global_key_value_heads": v.global_kv_heads,
            "head_dim": 256,
            "global_head_dim": 512,
            "sliding_window": v.window,
            "num_kv_shared_layers": 4,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "attention_k_eq_v": v.key_is_value,
            "max_position_embeddings": v.positions,
            "final_logit_softcapping": null,
        });
        text.as_object_mut().expect("an object was just made").extend(common(true));
        Ok(json!({
            "architectures": ["Gemma4AssistantForCausalLM"],
            "model_type": if unified { "gemma4_unified_assistant" } else { "gemma4_assistant" },
            "backbone_hidden_size": v.hidden,
            "use_ordered_embeddings": ordered,
            "num_centroids": 2048,
            "centroid_intermediate_top_k": 32,
            "tie_word_embeddings": true,
            "dtype": "bfloat16",
            "text_config": text,
        }))
    }
}

pub(super) const SLIDING: &str = "sliding_attention";
pub(super) const FULL: &str = "full_attention";

fn embedded(files: &std::collections::BTreeMap<&'static str, &'static [u8]>) -> Result<Value> {
    let bytes = files.get("config.json").copied().unwrap_or_default();
    serde_json::from_slice(bytes)
        .map_err(|e| Error::Corrupt { file: "config.json".into(), message: e.to_string() })
}

/// Keys that are the same in every Gemma 4 text configuration.
fn common(tied: bool) -> serde_json::Map<String, Value> {
    let value = json!({
        "attention_bias": false,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
        "dtype": "bfloat16",
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "rope_parameters": {
            SLIDING: { "rope_type": "default", "rope_theta": 10_000.0 },
            FULL: {
                "rope_type": "proportional", "rope_theta": 1_000_000.0,
                "partial_rotary_factor": 0.25,
            },
        },
    });
    match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

fn gemma4(like: Like, v: &Variant) -> Value {
    let types: Vec<&str> =
        (1..=v.layers).map(|i| if i % v.period == 0 { FULL } else { SLIDING }).collect();
    let unified = like == Like::B12;
    let mut text = json!({
        "model_type": if unified { "gemma4_unified_text" } else { "gemma4_text" },
        "vocab_size": 262_144,
        "hidden_size": v.hidden,
        "intermediate_size": v.inner,
        "num_hidden_layers": v.layers,
        "layer_types": types,
        "num_attention_heads": v.heads,
        "num_key_value_heads": v.kv_heads,
        "num_global_key_value_heads": v.global_kv_heads,
        "head_dim": 256,
        "global_head_dim": 512,
        "sliding_window": v.window,
        "num_kv_shared_layers": v.shared,
        "attention_k_eq_v": v.key_is_value,
        "use_double_wide_mlp": v.double_wide,
        "hidden_size_per_layer_input": v.ple,
        "vocab_size_per_layer_input": 262_144,
        "enable_moe_block": v.experts.is_some(),
        "num_experts": v.experts.map(|e| e.0),
        "top_k_experts": v.experts.map(|e| e.1),
        "moe_intermediate_size": v.experts.map(|e| e.2),
        "max_position_embeddings": v.positions,
        "final_logit_softcapping": 30.0,
    });
    text.as_object_mut().expect("an object was just made").extend(common(true));
    json!({
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": if unified { "gemma4_unified" } else { "gemma4" },
        "eos_token_id": [1, 106],
        "tie_word_embeddings": true,
        "dtype": "bfloat16",
        "text_config": text,
    })
}

fn gemma3(hidden: usize, layers: usize, inner: usize) -> Value {
    let types: Vec<&str> = (1..=layers).map(|i| if i % 6 == 0 { FULL } else { SLIDING }).collect();
    json!({
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": 262_144,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "layer_types": types,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 512,
        "max_position_embeddings": 32_768,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "rope_scaling": null,
        "final_logit_softcapping": null,
        "attn_logit_softcapping": null,
        "attention_bias": false,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": true,
        "dtype": "bfloat16",
        "pad_token_id": 0,
        "eos_token_id": [1, 106],
        "bos_token_id": 2,
    })
}
