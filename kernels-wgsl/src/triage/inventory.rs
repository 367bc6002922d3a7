//! Every tensor of a model by name and shape (specification §5), and the tensors of a file against it.

use super::Code;
use super::config::{Config, Family};
use super::folder::Named;
use super::layers::{count, first_shared, kinds};
use super::observed::{Observed, dims};
use super::report::Findings;
use crate::load::{Block, Dtype, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Sizes of one decoder layer.
#[derive(Debug, Clone)]
pub(crate) struct LayerGeometry {
    pub(crate) head_dim: usize,
    pub(crate) kv_heads: usize,
    pub(crate) inner: usize,
    /// Reads another layer's cache and has no key projection of its own.
    pub(crate) shared: bool,
    /// Takes its raw keys as values and has no value projection.
    pub(crate) key_is_value: bool,
}

/// Sizes that only a drafter has.
#[derive(Debug, Clone)]
pub(crate) struct DrafterGeometry {
    pub(crate) backbone: usize,
    /// 0 for a dense head.
    pub(crate) centroids: usize,
}

/// Sizes of a whole model.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    pub(crate) family: Family,
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) layers: Vec<LayerGeometry>,
    pub(crate) kinds: Vec<bool>,
    pub(crate) window: usize,
    pub(crate) ple_width: usize,
    pub(crate) ple_vocab: usize,
    /// Experts and the inner width of one.
    pub(crate) experts: Option<(usize, usize)>,
    pub(crate) drafter: Option<DrafterGeometry>,
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A table looked up by token.
    Table,
    /// A matrix that a quantiser may pack.
    Linear,
    /// A matrix or stack of matrices that it leaves alone.
    Plain,
    /// A norm weight.
    Norm,
    /// One learned scale or a list of them.
    Scale,
    /// Token ids.
    Ids,
}

/// One tensor that a model has.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Without prefix; of a linear layer without `.weight` too.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
    /// A file without it is whole.
    pub(crate) optional: bool,
}

/// Takes name, shape, role and whether a file without the tensor is whole.
type Put<'a> = dyn FnMut(&str, &[usize], Role, bool) + 'a;

impl Geometry {
    /// The geometry that the configuration means: its own numbers, and those of the tensors where they
    /// agree on others. `None` where neither says enough.
    pub(super) fn resolve(config: &Config, seen: &Observed) -> Option<Geometry> {
        let layers = count(config, seen);
        let kinds = seen.kinds().unwrap_or_else(|| kinds(config, layers));
        let first = match config.family {
            Family::Assistant => 0,
            _ => {
                let owners = seen.layers.iter().take_while(|l| l.k_rows.is_some()).count();
                let claimed = first_shared(config, layers);
                let rest = seen.layers.get(owners..).unwrap_or_default();
                let sharing = rest.len() > 1 && rest.iter().all(|l| l.k_rows.is_none());
                if sharing && owners > 0 { owners } else { claimed }
            }
        };
        let pick = |key: &str, seen: Option<usize>| seen.or_else(|| config.count(key));
        let hidden = pick("hidden_size", seen.hidden)?;
        let vocab = pick("vocab_size", seen.vocab)?;
        let per_head =
            |rows: Option<usize>, width: Option<usize>| Some(rows? / width.filter(|w| *w > 0)?);
        let heads = pick("num_attention_heads", seen.agreed(|_, l| per_head(l.q_rows, l.q_norm)))?;
        let plain_dim = pick(
            "head_dim",
            seen.agreed(|i, l| l.q_norm.filter(|_| !kinds.get(i).copied().unwrap_or(true))),
        )?;
        let drafter = (config.family == Family::Assistant).then(|| DrafterGeometry {
            backbone: config.top("backbone_hidden_size").and_then(|v| v.as_u64()).unwrap_or(0)
                as usize,
            centroids: match config.top("use_ordered_embeddings").and_then(|v| v.as_bool()) {
                Some(true) => {
                    config.top("num_centroids").and_then(|v| v.as_u64()).unwrap_or(0) as usize
                }
                _ => 0,
            },
        });
        let ple_width = seen.agreed(|_, l| l.ple).unwrap_or(0);
        let experts = seen.agreed(|_, l| l.experts.map(|(n, _)| n));
        let inner = seen.agreed(|_, l| l.experts.map(|(_, inner)| inner));
        let mut geometry = Geometry {
            family: config.family,
            vocab,
            hidden,
            heads,
            layers: Vec::new(),
            window: config.count("sliding_window").unwrap_or(0),
            ple_width: match seen.layers.is_empty() {
                true => config.count("hidden_size_per_layer_input").unwrap_or(0),
                false => ple_width,
            },
            ple_vocab: seen
                .ple_table
                .map(|(rows, _)| rows)
                .or_else(|| config.count("vocab_size_per_layer_input"))
                .unwrap_or(vocab),
            experts: match seen.layers.is_empty() {
                true if config.flag("enable_moe_block") => {
                    config.count("num_experts").zip(config.count("moe_intermediate_size"))
                }
                true => None,
                false => experts.zip(inner),
            },
            drafter,
            kinds,
        };
        for i in 0..layers {
            let layer = resolve_layer(config, seen, &geometry, i, first, plain_dim)?;
            geometry.layers.push(layer);
        }
        Some(geometry)
    }

