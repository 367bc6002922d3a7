//! GGUF tensor names to those of the safetensors files (specification §5 and §6).

use super::Gguf;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::load::Tensor;
use std::collections::BTreeMap;

/// Tensors outside the layers.
const GLOBAL: [(&str, &str); 9] = [
    ("token_embd.weight", "embed_tokens.weight"),
    ("output.weight", "lm_head.weight"),
    ("output_norm.weight", "norm.weight"),
    ("per_layer_token_embd.weight", "embed_tokens_per_layer.weight"),
    ("per_layer_model_proj.weight", "per_layer_model_projection.weight"),
    ("per_layer_proj_norm.weight", "per_layer_projection_norm.weight"),
    ("nextn.pre_projection.weight", "pre_projection.weight"),
    ("nextn.post_projection.weight", "post_projection.weight"),
    ("masked_embd_centroids.weight", "masked_embedding.centroids.weight"),
];

/// Tensors of a layer, after `blk.<i>.` and `layers.<i>.`.
const LAYER: [(&str, &str); 27] = [
    ("attn_norm.weight", "input_layernorm.weight"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_q_norm.weight", "self_attn.q_norm.weight"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight"),
    ("post_attention_norm.weight", "post_attention_layernorm.weight"),
    ("ffn_norm.weight", "pre_feedforward_layernorm.weight"),
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
    ("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
    ("layer_output_scale.weight", "layer_scalar"),
    ("inp_gate.weight", "per_layer_input_gate.weight"),
    ("proj.weight", "per_layer_projection.weight"),
    ("post_norm.weight", "post_per_layer_input_norm.weight"),
    ("ffn_gate_inp.weight", "router.proj.weight"),
    ("ffn_gate_inp.scale", "router.scale"),
    ("ffn_gate_up_exps.weight", "experts.gate_up_proj"),
    ("ffn_gate_exps.weight", SPLIT_GATE),
    ("ffn_up_exps.weight", SPLIT_UP),
    ("ffn_down_exps.weight", "experts.down_proj"),
    ("ffn_down_exps.scale", "router.per_expert_scale"),
    ("pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight"),
    ("post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight"),
    ("post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight"),
];

const SPLIT_GATE: &str = "experts.{e}.gate_proj.weight";
const SPLIT_UP: &str = "experts.{e}.up_proj.weight";
const SPLIT_DOWN: &str = "experts.{e}.down_proj.weight";
const FUSED_QKV: &str = "attn_qkv.weight";

/// The tensors of a target model. Tensors with other names are left out.
pub(super) fn target(gguf: Gguf, config: &ModelConfig) -> Result<BTreeMap<String, Tensor>> {
    let split = |i: &str| gguf.tensors.contains_key(&format!("blk.{i}.ffn_gate_exps.weight"));
    let mut named = BTreeMap::new();
    for (name, tensor) in &gguf.tensors {
        let Some((i, rest)) = name.strip_prefix("blk.").and_then(|n| n.split_once('.')) else {
            if let Some((_, hf)) = GLOBAL.iter().find(|(own, _)| own == name) {
                named.insert((*hf).to_string(), tensor.clone());
            }
            continue;
        };
        if rest == FUSED_QKV {
            split_qkv(i, tensor, config, &mut named)?;
            continue;
        }
        match LAYER.iter().find(|(own, _)| *own == rest) {
            None => {}
            Some((_, hf)) if hf.contains("{e}") => split_experts(i, hf, tensor, &mut named)?,
            Some((_, "experts.down_proj")) if split(i) => {
                split_experts(i, SPLIT_DOWN, tensor, &mut named)?;
            }
            Some((_, hf)) => {
                named.insert(format!("layers.{i}.{hf}"), tensor.clone());
            }
        }
    }
    Ok(named)
}

/// Rows of q, then k, then v.
fn split_qkv(
    i: &str,
    tensor: &Tensor,
    config: &ModelConfig,
    named: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let layer = i.parse().ok().and_then(|i: usize| config.layers.get(i));
    let layer =
        layer.ok_or_else(|| tensor.error("belongs to a layer that the file does not have"))?;
    let (q, kv) = (config.heads * layer.head_dim, layer.kv_heads * layer.head_dim);
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let parts: &[(&str, usize)] = match rows {
        n if n == q + 2 * kv => &[("q_proj", 0), ("k_proj", q), ("v_proj", q + kv)],
        n if n == q + kv => &[("q_proj", 0), ("k_proj", q)],
        // A layer that reads another one's keys and values.
        n if n == q => &[("q_proj", 0)],
        _ => {
            return Err(
                tensor.error(format!("has {rows} rows; q, k and v together have {}", q + 2 * kv))
            );
        }
    };
    for (part, start) in parts {
        let length = if *start == 0 { q } else { kv };
        let rows = tensor.rows(*start..start + length)?;
        named.insert(format!("layers.{i}.self_attn.{part}.weight"), rows);
    }
    Ok(())
}

/// A stack of experts as one tensor for each.
fn split_experts(
    i: &str,
    name: &str,
    tensor: &Tensor,
    named: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    let [experts, rows, cols] = tensor.shape[..] else {
        return Err(tensor.error("must have three dimensions"));
    };
    for e in 0..experts {
        let mut expert = tensor.rows(e..e + 1)?;
        expert.shape = vec![rows, cols];
        named.insert(format!("layers.{i}.{}", name.replace("{e}", &e.to_string())), expert);
    }
    Ok(())
}

/// The tensors of a drafter.
pub(super) fn drafter(gguf: Gguf) -> BTreeMap<String, Tensor> {
    let named = gguf.tensors.into_iter().filter_map(|(name, tensor)| {
        let global = GLOBAL.iter().find(|(own, _)| *own == name).map(|(_, hf)| (*hf).to_string());
        let layer = || {
            let (i, rest) = name.strip_prefix("blk.")?.split_once('.')?;
            let (_, hf) = LAYER.iter().find(|(own, _)| *own == rest)?;
            Some(format!("layers.{i}.{hf}"))
        };
        Some((global.or_else(layer)?, tensor))
    });
    named.collect()
}
