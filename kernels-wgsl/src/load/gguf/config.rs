//! From GGUF metadata to a model's geometry.
//!
//! The keys are checked here, under their own names, and written down as the `config.json` of the same
//! model, which the one parser of configurations then reads. What that file cannot say (that norm weights
//! have their one added already) is set on the result.

use super::{Gguf, Metadata};
use crate::config::{DrafterConfig, LayerKind, ModelConfig};
use crate::error::{Error, Result};
use crate::load::Tensor;
use serde_json::{Map, Value, json};

const ARCHITECTURE: &str = "general.architecture";
const LAYERS_MAX: usize = 1024;
const WIDTH_MAX: usize = 1 << 19;
const HEADS_MAX: usize = 1024;
const POSITIONS_MAX: usize = 1 << 24;
/// Layers of the 27B Gemma 3, the one whose attention scale is not that of its head width.
const GEMMA3_27B_LAYERS: usize = 62;
/// A rotation divided by this or more does not turn.
const STILL: f32 = 1e20;

/// Metadata with the architecture's prefix.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: String,
    layers: usize,
    /// Key/value heads of every layer, where the file says.
    kv_heads: Vec<usize>,
}

/// What every layer has, in order.
struct Layers {
    kinds: Vec<LayerKind>,
    head_dims: Vec<usize>,
    kv_heads: Vec<usize>,
    intermediates: Vec<usize>,
    shared: usize,
}

/// Configuration of a target model and the files it was read from.
pub(super) struct Model {
    pub(super) config: ModelConfig,
    /// `config.json`.
    pub(super) json: Vec<u8>,
    /// `generation_config.json`.
    pub(super) generation: Vec<u8>,
}

/// What a drafter's file says it is.
const DRAFTER: &str = "gemma4-assistant";

/// Whether the file holds a drafter.
pub(super) fn is_drafter(gguf: &Gguf) -> Result<bool> {
    Ok(gguf.metadata.string(ARCHITECTURE)? == Some(DRAFTER))
}

/// Reads the configuration of a target model.
pub(super) fn model(gguf: &Gguf) -> Result<Model> {
    let keys = Keys::new(gguf, &["gemma4", "gemma3"])?;
    let layers = keys.read_layers()?;
    let mut text = keys.text(&layers)?;
    let stops = stop_tokens(&gguf.metadata)?;
    text.insert("eos_token_id".into(), json!(stops));
    text.insert("tie_word_embeddings".into(), json!(!gguf.tensors.contains_key("output.weight")));
    let (json, mut config) = parse(text, ModelConfig::parse)?;
    // Conversion to GGUF has added the one, and only here can layers differ in having values of their own.
    config.norm_plus_one = false;
    for (i, layer) in config.layers.iter_mut().enumerate() {
        layer.k_eq_v &= !keys.has_values(i);
    }
    let suppress = gguf.metadata.numbers("tokenizer.ggml.suppress_tokens")?.unwrap_or_default();
    let suppress: Vec<u64> = suppress.into_iter().map(|id| id as u64).collect();
    let generation = json!({ "eos_token_id": stops, "suppress_tokens": suppress }).to_string();
    config.add_generation(generation.as_bytes())?;
    Ok(Model { config, json, generation: generation.into() })
}

/// Configuration of a drafter, and `config.json`.
pub(super) fn drafter(gguf: &Gguf) -> Result<(Vec<u8>, DrafterConfig)> {
    let keys = Keys::new(gguf, &[DRAFTER])?;
    let mut layers = keys.read_layers()?;
    layers.shared = keys.layers;
    let text = keys.text(&layers)?;
    let backbone = gguf.metadata.required(&keys.key("embedding_length_out"), 1..=WIDTH_MAX)?;
    let top = Map::from_iter([
        ("model_type".to_string(), json!("gemma4_assistant")),
        ("backbone_hidden_size".to_string(), json!(backbone)),
        ("text_config".to_string(), Value::Object(text)),
    ]);
    parse(top, DrafterConfig::parse)
}

fn parse<T>(keys: Map<String, Value>, read: fn(&[u8]) -> Result<T>) -> Result<(Vec<u8>, T)> {
    let json = serde_json::to_vec_pretty(&Value::Object(keys)).unwrap_or_default();
    let config = read(&json)?;
    Ok((json, config))
}