    /// The geometry of a configuration without weights.
    pub(crate) fn of(config: &Config) -> Option<Geometry> {
        Self::resolve(config, &Observed::default())
    }

    /// Every tensor of the model.
    pub(crate) fn tensors(&self) -> Vec<Expected> {
        let (h, p) = (self.hidden, self.ple_width);
        let mut list = Vec::new();
        let mut put = |name: &str, shape: &[usize], role: Role, optional: bool| {
            list.push(Expected { name: name.into(), shape: shape.into(), role, optional });
        };
        put("embed_tokens.weight", &[self.vocab, h], Role::Table, false);
        put("norm.weight", &[h], Role::Norm, false);
        if p > 0 {
            let all = self.layers.len().saturating_mul(p);
            put("embed_tokens_per_layer.weight", &[self.ple_vocab, all], Role::Table, false);
            put("per_layer_model_projection", &[all, h], Role::Linear, false);
            put("per_layer_projection_norm.weight", &[p], Role::Norm, false);
        }
        if let Some(drafter) = &self.drafter {
            let b = drafter.backbone;
            put("pre_projection", &[h, b.saturating_mul(2)], Role::Linear, false);
            put("post_projection", &[b, h], Role::Linear, false);
            if drafter.centroids > 0 {
                put("masked_embedding.centroids", &[drafter.centroids, h], Role::Linear, false);
                put("masked_embedding.token_ordering", &[self.vocab], Role::Ids, false);
            }
        }
        for i in 0..self.layers.len() {
            self.layer_tensors(i, &mut |name, shape, role, optional| {
                put(&format!("layers.{i}.{name}"), shape, role, optional);
            });
        }
        list
    }

    fn layer_tensors(&self, i: usize, put: &mut Put<'_>) {
        let (h, layer) = (self.hidden, &self.layers[i]);
        let (q, kv) = (
            self.heads.saturating_mul(layer.head_dim),
            layer.kv_heads.saturating_mul(layer.head_dim),
        );
        for norm in [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ] {
            put(&format!("{norm}.weight"), &[h], Role::Norm, false);
        }
        put("self_attn.q_proj", &[q, h], Role::Linear, false);
        put("self_attn.o_proj", &[h, q], Role::Linear, false);
        put("self_attn.q_norm.weight", &[layer.head_dim], Role::Norm, false);
        if self.drafter.is_none() {
            // Layers that share a cache may still carry the projections they do not use.
            put("self_attn.k_proj", &[kv, h], Role::Linear, layer.shared);
            put("self_attn.k_norm.weight", &[layer.head_dim], Role::Norm, layer.shared);
            if !layer.key_is_value {
                put("self_attn.v_proj", &[kv, h], Role::Linear, layer.shared);
            }
        }
        put("mlp.gate_proj", &[layer.inner, h], Role::Linear, false);
        put("mlp.up_proj", &[layer.inner, h], Role::Linear, false);
        put("mlp.down_proj", &[h, layer.inner], Role::Linear, false);
        if self.family != Family::Gemma3 {
            put("layer_scalar", &[1], Role::Scale, false);
        }
        if self.ple_width > 0 {
            put("per_layer_input_gate", &[self.ple_width, h], Role::Linear, false);
            put("per_layer_projection", &[h, self.ple_width], Role::Linear, false);
            put("post_per_layer_input_norm.weight", &[h], Role::Norm, false);
        }
        if let Some((experts, inner)) = self.experts {
            put("router.proj.weight", &[experts, h], Role::Plain, false);
            put("router.scale", &[h], Role::Scale, false);
            put("router.per_expert_scale", &[experts], Role::Scale, false);
            let twice = inner.saturating_mul(2);
            put("experts.gate_up_proj", &[experts, twice, h], Role::Plain, false);
            put("experts.down_proj", &[experts, h, inner], Role::Plain, false);
            for norm in [
                "pre_feedforward_layernorm_2",
                "post_feedforward_layernorm_1",
                "post_feedforward_layernorm_2",
            ] {
                put(&format!("{norm}.weight"), &[h], Role::Norm, false);
            }
        }
    }
}

