"""Writes a small Gemma checkpoint or Gemma 4 drafter in safetensors as GGUF, by the names and keys of the
llama.cpp converter, which leaves a drafter's centroids out.

    pip install gguf safetensors numpy torch
    python hf_to_gguf.py CHECKPOINT OUT.gguf [bf16|f16|f32|q8_0|q4_0|q4_1|q5_0|q5_1] [--fused] [--split-experts]

For tests of the reader: put OUT.gguf beside the case's expected.safetensors as OUT.safetensors and name their
folder in ASSAY_GOLDEN_GGUF. There is no tokenizer in the result.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter
from gguf.quants import quantize
from safetensors import safe_open

source, out = Path(sys.argv[1]), sys.argv[2]
kind = next((a for a in sys.argv[3:] if not a.startswith("--")), "bf16").upper()
fused, split = "--fused" in sys.argv, "--split-experts" in sys.argv

config = json.loads((source / "config.json").read_text())
drafter = config["model_type"].endswith("_assistant")
backbone = config.get("backbone_hidden_size")
config = config.get("text_config", config)
gemma3 = config["model_type"].startswith("gemma3")
arch = "gemma3" if gemma3 else "gemma4-assistant" if drafter else "gemma4"
layers = config["num_hidden_layers"]
kinds = config["layer_types"]
own = config.get("per_layer_config", {})
shared = config.get("num_kv_shared_layers", 0) or 0
tensors = {}
for path in sorted(source.glob("*.safetensors")):
    if path.name == "expected.safetensors":
        continue
    with safe_open(path, "pt") as f:
        for name in f.keys():
            short = name.removeprefix("model.language_model.").removeprefix("model.")
            if not short.startswith("masked_embedding."):
                tensors[short] = f.get_tensor(name).float().numpy()


def layer(i, key, default):
    return own.get(str(i), {}).get(key, default)


full_dim = config.get("global_head_dim") or next(
    (layer(i, "head_dim", config["head_dim"]) for i in range(layers) if kinds[i] == "full_attention"), config["head_dim"]
)
w = GGUFWriter(out, arch)
w.add_block_count(layers)
w.add_context_length(config.get("max_position_embeddings", 131072))
w.add_embedding_length(config["hidden_size"])
w.add_feed_forward_length([int(tensors[f"layers.{i}.mlp.gate_proj.weight"].shape[0]) for i in range(layers)])
w.add_head_count(config["num_attention_heads"])
norms = [tensors.get(f"layers.{i}.self_attn.q_norm.weight").shape[0] for i in range(layers)]
kv = []
for i in range(layers):
    k = tensors.get(f"layers.{i}.self_attn.k_proj.weight")
    if drafter:
        wide = kinds[i] == "full_attention" and config.get("num_global_key_value_heads")
        kv.append(wide or config["num_key_value_heads"])
        continue
    if k is None:
        source_layer = max(j for j in range(layers - shared) if kinds[j] == kinds[i])
        k = tensors[f"layers.{source_layer}.self_attn.k_proj.weight"]
    kv.append(int(k.shape[0] // norms[i]))
w.add_head_count_kv(kv)
w.add_key_length(full_dim)
w.add_value_length(full_dim)
w.add_sliding_window(config["sliding_window"])
w.add_layer_norm_rms_eps(config["rms_norm_eps"])
rope = config.get("rope_parameters", {})
w.add_rope_freq_base(rope.get("full_attention", {}).get("rope_theta", config.get("rope_theta", 1e6)))
w.add_float32(f"{arch}.rope.freq_base_swa", rope.get("sliding_attention", {}).get("rope_theta", 1e4))
if not gemma3:
    w.add_array(f"{arch}.attention.sliding_window_pattern", [k == "sliding_attention" for k in kinds])
    w.add_uint32(f"{arch}.attention.key_length_swa", config["head_dim"])
    w.add_uint32(f"{arch}.attention.shared_kv_layers", shared)
    w.add_uint32(f"{arch}.embedding_length_per_layer_input", config.get("hidden_size_per_layer_input", 0) or 0)
    fraction = rope.get("full_attention", {}).get("partial_rotary_factor", 0.25)
    factors = np.full(full_dim // 2, 1e30, dtype=np.float32)
    factors[: int(fraction * full_dim / 2)] = 1
    w.add_tensor("rope_freqs.weight", factors)
else:
    w.add_array(f"{arch}.attention.sliding_window_pattern", [k == "sliding_attention" for k in kinds])
if drafter:
    w.add_uint32(f"{arch}.embedding_length_out", backbone)
    w.add_uint32(f"{arch}.nextn_predict_layers", layers)
if config.get("final_logit_softcapping"):
    w.add_float32(f"{arch}.final_logit_softcapping", config["final_logit_softcapping"])
if config.get("enable_moe_block"):
    w.add_expert_count(config["num_experts"])
    w.add_expert_used_count(config["top_k_experts"])
    w.add_expert_feed_forward_length(config["moe_intermediate_size"])

NAMES = {
    "embed_tokens.weight": "token_embd.weight",
    "lm_head.weight": "output.weight",
    "norm.weight": "output_norm.weight",
    "embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
    "per_layer_model_projection.weight": "per_layer_model_proj.weight",
    "per_layer_projection_norm.weight": "per_layer_proj_norm.weight",
    "pre_projection.weight": "nextn.pre_projection.weight",
    "post_projection.weight": "nextn.post_projection.weight",
}
LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "pre_feedforward_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
    "layer_scalar": "layer_output_scale.weight",
    "per_layer_input_gate.weight": "inp_gate.weight",
    "per_layer_projection.weight": "proj.weight",
    "post_per_layer_input_norm.weight": "post_norm.weight",
    "router.proj.weight": "ffn_gate_inp.weight",
    "router.scale": "ffn_gate_inp.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "experts.down_proj": "ffn_down_exps.weight",
    "router.per_expert_scale": "ffn_down_exps.scale",
    "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
    "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
    "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight",
}


def put(name, values):
    values = np.ascontiguousarray(values, dtype=np.float32)
    if gemma3 and name.endswith("norm.weight"):
        values = values + 1
    if values.ndim < 2 or name.endswith("ffn_gate_inp.weight") or kind == "F32":
        w.add_tensor(name, values)
    else:
        data = quantize(values, Type[kind])
        w.add_tensor(name, data, raw_dtype=Type[kind])


for name, values in tensors.items():
    if not name.startswith("layers."):
        if not (name == "lm_head.weight" and config.get("tie_word_embeddings", True)):
            put(NAMES[name], values)
        continue
    _, i, rest = name.split(".", 2)
    qkv = ["q_proj", "k_proj", "v_proj"]
    if fused and any(part in rest for part in qkv):
        if "q_proj" in rest:
            parts = [tensors.get(f"layers.{i}.self_attn.{part}.weight") for part in qkv]
            put(f"blk.{i}.attn_qkv.weight", np.concatenate([p for p in parts if p is not None]))
        continue
    if split and rest == "experts.gate_up_proj":
        gate, up = np.split(values, 2, axis=1)
        put(f"blk.{i}.ffn_gate_exps.weight", gate)
        put(f"blk.{i}.ffn_up_exps.weight", up)
        continue
    put(f"blk.{i}.{LAYER[rest]}", values)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