impl<'a> Keys<'a> {
    fn new(gguf: &'a Gguf, known: &[&str]) -> Result<Self> {
        let found = gguf.metadata.string(ARCHITECTURE)?;
        let arch = found.ok_or_else(|| gguf.metadata.error(ARCHITECTURE, "is missing"))?;
        if !known.contains(&arch) {
            return Err(Error::Unsupported {
                what: format!("{}: architecture `{arch}`", gguf.metadata.file()),
                hint: match (arch, known) {
                    (DRAFTER, _) => "that is a drafter; give it as --draft beside its model".into(),
                    (_, [DRAFTER]) => format!("a drafter has {DRAFTER}; give a model as --model"),
                    _ => format!("expected {} here", known.join(" or ")),
                },
            });
        }
        let layers = gguf.metadata.required(&format!("{arch}.block_count"), 1..=LAYERS_MAX)?;
        let kv_heads = format!("{arch}.attention.head_count_kv");
        let kv_heads = gguf.metadata.per_layer(&kv_heads, layers, 1..=HEADS_MAX)?;
        let heads = gguf.metadata.per_layer(
            &format!("{arch}.attention.head_count"),
            layers,
            1..=HEADS_MAX,
        )?;
        let kv_heads = kv_heads.or(heads).unwrap_or_else(|| vec![1; layers]);
        Ok(Keys { gguf, prefix: arch.into(), layers, kv_heads })
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn is_gemma3(&self) -> bool {
        self.prefix == "gemma3"
    }

    fn tensor(&self, name: &str) -> Option<&'a Tensor> {
        self.gguf.tensors.get(name)
    }

    fn per_layer(&self, name: &str, max: usize) -> Result<Option<Vec<usize>>> {
        self.gguf.metadata.per_layer(&self.key(name), self.layers, 1..=max)
    }

    fn must<T>(&self, name: &str, found: Option<T>) -> Result<T> {
        found.ok_or_else(|| self.gguf.metadata.error(&self.key(name), "is missing"))
    }

    /// Sliding or full, by a list of booleans, a period, or the period of six that all these models have.
    fn kinds(&self) -> Result<Vec<LayerKind>> {
        let name = "attention.sliding_window_pattern";
        let key = self.key(name);
        let metadata = &self.gguf.metadata;
        let kind = |sliding: bool| if sliding { LayerKind::Sliding } else { LayerKind::Full };
        if !metadata.has(&key) || metadata.number(&key).is_ok() {
            let period = metadata.integer(&key, 1..=LAYERS_MAX)?.unwrap_or(6);
            return Ok((1..=self.layers).map(|i| kind(!i.is_multiple_of(period))).collect());
        }
        let list = metadata.numbers(&key)?.unwrap_or_default();
        if list.len() != self.layers {
            let (found, layers) = (list.len(), self.layers);
            return Err(metadata.error(&key, format!("has {found} entries for {layers} layers")));
        }
        Ok(list.into_iter().map(|n| kind(n != 0.0)).collect())
    }

    fn read_layers(&self) -> Result<Layers> {
        let kinds = self.kinds()?;
        let full =
            self.must("attention.key_length", self.per_layer("attention.key_length", 4096)?)?;
        let sliding = self.per_layer("attention.key_length_swa", 4096)?;
        let head_dims = kinds.iter().enumerate().map(|(i, kind)| match (kind, &sliding) {
            (LayerKind::Sliding, Some(sliding)) => sliding[i],
            _ => full[i],
        });
        let widths = "feed_forward_length";
        Ok(Layers {
            head_dims: head_dims.collect(),
            kv_heads: self.kv_heads.clone(),
            intermediates: self.must(widths, self.per_layer(widths, WIDTH_MAX)?)?,
            shared: self
                .gguf
                .metadata
                .integer(&self.key("attention.shared_kv_layers"), 0..=self.layers)?
                .unwrap_or(0),
            kinds,
        })
    }

    fn heads(&self) -> Result<usize> {
        let name = "attention.head_count";
        let heads = self.must(name, self.per_layer(name, HEADS_MAX)?)?;
        match heads.iter().all(|&h| h == heads[0]) {
            true => Ok(heads[0]),
            false => Err(Error::Unsupported {
                what: format!(
                    "{}: layers with different numbers of query heads",
                    self.gguf.metadata.file()
                ),
                hint: "no published Gemma model has them".into(),
            }),
        }
    }

