"""Trains the MTP drafter of gemma4-nano: four query-only layers that read the target's K/V, fed with
[target embedding ; target hidden state], with a centroid head.

usage: train_drafter.py CORPUS_DIR TARGET_DIR OUT_DIR [STEPS]
needs: pip install torch transformers tokenizers safetensors
"""

import json
import math
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as fn
import transformers.models.gemma4.modeling_gemma4 as modeling
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Gemma4ForCausalLM

S, F = "sliding_attention", "full_attention"
TYPES = [S, S, S, F]
HEAD_DIM = {S: 64, F: 128}
HIDDEN, INTERMEDIATE = 64, 512
DRAFTS, CONTEXT, BATCH = 4, 192, 8
CENTROIDS, SEARCHED = 128, 16
BOS = 2
NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")


def rms(x, weight=None):
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return y if weight is None else y * weight


def rotation(positions, dim, theta, fraction):
    frequency = torch.zeros(dim // 2)
    rotated = int(fraction * dim / 2)
    frequency[:rotated] = theta ** (-2.0 * torch.arange(rotated) / dim)
    angle = torch.arange(positions)[:, None] * frequency
    return angle.cos(), angle.sin()


ROTATION = {S: rotation(4096, 64, 1e4, 1.0), F: rotation(4096, 128, 1e6, 0.25)}


class Target:
    """The frozen target, with the K/V of the layers that the drafter reads."""

    def __init__(self, folder):
        self.model = Gemma4ForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        config = self.model.config
        self.config, self.kv = config, {}
        first_shared = config.num_hidden_layers - config.num_kv_shared_layers
        owners = {max(i for i in range(first_shared) if config.layer_types[i] == t) for t in (S, F)}
        original = modeling.eager_attention_forward

        def spy(module, q, k, v, *args, **kwargs):
            if module.layer_idx in owners and not module.is_kv_shared_layer:
                self.kv[module.layer_type] = (k[:, 0].detach(), v[:, 0].detach())  # one kv head: [b, n, d]
            return original(module, q, k, v, *args, **kwargs)

        modeling.eager_attention_forward = spy

    @torch.no_grad()
    def run(self, x):
        """Embeddings, final hidden states and log-probabilities of every position."""
        out = self.model(x, use_cache=False, output_hidden_states=True)
        embeddings = self.model.get_input_embeddings()(x)
        return embeddings, out.hidden_states[-1], out.logits.float().log_softmax(-1)


class Layer(nn.Module):
    """A decoder layer that makes queries only."""

    def __init__(self, kind, heads):
        super().__init__()
        self.kind, self.heads, dim = kind, heads, HEAD_DIM[kind]
        linear = lambda o, i: nn.Parameter(torch.randn(o, i) / i ** 0.5)
        ones = lambda n: nn.Parameter(torch.ones(n))
        self.q_proj, self.o_proj = linear(heads * dim, HIDDEN), linear(HIDDEN, heads * dim)
        self.gate_proj, self.up_proj = linear(INTERMEDIATE, HIDDEN), linear(INTERMEDIATE, HIDDEN)
        self.down_proj = linear(HIDDEN, INTERMEDIATE)
        for name in NORMS:
            setattr(self, name, ones(HIDDEN))
        self.q_norm, self.layer_scalar = ones(dim), ones(1)

    def forward(self, x, position, mask, kv):
        b, n, _ = x.shape
        dim = HEAD_DIM[self.kind]
        k, v = kv[self.kind]
        q = rms((rms(x, self.input_layernorm) @ self.q_proj.T).view(b, n, self.heads, dim), self.q_norm)
        cos, sin = (table[position][:, None] for table in ROTATION[self.kind])
        low, high = q[..., :dim // 2], q[..., dim // 2:]
        q = torch.cat([low * cos - high * sin, high * cos + low * sin], -1)
        scores = torch.einsum("bnhd,bkd->bhnk", q, k).masked_fill(~mask, float("-inf"))
        a = torch.einsum("bhnk,bkd->bnhd", scores.softmax(-1), v).reshape(b, n, self.heads * dim)
        x = x + rms(a @ self.o_proj.T, self.post_attention_layernorm)
        f = rms(x, self.pre_feedforward_layernorm)
        m = (fn.gelu(f @ self.gate_proj.T, approximate="tanh") * (f @ self.up_proj.T)) @ self.down_proj.T
        return (x + rms(m, self.post_feedforward_layernorm)) * self.layer_scalar


class Drafter(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, vocab = config.hidden_size, config.vocab_size
        self.window = config.sliding_window
        self.pre = nn.Parameter(torch.randn(HIDDEN, 2 * width) / (2 * width) ** 0.5)
        self.post = nn.Parameter(torch.randn(width, HIDDEN) / HIDDEN ** 0.5)
        self.embed = nn.Parameter(torch.randn(vocab, HIDDEN) * 0.3)
        self.norm = nn.Parameter(torch.ones(HIDDEN))
        self.layers = nn.ModuleList(Layer(t, config.num_attention_heads) for t in TYPES)
        self.centroids = nn.Parameter(torch.zeros(CENTROIDS, HIDDEN))

    def step(self, embedding, hidden, position, masks, kv):
        x = torch.cat([embedding, hidden], -1) @ self.pre.T
        for layer in self.layers:
            x = layer(x, position, masks[layer.kind], kv)
        y = rms(x, self.norm)
        return y, y @ self.post.T

    def rounds(self, target, x):
        """Yields (y, target log-probabilities) of every draft step of the rounds that start at each position."""
        embeddings, hidden, scores = target.run(x)
        # The newest token sits at n; keys 0 to n - 1 are visible, and the position stays n for the whole round.
        n = torch.arange(1, x.shape[1] - DRAFTS)
        key = torch.arange(x.shape[1])
        full = key[None] < n[:, None]
        masks = {F: full, S: full & (n[:, None] - key[None] < self.window)}
        g = hidden[:, n - 1]
        for i in range(DRAFTS):
            y, g = self.step(embeddings[:, n + i], g, n, masks, target.kv)
            yield y, scores[:, n + i]


def sample(stream):
    starts = [random.randrange(len(stream) - CONTEXT) for _ in range(BATCH)]
    return torch.tensor([[BOS] + stream[i:i + CONTEXT] for i in starts])


@torch.no_grad()
def agreement(drafter, target, heldout, choose):
    """How often the greedy draft of each slot is the target's own choice, on held-out text."""
    chooser, hits = random.Random(5), torch.zeros(DRAFTS)
    for _ in range(6):
        i = chooser.randrange(len(heldout) - CONTEXT)
        x = torch.tensor([[BOS] + heldout[i:i + CONTEXT]])
        for slot, (y, scores) in enumerate(drafter.rounds(target, x)):
            hits[slot] += (choose(y) == scores.argmax(-1)).float().mean() / 6
    return [round(float(v), 3) for v in hits]


def train_layers(drafter, target, stream, heldout, steps):
    named = list(drafter.named_parameters())
    is_matrix = lambda name, p: p.ndim == 2 and name not in ("embed", "centroids")
    matrices = [p for n, p in named if is_matrix(n, p)]
    rest = [p for n, p in named if p.ndim != 2 or n == "embed"]
    opts = [
        torch.optim.Muon(matrices, lr=3e-3, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=3e-3, weight_decay=0.0),
    ]
    rate = lambda s: min(1, (s + 1) / 30) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1, s / steps))))
    stepped = opts + [torch.optim.lr_scheduler.LambdaLR(o, rate) for o in opts]
    dense = lambda y: (y @ drafter.embed.T).argmax(-1)
    start = time.time()
    for step in range(steps):
        loss = 0.0
        for slot, (y, scores) in enumerate(drafter.rounds(target, sample(stream))):
            log_q = (y @ drafter.embed.T).log_softmax(-1)
            loss = loss - (scores.exp() * log_q).sum(-1).mean() * 0.8 ** slot
        drafter.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(drafter.parameters(), 1.0)
        for item in stepped:
            item.step()
        if step % 50 == 0 or step == steps - 1:
            found = agreement(drafter, target, heldout, dense)
            print(step, round(loss.item(), 3), "agreement per slot", found, f"{time.time() - start:.0f}s", flush=True)