fn resolve_layer(
    config: &Config,
    seen: &Observed,
    g: &Geometry,
    i: usize,
    first: usize,
    plain_dim: usize,
) -> Option<LayerGeometry> {
    let full = g.kinds[i];
    let like = |j: usize| g.kinds.get(j).copied().unwrap_or(false) == full;
    let global = match (full, config.family) {
        (true, Family::Gemma4 | Family::Assistant) => {
            config.override_of(i, "head_dim").or_else(|| config.count("global_head_dim"))
        }
        _ => None,
    };
    let head_dim = seen.agreed(|j, l| l.q_norm.filter(|_| like(j))).or(global).unwrap_or(plain_dim);
    let claimed_kv = match full && config.flag("attention_k_eq_v") {
        true => config
            .override_of(i, "num_key_value_heads")
            .or_else(|| config.count("num_global_key_value_heads")),
        false => None,
    };
    let seen_kv = seen.agreed(|j, l| {
        let rows = l.k_rows.filter(|_| like(j) && j < first)?;
        Some(rows / l.q_norm.filter(|w| *w > 0)?)
    });
    let kv_heads =
        seen_kv.or(claimed_kv).or_else(|| config.count("num_key_value_heads")).unwrap_or(g.heads);
    let shared = i >= first;
    let claimed_inner = config.count("intermediate_size").map(|inner| {
        let double = shared && first > 0 && config.flag("use_double_wide_mlp");
        inner.saturating_mul(if double { 2 } else { 1 })
    });
    let inner = seen.agreed(|j, l| l.inner.filter(|_| (j >= first) == shared)).or(claimed_inner)?;
    let without = |want: bool| {
        let own = seen
            .layers
            .iter()
            .enumerate()
            .filter(|(j, l)| like(*j) && *j < first && l.k_rows.is_some());
        own.filter(|(_, l)| l.has_v != want).count()
    };
    let key_is_value = full
        && config.family == Family::Gemma4
        && match seen.layers.is_empty() {
            true => config.flag("attention_k_eq_v"),
            false => without(true) > without(false),
        };
    Some(LayerGeometry { head_dim, kv_heads, inner, shared: shared && first > 0, key_is_value })
}

/// Files that leave the modules of `expected` out, in other shapes, or hold more than it.
pub(super) fn check(geometry: &Geometry, named: &Named<'_>, findings: &mut Findings) {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let unfused = named.text.contains_key("layers.0.experts.0.gate_proj.weight")
        || named.text.contains_key("layers.0.experts.0.gate_proj.weight_packed");
    let mut expected = geometry.tensors();
    if unfused {
        unfuse(&mut expected);
    }
    for tensor in &expected {
        check_one(tensor, named, &mut known, findings);
    }
    let drafter = geometry.drafter.is_some();
    for (name, tensor) in &named.text {
        let spare = drafter && (name.contains(".self_attn.k_") || name.contains(".self_attn.v_"));
        if known.contains(*name) || spare || name.contains("rotary_emb.inv_freq") {
            continue;
        }
        let place = format!("{}: {name}", tensor.file);
        let message = format!("of shape {:?} belongs to no part of this model", tensor.shape);
        let mend = "the file may be of another model, or config.json lacks the key that uses it";
        findings.warning(Code::UnknownTensor, place, message, mend);
    }
}