    /// The keys of a text configuration.
    fn text(&self, layers: &Layers) -> Result<Map<String, Value>> {
        let m = &self.gguf.metadata;
        let key = |name: &str| self.key(name);
        let hidden = m.required(&key("embedding_length"), 1..=WIDTH_MAX)?;
        let rows = |name: &str| self.tensor(name).and_then(|t| t.shape.first().copied());
        let vocab = match rows("token_embd.weight") {
            Some(rows) => rows,
            None => {
                return Err(Error::Tensor {
                    file: m.file().into(),
                    tensor: "token_embd.weight".into(),
                    message: "is missing; the file holds no model, or only a part of one".into(),
                });
            }
        };
        let mut text = Map::new();
        let mut set = |name: &str, value: Value| text.insert(name.to_string(), value);
        set("model_type", json!(if self.is_gemma3() { "gemma3_text" } else { "gemma4_text" }));
        set("vocab_size", json!(vocab));
        set("hidden_size", json!(hidden));
        set("num_hidden_layers", json!(self.layers));
        set("num_attention_heads", json!(self.heads()?));
        set("num_key_value_heads", json!(layers.kv_heads[0]));
        set("head_dim", json!(layers.head_dims[0]));
        set("intermediate_size", json!(layers.intermediates[0]));
        set("hidden_activation", json!("gelu_pytorch_tanh"));
        let window = m.required(&key("attention.sliding_window"), 1..=POSITIONS_MAX)?;
        set("sliding_window", json!(window));
        let context = m.required(&key("context_length"), 1..=POSITIONS_MAX)?;
        set("max_position_embeddings", json!(context));
        let epsilon = m.number(&key("attention.layer_norm_rms_epsilon"))?;
        set("rms_norm_eps", json!(epsilon.map_or(1e-6, shortest)));
        let cap = m.number(&key("final_logit_softcapping"))?.filter(|cap| *cap != 0.0);
        set("final_logit_softcapping", json!(cap));
        set("num_kv_shared_layers", json!(layers.shared));
        let name = |kind: &LayerKind| match kind {
            LayerKind::Sliding => "sliding_attention",
            LayerKind::Full => "full_attention",
        };
        set("layer_types", layers.kinds.iter().map(name).collect());
        let own = (0..self.layers).map(|i| {
            let (dim, kv) = (layers.head_dims[i], layers.kv_heads[i]);
            let width = layers.intermediates[i];
            let keys = json!({
                "head_dim": dim, "num_key_value_heads": kv, "intermediate_size": width,
            });
            (i.to_string(), keys)
        });
        set("per_layer_config", Value::Object(own.collect()));
        let bos = m.integer("tokenizer.ggml.bos_token_id", 0..=vocab - 1)?.unwrap_or(2);
        set("bos_token_id", json!(bos));
        let ple = m.integer(&key("embedding_length_per_layer_input"), 0..=WIDTH_MAX)?;
        set("hidden_size_per_layer_input", json!(ple.unwrap_or(0)));
        set(
            "vocab_size_per_layer_input",
            json!(rows("per_layer_token_embd.weight").unwrap_or(vocab)),
        );
        set("attention_k_eq_v", json!(self.k_eq_v(layers)));
        self.experts(&mut text)?;
        self.rotation(layers, hidden, &mut text)?;
        Ok(text)
    }

    /// Full layers take their keys for values where they have keys and no `attn_v`.
    fn k_eq_v(&self, layers: &Layers) -> bool {
        let own = self.layers - layers.shared;
        let keys = |i: usize| self.tensor(&format!("blk.{i}.attn_k.weight")).is_some();
        let full = |i: &usize| layers.kinds[*i] == LayerKind::Full;
        (0..own).filter(full).any(|i| (keys(i) || self.fused(i).is_some()) && !self.has_values(i))
    }