@torch.no_grad()
def cluster(drafter):
    """Balanced clusters of the head's rows; returns token ids in cluster order and sets the centroids."""
    rows = fn.normalize(drafter.embed, dim=-1)
    vocab = len(rows)
    centres = rows[torch.randperm(vocab)[:CENTROIDS]].clone()
    for _ in range(12):
        similarity = rows @ centres.T
        order = similarity.max(-1).values.argsort(descending=True)
        room = torch.full((CENTROIDS,), vocab // CENTROIDS)
        assigned = torch.empty(vocab, dtype=torch.long)
        preferred = similarity.argsort(-1, descending=True)
        for token in order.tolist():
            for centre in preferred[token].tolist():
                if room[centre] > 0:
                    room[centre] -= 1
                    assigned[token] = centre
                    break
        means = [fn.normalize(rows[assigned == c].mean(0), dim=0) for c in range(CENTROIDS)]
        centres = torch.stack(means)
    drafter.centroids.copy_(centres * 4)
    return torch.cat([(assigned == c).nonzero()[:, 0] for c in range(CENTROIDS)])


def train_centroids(drafter, target, stream, ordering, steps):
    """Moves the centroids so that they find the cluster of the target's choice."""
    optimiser = torch.optim.Adam([drafter.centroids], lr=1e-2)
    for _ in range(steps):
        with torch.no_grad():
            pairs = list(drafter.rounds(target, sample(stream)))
        loss = 0.0
        for y, scores in pairs:
            p = scores.exp()[..., ordering].unflatten(-1, (CENTROIDS, -1)).sum(-1)
            loss = loss - (p * (y @ drafter.centroids.T).log_softmax(-1)).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def centroid_head(drafter, ordering):
    """The greedy choice as the engine makes it: search a few clusters, then their rows."""
    members = ordering.view(CENTROIDS, -1)

    def choose(y):
        best = (y @ drafter.centroids.T).topk(SEARCHED, -1).indices
        candidates = members[best].flatten(-2)
        scores = torch.einsum("bnd,bnkd->bnk", y, drafter.embed[candidates])
        return candidates.gather(-1, scores.argmax(-1, keepdim=True))[..., 0]

    return choose


def save(drafter, ordering, config, out):
    tensors = {
        "pre_projection.weight": drafter.pre,
        "post_projection.weight": drafter.post,
        "model.embed_tokens.weight": drafter.embed,
        "model.norm.weight": drafter.norm,
        "masked_embedding.centroids.weight": drafter.centroids,
    }
    for i, layer in enumerate(drafter.layers):
        prefix = f"model.layers.{i}."
        for name in NORMS:
            tensors[f"{prefix}{name}.weight"] = getattr(layer, name)
        for name in ("q_proj", "o_proj"):
            tensors[f"{prefix}self_attn.{name}.weight"] = getattr(layer, name)
        tensors[f"{prefix}self_attn.q_norm.weight"] = layer.q_norm
        for name in ("gate_proj", "up_proj", "down_proj"):
            tensors[f"{prefix}mlp.{name}.weight"] = getattr(layer, name)
        tensors[f"{prefix}layer_scalar"] = layer.layer_scalar
    tensors = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in tensors.items()}
    tensors["masked_embedding.token_ordering"] = ordering.contiguous()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    text = dict(
        model_type="gemma4_text", vocab_size=config.vocab_size, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=4, layer_types=TYPES, num_attention_heads=config.num_attention_heads, num_key_value_heads=1,
        head_dim=HEAD_DIM[S], global_head_dim=HEAD_DIM[F], sliding_window=config.sliding_window, num_kv_shared_layers=4,
        rms_norm_eps=1e-6, hidden_size_per_layer_input=0, vocab_size_per_layer_input=0, attention_k_eq_v=False,
        final_logit_softcapping=None, tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh",
        rope_parameters={
            S: {"rope_type": "default", "rope_theta": 10000.0},
            F: {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25},
        })
    top = dict(
        architectures=["Gemma4AssistantForCausalLM"], model_type="gemma4_assistant",
        backbone_hidden_size=config.hidden_size, use_ordered_embeddings=True, num_centroids=CENTROIDS,
        centroid_intermediate_top_k=SEARCHED, tie_word_embeddings=True, dtype="bfloat16", text_config=text)
    (out / "config.json").write_text(json.dumps(top, indent=1))


def main():
    corpus, target_dir, out = map(Path, sys.argv[1:4])
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 700
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    random.seed(1)
    target = Target(target_dir)
    tokenizer = Tokenizer.from_file(str(target_dir / "tokenizer.json"))
    encode = lambda name: tokenizer.encode((corpus / name).read_text(), add_special_tokens=False).ids
    stream, heldout = encode("train.txt"), encode("heldout.txt")
    drafter = Drafter(target.config)
    print("drafter parameters", sum(p.numel() for p in drafter.parameters()), flush=True)
    train_layers(drafter, target, stream, heldout, steps)
    ordering = cluster(drafter)
    train_centroids(drafter, target, stream, ordering, max(60, steps // 5))
    found = agreement(drafter, target, heldout, centroid_head(drafter, ordering))
    print("centroid head agreement per slot", found, flush=True)
    save(drafter, ordering, target.config, out)


if __name__ == "__main__":
    main()
