//! Random checkpoints with the shapes of published models, so that speed and memory can be measured
//! without their weights.
//!
//! Tensors are written one after the other from a small table of normal deviates; memory does not grow
//! with the model. Widths of the random values keep activations finite: matrices have unit gain, norms
//! are near 1. There is no tokenizer: such a checkpoint runs on token ids.

mod presets;
mod random;
mod write;

use crate::byte_math::{self, Parts, part_of};
use crate::error::{Error, Result};
use crate::triage::inventory::{Expected, Geometry, Role};
use crate::triage::{Config, Family};
pub use presets::Like;
use presets::{FULL, SLIDING};
use random::Fill;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
pub use write::Progress;

/// How linear layers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quant {
    /// bf16.
    Bf16,
    /// Four bits and a bf16 scale for every group of 32, 64 or 128 weights of a row.
    Int4(usize),
    /// Eight bits and a bf16 scale for every row.
    Int8,
}

/// Which checkpoint to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose shapes.
    pub like: Like,
    /// Stored how.
    pub quant: Quant,
    /// Only this many layers.
    pub layers: Option<usize>,
    /// The same seed gives the same bytes.
    pub seed: u64,
}

/// One tensor to be written.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) fill: Fill,
}

impl Planned {
    pub(crate) fn bytes(&self) -> u64 {
        let count: u64 = self.shape.iter().map(|&d| d as u64).product();
        count * self.dtype.bitsize() as u64 / 8
    }
}

/// A checkpoint laid out but not written.
#[derive(Debug, Clone)]
pub struct Synth {
    config: Value,
    tensors: Vec<Planned>,
    seed: u64,
    /// Parameters of the text model.
    pub parameters: u64,
    /// Parameters that one token is multiplied with, the output head among them.
    pub active_parameters: u64,
    /// Weight bytes that one decoded token reads.
    pub bytes_per_token: u64,
    /// The same, by component.
    pub parts: Parts,
}

impl Synth {
    /// Lays out a model.
    ///
    /// Errors where `layers` is out of range.
    pub fn model(request: &Request) -> Result<Synth> {
        let mut config = request.like.config()?;
        if let Some(layers) = request.layers {
            shorten(&mut config, layers)?;
        }
        Self::lay_out(config, request)
    }

    /// Lays out the drafter of a model. Drafters are stored in bf16 whatever the request says.
    pub fn drafter(request: &Request) -> Result<Synth> {
        let config = request.like.drafter_config()?;
        let seed = request.seed.wrapping_add(1);
        Self::lay_out(config, &Request { quant: Quant::Bf16, seed, ..request.clone() })
    }

    fn lay_out(mut config: Value, request: &Request) -> Result<Synth> {
        let read = Config::of(config.clone());
        let unclear = || Error::Input("the preset's configuration is incomplete".into());
        let read = read.ok_or_else(unclear)?;
        let geometry = Geometry::of(&read).ok_or_else(unclear)?;
        let prefix = match (read.family, config.get("text_config").is_some()) {
            (Family::Assistant, _) | (_, false) => "model.",
            (_, true) => "model.language_model.",
        };
        let per_token = read.count("top_k_experts").unwrap_or(0) as u64;
        let mut synth = Synth {
            config: Value::Null,
            tensors: Vec::new(),
            seed: request.seed,
            parameters: 0,
            active_parameters: 0,
            bytes_per_token: 0,
            parts: Parts::new(),
        };
        for expected in geometry.tensors().into_iter().filter(|e| !e.optional) {
            synth.put(&expected, prefix, read.family, request.quant, per_token);
        }
        describe_quantisation(&mut config, request.quant, &synth.tensors);
        synth.config = config;
        Ok(synth)
    }