/// Replaces stacked experts by one matrix an expert, as some re-releases store them.
fn unfuse(expected: &mut Vec<Expected>) {
    let mut single = Vec::new();
    expected.retain(|e| {
        let Some(base) = e.name.strip_suffix("experts.gate_up_proj") else {
            let Some(base) = e.name.strip_suffix("experts.down_proj") else { return true };
            single.extend(
                (0..e.shape[0])
                    .map(|x| (format!("{base}experts.{x}.down_proj"), e.shape[1], e.shape[2])),
            );
            return false;
        };
        for x in 0..e.shape[0] {
            for part in ["gate_proj", "up_proj"] {
                single.push((format!("{base}experts.{x}.{part}"), e.shape[1] / 2, e.shape[2]));
            }
        }
        false
    });
    expected.extend(single.into_iter().map(|(name, rows, cols)| Expected {
        name,
        shape: vec![rows, cols],
        role: Role::Linear,
        optional: false,
    }));
}

fn check_one(
    expected: &Expected,
    named: &Named<'_>,
    known: &mut BTreeSet<String>,
    findings: &mut Findings,
) {
    let name = &expected.name;
    let text: &BTreeMap<&str, &Tensor> = &named.text;
    let full = match expected.role {
        Role::Linear => format!("{name}.weight"),
        _ => name.clone(),
    };
    let mut shape = text.get(full.as_str()).map(|t| t.shape.clone());
    let mut found = text.get(full.as_str()).copied();
    if expected.role == Role::Linear {
        for part in ["weight", "weight_packed", "weight_scale", "weight_shape", "weight_zero_point"]
        {
            known.insert(format!("{name}.{part}"));
        }
        let packed = text.get(format!("{name}.weight_packed").as_str()).copied();
        if let (None, Some(packed)) = (found, packed) {
            found = Some(packed);
            shape = dims(text, name).map(|(rows, cols)| vec![rows, cols]);
        }
    }
    known.insert(full.clone());
    let Some(tensor) = found else {
        // A file that is cut or lies holds the tensor's name, and says so by itself.
        if !expected.optional && !findings.has(Code::WeightsCorrupt) {
            let message = format!("of shape {:?} is in no file", expected.shape);
            let mend =
                "fetch the missing shard, or correct the key of config.json that asks for it";
            findings.error(Code::MissingTensor, full, message, mend);
        }
        return;
    };
    let place = format!("{}: {full}", tensor.file);
    let counts =
        expected.role == Role::Ids || *name == "layer_scalar" || name.ends_with(".layer_scalar");
    let same = match (&shape, counts) {
        (Some(shape), true) => {
            shape.iter().product::<usize>() == expected.shape.iter().product::<usize>()
        }
        (Some(shape), false) => *shape == expected.shape,
        (None, _) => false,
    };
    if !same {
        let shape = shape.unwrap_or_else(|| tensor.shape.clone());
        let message = format!("has shape {shape:?}; the model needs {:?}", expected.shape);
        let mend = "this tensor is of another model; fetch the file again";
        findings.error(Code::WrongShape, place.clone(), message, mend);
    }
    check_dtype(expected, tensor, &place, findings);
}

fn check_dtype(expected: &Expected, tensor: &Tensor, place: &str, findings: &mut Findings) {
    let packed = place.ends_with(".weight") && !tensor.dtype.is_weight();
    let (allowed, wanted) = match expected.role {
        Role::Ids => (matches!(tensor.dtype, Dtype::I64 | Dtype::I32), "I64"),
        Role::Linear if tensor.name.ends_with("weight_packed") => {
            (matches!(tensor.dtype, Dtype::I32 | Dtype::U32), "I32")
        }
        _ => (tensor.dtype.is_weight(), "BF16, F16 or F32"),
    };
    if !allowed {
        let message = format!("has type {}; expected {wanted}", tensor.dtype.name());
        let mend = match packed {
            true => "this engine reads compressed-tensors packed weights or GGUF, not this format",
            false => "fetch the file again, or convert it",
        };
        findings.error(Code::Dtype, place, message, mend);
    } else if tensor.dtype == Dtype::Block(Block::F16) && !tensor.file.ends_with(".gguf") {
        let message = "is F16; Gemma is published in BF16, whose larger numbers F16 cannot hold";
        let mend = "prefer the BF16 file; check that nothing became infinite";
        findings.note(Code::Dtype, place, message, mend);
    }
}
