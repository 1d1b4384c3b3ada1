"""Ranks and column masses of attention matrices, by transformers and numpy's SVD.

    python test/reference/attention_rank.py > test/fixtures/models/stories260K/attention.json

Needs torch, transformers (made with 5.23.0) and numpy. For the ids of reference.json: for each layer and head the fewest singular values whose
squares make up 90 % of all, and the fewest columns.
"""

import json
import pathlib

import numpy as np
import torch
from transformers import AutoModelForCausalLM

folder = pathlib.Path(__file__).parent.parent / "fixtures/models/stories260K"
ids = json.loads((folder / "reference.json").read_text())["ids"]
model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
with torch.no_grad():
    attentions = model(torch.tensor([ids]), output_attentions=True).attentions


def fewest(squares):
    shares = np.cumsum(np.sort(squares)[::-1]) / squares.sum()
    return int(np.searchsorted(shares, 0.9) + 1)


layers = []
for layer in attentions:
    heads = layer[0].double().numpy()
    layers.append(
        {
            "rank": [fewest(np.linalg.svd(head, compute_uv=False) ** 2) for head in heads],
            "columns": [fewest((head**2).sum(axis=0)) for head in heads],
        }
    )
print(json.dumps({"layers": layers}))