    /// Plans one tensor, or the several that a quantised one is stored as.
    fn put(
        &mut self,
        expected: &Expected,
        prefix: &str,
        family: Family,
        quant: Quant,
        per_token: u64,
    ) {
        let at_root = ["pre_projection", "post_projection", "masked_embedding"];
        let root = at_root.iter().any(|part| expected.name.starts_with(part));
        let name = format!("{}{}", if root { "" } else { prefix }, expected.name);
        let count: u64 = expected.shape.iter().map(|&d| d as u64).product();
        let before = self.bytes();
        match (expected.role, quant, &expected.shape[..]) {
            (Role::Linear, Quant::Int4(_) | Quant::Int8, [rows, cols]) => {
                self.put_packed(&name, *rows, *cols, quant);
            }
            (Role::Plain, Quant::Int4(_) | Quant::Int8, [experts, rows, cols]) => {
                self.put_experts(&name, *experts, *rows, *cols, quant);
            }
            (Role::Linear, ..) => self.put_plain(format!("{name}.weight"), expected, family),
            _ => self.put_plain(name, expected, family),
        }
        let bytes = self.bytes() - before;
        let experts = expected.name.contains(".experts.");
        let share = |n: u64| if experts { n / expected.shape[0] as u64 * per_token } else { n };
        self.parameters += if expected.role == Role::Ids { 0 } else { count };
        if expected.name == "embed_tokens_per_layer.weight" {
            let row = expected.shape[1] as u64 * 2;
            self.bytes_per_token += row;
            byte_math::add(&mut self.parts, part_of(&expected.name), 0, row);
        } else {
            let matrix = expected.shape.len() > 1;
            let weights = if matrix { share(count) } else { 0 };
            byte_math::add(&mut self.parts, part_of(&expected.name), weights, share(bytes));
            self.bytes_per_token += share(bytes);
            self.active_parameters += share(count);
        }
    }

    fn put_plain(&mut self, name: String, expected: &Expected, family: Family) {
        let width = expected.shape.last().copied().unwrap_or(1) as f32;
        let (dtype, fill) = match expected.role {
            Role::Ids => (Dtype::I64, Fill::Permutation),
            Role::Norm if family == Family::Gemma3 => (Dtype::BF16, Fill::Normal(0.0, 0.05)),
            Role::Norm => (Dtype::BF16, Fill::Normal(1.0, 0.05)),
            Role::Scale if name.ends_with("layer_scalar") => {
                (Dtype::BF16, Fill::Normal(0.95, 0.02))
            }
            Role::Scale => (Dtype::BF16, Fill::Normal(1.0, 0.05)),
            // Wide enough that the logits of a unit vector are not nearly equal.
            Role::Table => (Dtype::BF16, Fill::Normal(0.0, 4.0 / width.sqrt())),
            Role::Linear | Role::Plain => (Dtype::BF16, Fill::Normal(0.0, 1.0 / width.sqrt())),
        };
        self.tensors.push(Planned { name, dtype, shape: expected.shape.clone(), fill });
    }

    /// Codes, scales and the shape, as compressed-tensors stores them.
    fn put_packed(&mut self, name: &str, rows: usize, cols: usize, quant: Quant) {
        let (bits, group) = match quant {
            Quant::Int4(group) => (4, fitting_group(cols, group)),
            Quant::Int8 | Quant::Bf16 => (8, cols),
        };
        // Root mean square of codes that are all equally likely: 4.6 of 16, 73.9 of 256.
        let code = if bits == 4 { 4.6 } else { 73.9 };
        let scale = 1.0 / (cols as f32).sqrt() / code;
        let mut put = |part: &str, dtype, shape, fill| {
            self.tensors.push(Planned { name: format!("{name}.{part}"), dtype, shape, fill });
        };
        put("weight_packed", Dtype::I32, vec![rows, cols * bits / 32], Fill::Bits);
        let scales = vec![rows, cols / group];
        put("weight_scale", Dtype::BF16, scales, Fill::Normal(scale, scale / 8.0));
        put("weight_shape", Dtype::I64, vec![2], Fill::Numbers(vec![rows as i64, cols as i64]));
    }

    /// Quantised releases store one matrix an expert.
    fn put_experts(&mut self, name: &str, count: usize, rows: usize, cols: usize, quant: Quant) {
        let base = name.rsplit_once('.').map_or(name, |(base, _)| base);
        for expert in 0..count {
            if name.ends_with("gate_up_proj") {
                self.put_packed(&format!("{base}.{expert}.gate_proj"), rows / 2, cols, quant);
                self.put_packed(&format!("{base}.{expert}.up_proj"), rows / 2, cols, quant);
            } else {
                self.put_packed(&format!("{base}.{expert}.down_proj"), rows, cols, quant);
            }
        }
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(Planned::bytes).sum()
    }

