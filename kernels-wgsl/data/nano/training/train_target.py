"""Trains gemma4-nano: a real Gemma 4 text model (E-series layout) small enough to ship.

Same mechanisms as Gemma 4 E2B at toy widths: per-layer embeddings, sliding and full attention with different
head sizes, KV sharing in the last layers, double-wide MLP in those, proportional RoPE, tied embeddings, soft-cap.

usage: train_target.py CORPUS_DIR OUT_DIR [STEPS]
needs: pip install torch transformers tokenizers safetensors
"""

import json
import math
import random
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Gemma4ForCausalLM, Gemma4TextConfig, PreTrainedTokenizerFast

VOCAB, CONTEXT, BATCH = 4096, 256, 8
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>"]
BOS, TURN, TURN_END = 2, 5, 6
SPACE = "\u2581"
S, F = "sliding_attention", "full_attention"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|turn>' + ('model' if m['role']=='assistant' else m['role'])"
    " + '\n' + m['content'] + '<turn|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}"
)


def train_tokenizer(train_text, path):
    """A SentencePiece-style BPE as Gemma's: U+2581 for space and byte fallback."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL + byte_tokens, show_progress=False)
    tokenizer.train([str(train_text)], trainer)
    # The trainer only reserves ids for special tokens; the byte tokens are ordinary vocabulary.
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    tokenizer.save(str(path))


class Corpus:
    """Token stream, chat rows and held-out text."""

    def __init__(self, folder, tokenizer):
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.verses = [v for v in (folder / "train.txt").read_text().splitlines() if v]
        self.heldout = self.encode((folder / "heldout.txt").read_text())
        self.stream = self.encode("\n".join(self.verses))

    def chat_row(self):
        """Turns in which the model completes the verse that the user began."""
        row = []
        while len(row) < CONTEXT + 1:
            words = random.choice(self.verses).split(" ")
            half = max(1, len(words) // 2)
            row += [BOS, TURN] + self.encode("user\n" + " ".join(words[:half])) + [TURN_END]
            row += self.encode("\n") + [TURN] + self.encode("model\n" + " ".join(words[half:])) + [TURN_END]
        return row[:CONTEXT + 1]

    def batch(self):
        """A tenth of the rows are chat rows, the others windows of the stream."""
        rows = []
        for _ in range(BATCH):
            if random.random() < 0.1:
                rows.append(self.chat_row())
            else:
                start = random.randrange(len(self.stream) - CONTEXT)
                rows.append([BOS] + self.stream[start:start + CONTEXT])
        return torch.tensor(rows)


def configuration():
    config = Gemma4TextConfig(
        vocab_size=VOCAB, hidden_size=256, intermediate_size=512, num_hidden_layers=8,
        num_attention_heads=4, num_key_value_heads=1, head_dim=64, global_head_dim=128,
        layer_types=[S, S, S, F, S, S, S, F], sliding_window=64, num_kv_shared_layers=4,
        use_double_wide_mlp=True, hidden_size_per_layer_input=32, vocab_size_per_layer_input=VOCAB,
        final_logit_softcapping=30.0, max_position_embeddings=8192, tie_word_embeddings=True,
        bos_token_id=BOS, eos_token_id=[1, TURN_END], pad_token_id=0)
    config.dtype = "bfloat16"
    return config


def optimisers(model, steps):
    """Muon for the matrices, AdamW for the rest; warm-up, then cosine down to a twentieth."""
    named = list(model.named_parameters())
    is_matrix = lambda name, p: p.ndim == 2 and "embed_tokens" not in name
    matrices = [p for n, p in named if is_matrix(n, p)]
    others = [p for n, p in named if not is_matrix(n, p)]
    opts = [
        torch.optim.Muon(matrices, lr=3e-3, momentum=0.95, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    rate = lambda s: min(1, (s + 1) / 40) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1, s / steps))))
    return opts + [torch.optim.lr_scheduler.LambdaLR(o, rate) for o in opts]


@torch.no_grad()
def heldout_perplexity(model, heldout, windows=12):
    model.eval()
    loss = 0.0
    for k in range(windows):
        start = k * (len(heldout) - CONTEXT) // windows
        x = torch.tensor([[BOS] + heldout[start:start + CONTEXT]])
        scores = model(x[:, :-1]).logits.float().log_softmax(-1)
        loss -= scores.gather(-1, x[:, 1:, None]).mean().item() / windows
    model.train()
    return math.exp(loss)


def save(model, config, out):
    copy = Gemma4ForCausalLM(config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(out)
    return copy


def main():
    corpus_dir, out = Path(sys.argv[1]), Path(sys.argv[2])
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 1600
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    random.seed(0)

    path = out / "tokenizer.json"
    if not path.exists():
        train_tokenizer(corpus_dir / "train.txt", path)
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.get_vocab_size() == VOCAB, tokenizer.get_vocab_size()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
                            unk_token="<unk>", chat_template=CHAT_TEMPLATE).save_pretrained(out)
    corpus = Corpus(corpus_dir, tokenizer)
    print("train tokens", len(corpus.stream), "heldout tokens", len(corpus.heldout), flush=True)

    config = configuration()
    model = Gemma4ForCausalLM(config)
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    stepped = optimisers(model, steps)
    start = time.time()
    model.train()
    for step in range(steps):
        x = corpus.batch()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().reshape(-1, VOCAB), x[:, 1:].reshape(-1))
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for item in stepped:
            item.step()
        if step % 50 == 0 or step == steps - 1:
            ppl = heldout_perplexity(model, corpus.heldout)
            print(step, round(loss.item(), 3), "ppl", round(ppl, 2), f"{time.time() - start:.0f}s", flush=True)
        if step % 200 == 199 or step == steps - 1:
            saved = save(model, config, out)
    print("bf16 heldout ppl", heldout_perplexity(saved.float(), corpus.heldout))


if __name__ == "__main__":
    main()
