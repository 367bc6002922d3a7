"""Writes the reference outputs of gemma4-nano: expected.safetensors and expected.json, in f64 arithmetic.

usage: expected.py MODEL_DIR HELDOUT_TXT OUT_DIR
needs: pip install torch transformers tokenizers safetensors
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Gemma4ForCausalLM

BOS = 2
PROMPT_TOKENS = 160
GREEDY_TOKENS = 64
CONTEXT = 256


def logits_of(model, tokens):
    return model(torch.tensor([tokens]), use_cache=False).logits[0]


def greedy(model, prompt):
    """The prompt's greedy continuation."""
    tokens = list(prompt)
    for _ in range(GREEDY_TOKENS):
        tokens.append(int(logits_of(model, tokens)[-1].argmax()))
    return tokens[len(prompt):]


def perplexity(model, text):
    """Mean negative log-likelihood over windows of CONTEXT positions that begin with BOS."""
    total, count = 0.0, 0
    for start in range(0, len(text), CONTEXT - 1):
        window = [BOS] + text[start:start + CONTEXT - 1]
        if len(window) < 2:
            break
        scores = logits_of(model, window[:-1]).log_softmax(-1)
        targets = torch.tensor(window[1:])[:, None]
        total -= scores.gather(-1, targets).sum().item()
        count += len(window) - 1
    return total / count, count


def main():
    model_dir, heldout, out = map(Path, sys.argv[1:4])
    model = Gemma4ForCausalLM.from_pretrained(model_dir, dtype=torch.float64, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    text = tokenizer.encode(heldout.read_text(), add_special_tokens=False).ids
    prompt = [BOS] + text[:PROMPT_TOKENS]
    with torch.no_grad():
        outputs = model(torch.tensor([prompt]), use_cache=False, output_hidden_states=True)
        continuation = greedy(model, prompt)
        nll, count = perplexity(model, text)
    save_file({
        "tokens": torch.tensor(prompt),
        "logits": outputs.logits[0].float().contiguous(),
        "hidden": outputs.hidden_states[-1][0].float().contiguous(),
        "greedy": torch.tensor(continuation),
    }, out / "expected.safetensors")
    summary = {
        "heldout_tokens": count,
        "context": CONTEXT,
        "nll": nll,
        "ppl": math.exp(nll),
        "greedy_text": tokenizer.decode(continuation),
    }
    (out / "expected.json").write_text(json.dumps(summary, indent=1))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
