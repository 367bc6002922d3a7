"""Loads a quantised checkpoint with transformers and compressed-tensors and compares its logits with the
engine's, which lie beside it.

    python read_quantised.py FOLDER TOKEN,TOKEN,...
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

folder, tokens = Path(sys.argv[1]), [int(t) for t in sys.argv[2].split(",")]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
with torch.no_grad():
    logits = model(torch.tensor([tokens])).logits[0].float().numpy()
ours = np.fromfile(folder / "logits.f32", dtype=np.float32).reshape(logits.shape)
difference = np.abs(ours - logits).max()
print(f"largest difference of logits to transformers: {difference:.2e}")
# transformers rounds the embedding's scale to bf16 only in bf16 models; the rest is the order of f32 sums.
sys.exit(0 if difference < 5e-3 else 1)