    /// Name and shape of every tensor.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice()))
    }

    /// The configuration.
    pub fn config(&self) -> &Value {
        &self.config
    }
}

/// The asked-for group, or the largest below it that divides a row.
fn fitting_group(cols: usize, group: usize) -> usize {
    [group, 64, 32].into_iter().find(|g| *g <= group && cols.is_multiple_of(*g)).unwrap_or(32)
}

/// Keeps the first `layers` layers. The last one becomes a full one, and as many share a cache as can.
fn shorten(config: &mut Value, layers: usize) -> Result<()> {
    let nested = config.get("text_config").is_some();
    let text = if nested { &mut config["text_config"] } else { config };
    let whole = text["num_hidden_layers"].as_u64().unwrap_or(0) as usize;
    if layers == 0 || layers > whole {
        return Err(Error::Input(format!("layers is {layers}; the model has {whole}")));
    }
    let mut types: Vec<String> = text["layer_types"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_string).collect())
        .unwrap_or_default();
    types.truncate(layers);
    let gemma3 = text["model_type"].as_str().is_some_and(|t| t.starts_with("gemma3"));
    if let (false, Some(last)) = (gemma3, types.last_mut()) {
        *last = FULL.into();
    }
    let shared =
        text["num_kv_shared_layers"].as_u64().unwrap_or(0) as usize * layers / whole.max(1);
    let donors = |shared: &usize| {
        let (own, rest) = types.split_at(layers - shared);
        rest.iter().all(|kind| own.contains(kind))
    };
    let shared = (0..=shared).rev().find(donors).unwrap_or(0);
    if text.get("num_kv_shared_layers").is_some() {
        text["num_kv_shared_layers"] = json!(shared);
    }
    if let Some(table) = text.get("per_layer_config").cloned() {
        // The overrides of the kept layers follow their kinds.
        let entry = table.as_object().and_then(|t| t.values().next()).cloned().unwrap_or_default();
        let full = types.iter().enumerate().filter(|(_, kind)| *kind != SLIDING);
        let table: serde_json::Map<_, _> =
            full.map(|(i, _)| (i.to_string(), entry.clone())).collect();
        text["per_layer_config"] = Value::Object(table);
    }
    text["layer_types"] = json!(types);
    text["num_hidden_layers"] = json!(layers);
    Ok(())
}

/// Codes in a scale's group for every packed matrix: its last name and the group.
fn groups_used(tensors: &[Planned], bits: usize) -> BTreeMap<usize, BTreeSet<String>> {
    let shapes: BTreeMap<&str, &[usize]> =
        tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
    let mut used: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (name, shape) in &shapes {
        let Some(module) = name.strip_suffix(".weight_packed") else { continue };
        let scales = shapes.get(format!("{module}.weight_scale").as_str());
        let (Some(words), Some(scales)) = (shape.last(), scales.and_then(|s| s.last())) else {
            continue;
        };
        let last = module.rsplit('.').next().unwrap_or(module);
        used.entry(words * 32 / bits / scales.max(&1)).or_default().insert(last.to_string());
    }
    used
}

fn describe_quantisation(config: &mut Value, quant: Quant, tensors: &[Planned]) {
    let mut groups = json!({});
    match quant {
        Quant::Bf16 => return,
        Quant::Int8 => {
            let weights =
                json!({ "num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel" });
            groups["group_0"] = json!({ "targets": ["Linear"], "weights": weights });
        }
        Quant::Int4(asked) => {
            let mut used = groups_used(tensors, 4);
            used.remove(&asked);
            let all = (asked, vec!["Linear".to_string()]);
            let narrow = used.into_iter().map(|(group, names)| {
                (group, names.iter().map(|name| format!("re:.*{name}$")).collect())
            });
            for (i, (group, targets)) in std::iter::once(all).chain(narrow).enumerate() {
                let weights = json!({
                    "num_bits": 4, "type": "int", "symmetric": true, "strategy": "group",
                    "group_size": group,
                });
                groups[format!("group_{i}")] = json!({ "targets": targets, "weights": weights });
            }
        }
    }
    config["quantization_config"] = json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ["lm_head"],
    });
}