    fn fused(&self, i: usize) -> Option<&'a Tensor> {
        self.tensor(&format!("blk.{i}.attn_qkv.weight"))
    }

    /// Whether layer `i` has a value projection, alone or behind q and k in a fused tensor.
    fn has_values(&self, i: usize) -> bool {
        let rows = |tensor: &Tensor| tensor.shape.first().copied().unwrap_or(0);
        let output = self.tensor(&format!("blk.{i}.attn_output.weight"));
        let q = output.and_then(|t| t.shape.get(1)).copied().unwrap_or(0);
        let norm = self.tensor(&format!("blk.{i}.attn_k_norm.weight")).map_or(1, rows);
        match self.fused(i) {
            Some(fused) => rows(fused) >= q + 2 * self.kv_heads[i] * norm,
            None => self.tensor(&format!("blk.{i}.attn_v.weight")).is_some(),
        }
    }

    fn experts(&self, text: &mut Map<String, Value>) -> Result<()> {
        let m = &self.gguf.metadata;
        let count = m.integer(&self.key("expert_count"), 0..=WIDTH_MAX)?.unwrap_or(0);
        if count == 0 {
            return Ok(());
        }
        let used = m.required(&self.key("expert_used_count"), 1..=count)?;
        let width = m.required(&self.key("expert_feed_forward_length"), 1..=WIDTH_MAX)?;
        text.insert("enable_moe_block".into(), json!(true));
        text.insert("num_experts".into(), json!(count));
        text.insert("top_k_experts".into(), json!(used));
        text.insert("moe_intermediate_size".into(), json!(width));
        Ok(())
    }

    fn rotation(
        &self,
        layers: &Layers,
        hidden: usize,
        text: &mut Map<String, Value>,
    ) -> Result<()> {
        let m = &self.gguf.metadata;
        let full = m.number(&self.key("rope.freq_base"))?.map_or(1e6, shortest);
        let sliding = m.number(&self.key("rope.freq_base_swa"))?.map_or(1e4, shortest);
        if self.is_gemma3() {
            let scale = match self.layers {
                GEMMA3_27B_LAYERS => hidden / self.heads()?,
                _ => layers.head_dims[0],
            };
            text.insert("query_pre_attn_scalar".into(), json!(scale));
            text.insert("rope_theta".into(), json!(full));
            text.insert("rope_local_base_freq".into(), json!(sliding));
            let factor = m.number(&self.key("rope.scaling.factor"))?.unwrap_or(1.0);
            if factor != 1.0 {
                let scaling = json!({ "rope_type": "linear", "factor": factor });
                text.insert("rope_scaling".into(), scaling);
            }
            return Ok(());
        }
        let fraction = match layers.kinds.iter().position(|kind| *kind == LayerKind::Full) {
            Some(layer) => self.rotated_fraction(layers.head_dims[layer])?,
            None => 1.0,
        };
        let parameters = json!({
            "sliding_attention": { "rope_type": "default", "rope_theta": sliding },
            "full_attention": {
                "rope_type": "proportional",
                "rope_theta": full,
                "partial_rotary_factor": fraction,
            },
        });
        text.insert("rope_parameters".into(), parameters);
        Ok(())
    }

    /// Share of the pairs of a full layer that turn: `rope_freqs` has 1 for them and a huge divisor for the
    /// rest.
    fn rotated_fraction(&self, head_dim: usize) -> Result<f64> {
        let Some(tensor) = self.tensor("rope_freqs.weight") else { return Ok(1.0) };
        tensor.expect_shape(&[head_dim / 2])?;
        let factors = tensor.to_f32()?;
        let turning = factors.iter().take_while(|f| **f == 1.0).count();
        // NaN is not still either.
        if !factors[turning..].iter().all(|f| *f >= STILL) {
            return Err(tensor.error(
                "must be ones followed by values above 1e20; other rotation factors are not supported",
            ));
        }
        Ok(turning as f64 / (head_dim / 2).max(1) as f64)
    }
}

/// The f64 with the fewest digits that is this f32: 1e-6 and not 9.999999974752427e-7.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// Tokens that end a generation: the end-of-sequence token and the family's markers for the end of a turn
/// and the call of a tool, where the vocabulary has them.
fn stop_tokens(m: &Metadata) -> Result<Vec<usize>> {
    const KEYS: [&str; 2] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    const MARKERS: [&str; 3] = ["<turn|>", "<end_of_turn>", "<|tool_response>"];
    let mut found = Vec::new();
    for key in KEYS {
        found.extend(m.integer(key, 0..=u32::MAX as usize)?);
    }
    let tokens = m.strings("tokenizer.ggml.tokens")?.unwrap_or_default();
    let is_marker = |(_, text): &(usize, &&str)| MARKERS.contains(text);
    found.extend(tokens.iter().enumerate().filter(is_marker).map(|(id, _)| id));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|id| seen.insert(*id));
    Ok(found)
}
