"""Llama checkpoints of torchtitan (DCP folders) and what Strata hands over and takes back.

    python convert.py to INPUT/model DCP_FOLDER        # what Strata handed over, for torchtitan to load
    python convert.py from DCP_FOLDER INPUT OUTPUT     # what torchtitan saved: OUTPUT/model, OUTPUT/optimizer.safetensors
    python ../finish.py ...                            # records.jsonl and result.json from torchtitan's metrics

Runs where torchtitan runs; Strata itself reads no pickle. torchtitan turns neighbouring entries of a head against each other, Hugging Face the
two halves of a head, so the rows of wq and wk are put in another order (and with them their moments).
"""

import argparse
import json
import os
import re
import shutil

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

NAMES = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "output.weight",
    "model.layers.{}.self_attn.q_proj.weight": "layers.{}.attention.wq.weight",
    "model.layers.{}.self_attn.k_proj.weight": "layers.{}.attention.wk.weight",
    "model.layers.{}.self_attn.v_proj.weight": "layers.{}.attention.wv.weight",
    "model.layers.{}.self_attn.o_proj.weight": "layers.{}.attention.wo.weight",
    "model.layers.{}.mlp.gate_proj.weight": "layers.{}.feed_forward.w1.weight",
    "model.layers.{}.mlp.down_proj.weight": "layers.{}.feed_forward.w2.weight",
    "model.layers.{}.mlp.up_proj.weight": "layers.{}.feed_forward.w3.weight",
    "model.layers.{}.input_layernorm.weight": "layers.{}.attention_norm.weight",
    "model.layers.{}.post_attention_layernorm.weight": "layers.{}.ffn_norm.weight",
}
BACK = {theirs: ours for ours, theirs in NAMES.items()}
MOMENTS = ("exp_avg", "exp_avg_sq")


def renamed(name, names):
    layer = re.search(r"\d+", name)
    key = name if layer is None else re.sub(r"\d+", "{}", name, count=1)
    if key not in names:
        raise SystemExit(f"No weight of a plain Llama model: {name}.")
    return names[key] if layer is None else names[key].format(layer.group())


def heads_of(name, config):
    """Heads whose rows are in another order in the two layouts; 0 for all other weights."""
    if re.search(r"(q_proj|wq)\.weight$", name):
        return config["num_attention_heads"]
    if re.search(r"(k_proj|wk)\.weight$", name):
        return config.get("num_key_value_heads") or config["num_attention_heads"]
    return 0


def to_pairs(weight, heads):
    """Rows by halves of a head -> rows by neighbouring pairs: row i of the first half, row i of the second, ..."""
    rows, *rest = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, *rest).transpose(1, 2).reshape(weight.shape).contiguous()


def to_halves(weight, heads):
    rows, *rest = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, *rest).transpose(1, 2).reshape(weight.shape).contiguous()


def to_titan(weights, config):
    """Weights by torchtitan's names."""
    found = {}
    for name, weight in weights.items():
        heads = heads_of(name, config)
        found[renamed(name, NAMES)] = to_pairs(weight, heads) if heads else weight
    return found


def from_titan(weights, config):
    """Weights by Hugging Face's names."""
    found = {}
    for name, weight in weights.items():
        heads = heads_of(name, config)
        found[renamed(name, BACK)] = (to_halves(weight, heads) if heads else weight).contiguous()
    return found


def read_dcp(folder):
    """Every tensor of a DCP folder by its full name, whatever the number of ranks that wrote it."""
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in dcp.FileSystemReader(folder).read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    dcp.load(tensors, checkpoint_id=folder)
    return tensors


def split(tensors):
    """Weights, and moments by the weight's name. torchtitan prefixes the optimizer's: optimizer.state.NAME.exp_avg."""
    weights, moments = {}, {}
    for name, value in tensors.items():
        state = re.match(r"(?:optimizer\.)?state\.(.+)\.(exp_avg|exp_avg_sq|step)$", name)
        if state is not None:
            moments.setdefault(state.group(2), {})[state.group(1)] = value
            continue
        name = name.removeprefix("model.")
        if re.match(r"(tok_embeddings|norm|output|layers)\.", name):
            weights[name] = value
    return weights, moments


def load_folder(folder):
    files = sorted(f for f in os.listdir(folder) if f.endswith(".safetensors"))
    weights = {name: value for file in files for name, value in load_file(os.path.join(folder, file)).items()}
    with open(os.path.join(folder, "config.json")) as file:
        return weights, json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=["to", "from"])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("output", nargs="?")
    options = parser.parse_args()
    if options.direction == "to":
        weights, config = load_folder(options.source)
        if config.get("tie_word_embeddings"):
            weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
        dcp.save(to_titan(weights, config), checkpoint_id=options.target)
        return
    given = os.path.join(options.target, "model")
    with open(os.path.join(given, "config.json")) as file:
        config = json.load(file)
    weights, moments = split(read_dcp(options.source))
    model = os.path.join(options.output, "model")
    shutil.copytree(given, model, dirs_exist_ok=True, ignore=lambda _, names: [n for n in names if "safetensors" in n])
    found = from_titan(weights, config)
    if config.get("tie_word_embeddings"):
        del found["lm_head.weight"]
    save_file(found, os.path.join(model, "model.safetensors"), metadata={"format": "pt"})
    if all(moment in moments for moment in MOMENTS):
        state = {f"{name}.{m}": value for m in MOMENTS for name, value in from_titan(moments[m], config).items()}
        save_file(state, os.path.join(options.output, "optimizer.safetensors"))


if __name__ == "__main__":
    main()
