"""Writes the seeds of the GGUF target: tiny whole models of every architecture that is read.

    pip install gguf
    python make_gguf.py gguf/
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter

HIDDEN, WIDE, VOCAB, DIM = 32, 32, 16, 32
random = np.random.default_rng(3)


def blocks(rows, cols):
    return random.integers(0, 60, (rows, cols // 32 * 34), dtype=np.uint8)


def write(path, arch, experts=0, fused=False, ple=0, layers=2):
    w = GGUFWriter(None, arch)
    w.add_block_count(layers)
    w.add_context_length(64)
    w.add_embedding_length(HIDDEN)
    w.add_feed_forward_length([WIDE] * layers)
    w.add_head_count(2)
    w.add_head_count_kv(1)
    w.add_key_length(DIM)
    w.add_value_length(DIM)
    w.add_sliding_window(8)
    w.add_layer_norm_rms_eps(1e-6)
    if arch != "gemma3":
        w.add_array(f"{arch}.attention.sliding_window_pattern", [True] * (layers - 1) + [False])
        w.add_uint32(f"{arch}.attention.shared_kv_layers", 0)
        w.add_uint32(f"{arch}.embedding_length_per_layer_input", ple)
    if arch == "gemma4-assistant":
        w.add_uint32(f"{arch}.embedding_length_out", 64)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
        w.add_expert_feed_forward_length(WIDE)
    w.add_tokenizer_model("llama" if arch == "gemma3" else "gemma4")
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<0x0A>", "▁", "a", "b", "ab", "▁ab", "c", "d", "e", "f", "g", "é"]
    w.add_token_list(tokens)
    w.add_token_scores([-float(i) for i in range(VOCAB)])
    w.add_token_types([3, 3, 3, 3, 6] + [1] * 11)
    w.add_token_merges(["a b", "▁ ab"])
    w.add_bos_token_id(2)
    w.add_eos_token_id(1)
    w.add_chat_template("{{ messages }}")

    def matrix(name, rows, cols):
        w.add_tensor(name, blocks(rows, cols), raw_dtype=Type.Q8_0)

    def vector(name, n):
        w.add_tensor(name, np.ones(n, dtype=np.float32))

    matrix("token_embd.weight", VOCAB, HIDDEN)
    vector("output_norm.weight", HIDDEN)
    if ple:
        matrix("per_layer_token_embd.weight", VOCAB, layers * ple)
        matrix("per_layer_model_proj.weight", layers * ple, HIDDEN)
        vector("per_layer_proj_norm.weight", ple)
    if arch == "gemma4-assistant":
        matrix("nextn.pre_projection.weight", HIDDEN, 128)
        matrix("nextn.post_projection.weight", 64, HIDDEN)
    if arch != "gemma3":
        freqs = np.full(DIM // 2, 1e30, dtype=np.float32)
        freqs[:4] = 1
        w.add_tensor("rope_freqs.weight", freqs)
    for i in range(layers):
        b = f"blk.{i}."
        for name in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"]:
            vector(f"{b}{name}.weight", HIDDEN)
        if arch != "gemma3":
            vector(f"{b}layer_output_scale.weight", 1)
        vector(f"{b}attn_q_norm.weight", DIM)
        kv = arch != "gemma4-assistant"
        if kv:
            vector(f"{b}attn_k_norm.weight", DIM)
        if fused:
            matrix(f"{b}attn_qkv.weight", 4 * DIM, HIDDEN)
        else:
            matrix(f"{b}attn_q.weight", 2 * DIM, HIDDEN)
            if kv:
                matrix(f"{b}attn_k.weight", DIM, HIDDEN)
                matrix(f"{b}attn_v.weight", DIM, HIDDEN)
        matrix(f"{b}attn_output.weight", HIDDEN, 2 * DIM)
        matrix(f"{b}ffn_gate.weight", WIDE, HIDDEN)
        matrix(f"{b}ffn_up.weight", WIDE, HIDDEN)
        matrix(f"{b}ffn_down.weight", HIDDEN, WIDE)
        if ple:
            matrix(f"{b}inp_gate.weight", ple, HIDDEN)
            matrix(f"{b}proj.weight", HIDDEN, ple)
            vector(f"{b}post_norm.weight", HIDDEN)
        if experts:
            vector(f"{b}ffn_gate_inp.scale", HIDDEN)
            vector(f"{b}ffn_down_exps.scale", experts)
            w.add_tensor(f"{b}ffn_gate_inp.weight", np.ones((experts, HIDDEN), dtype=np.float32))
            for name, rows in [("ffn_gate_up_exps", 2 * WIDE), ("ffn_down_exps", HIDDEN)]:
                data = blocks(experts * rows, HIDDEN).reshape(experts, rows, -1)
                w.add_tensor(f"{b}{name}.weight", data, raw_dtype=Type.Q8_0)
            for name in ["pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"]:
                vector(f"{b}{name}.weight", HIDDEN)
    w.write_header_to_file(path)
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


out = Path(sys.argv[1])
write(out / "dense", "gemma4")
write(out / "fused", "gemma4", fused=True)
write(out / "per-layer", "gemma4", ple=32)
write(out / "experts", "gemma4", experts=4)
write(out / "gemma3", "gemma3")
write(out / "drafter", "gemma4-assistant")
