"""Llama checkpoints of Megatron-LM (Megatron Core, one tensor- and pipeline-parallel rank) and what Strata hands over and takes back.

    python convert.py to INPUT/model model_optim_rng.pt              # the "model" entry that Megatron loads, by torch.save
    python convert.py from model_optim_rng.pt INPUT OUTPUT           # OUTPUT/model as Hugging Face has it
    python ../finish.py ...                                          # records.jsonl and result.json from Megatron's metrics

Runs where Megatron runs; Strata itself reads no pickle. A checkpoint of several ranks is merged first by Megatron's own
tools/checkpoint/convert.py (--target-tensor-parallel-size 1 --target-pipeline-parallel-size 1). Names with the norm inside the following
linear layer are Transformer Engine's; those of the local implementation are read, too.

Layout of linear_qkv, for each key-value head in turn: the query heads of its group, its key head, its value head. linear_fc1 holds gate, then up.
"""

import argparse
import json
import os
import re
import shutil

import torch
from safetensors.torch import load_file, save_file

LAYER = "decoder.layers.{}."
TOP = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
}
INSIDE = {
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
}
LOCAL_NORMS = {"input_layernorm.weight": "input_layernorm.weight", "pre_mlp_layernorm.weight": "post_attention_layernorm.weight"}


def sizes(config):
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    return heads, groups, config.get("head_dim") or config["hidden_size"] // heads


def fuse_qkv(q, k, v, config):
    heads, groups, size = sizes(config)
    per = heads // groups
    shape = (groups, -1, size, config["hidden_size"])
    parts = [weight.reshape(shape) for weight in (q, k, v)]
    assert [part.shape[1] for part in parts] == [per, 1, 1]
    return torch.cat(parts, dim=1).reshape(-1, config["hidden_size"]).contiguous()


def split_qkv(weight, config):
    heads, groups, size = sizes(config)
    per = heads // groups
    grouped = weight.reshape(groups, per + 2, size, config["hidden_size"])
    return tuple(part.reshape(-1, config["hidden_size"]).contiguous() for part in grouped.split([per, 1, 1], dim=1))


def to_megatron(weights, config):
    """Weights by Megatron Core's names (Transformer Engine layers)."""
    found = {theirs: weights[ours] for theirs, ours in TOP.items() if ours in weights}
    for layer in range(config["num_hidden_layers"]):
        ours, theirs = f"model.layers.{layer}.", LAYER.format(layer)
        for name, own in INSIDE.items():
            found[theirs + name] = weights[ours + own]
        q, k, v = (weights[f"{ours}self_attn.{part}_proj.weight"] for part in "qkv")
        found[f"{theirs}self_attention.linear_qkv.weight"] = fuse_qkv(q, k, v, config)
        gate, up = (weights[f"{ours}mlp.{part}_proj.weight"] for part in ("gate", "up"))
        found[f"{theirs}mlp.linear_fc1.weight"] = torch.cat([gate, up]).contiguous()
    return found


def from_megatron(weights, config):
    """Weights by Hugging Face's names; rows that Megatron added to the vocabulary to fill it up are left out."""
    found = {}
    vocabulary = config["vocab_size"]
    for name, weight in weights.items():
        if not isinstance(weight, torch.Tensor) or name.endswith("_extra_state"):
            continue
        if name in TOP:
            found[TOP[name]] = (weight[:vocabulary] if weight.dim() == 2 else weight).contiguous()
            continue
        match = re.fullmatch(r"decoder\.layers\.(\d+)\.(.+)", name)
        if match is None:
            raise SystemExit(f"No weight of a plain Llama model: {name}.")
        ours, inner = f"model.layers.{match.group(1)}.", match.group(2)
        own = INSIDE.get(inner) or LOCAL_NORMS.get(inner)
        if own is not None:
            found[ours + own] = weight.contiguous()
        elif inner == "self_attention.linear_qkv.weight":
            for part, value in zip("qkv", split_qkv(weight, config)):
                found[f"{ours}self_attn.{part}_proj.weight"] = value
        elif inner == "mlp.linear_fc1.weight":
            gate, up = weight.chunk(2)
            found[f"{ours}mlp.gate_proj.weight"], found[f"{ours}mlp.up_proj.weight"] = gate.contiguous(), up.contiguous()
        else:
            raise SystemExit(f"No weight of a plain Llama model: {name}.")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=["to", "from"])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("output", nargs="?")
    options = parser.parse_args()
    given = options.source if options.direction == "to" else os.path.join(options.target, "model")
    with open(os.path.join(given, "config.json")) as file:
        config = json.load(file)
    if options.direction == "to":
        files = sorted(f for f in os.listdir(given) if f.endswith(".safetensors"))
        weights = {name: value for file in files for name, value in load_file(os.path.join(given, file)).items()}
        torch.save({"model": to_megatron(weights, config), "checkpoint_version": 3.0, "iteration": 0}, options.target)
        return
    # A Megatron checkpoint also pickles its arguments; only the user can say that the file is to be trusted.
    weights = torch.load(options.source, map_location="cpu", weights_only=False)["model"]
    model = os.path.join(options.output, "model")
    shutil.copytree(given, model, dirs_exist_ok=True, ignore=lambda _, names: [n for n in names if "safetensors" in n])
    save_file(from_megatron(weights, config), os.path.join(model, "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
