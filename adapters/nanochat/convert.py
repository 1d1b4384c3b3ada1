"""nanochat checkpoints for `strata grow`, and back.

    python convert.py from model_005000.pt meta_005000.json FOLDER     # a folder that strata grow reads
    strata grow FOLDER --operator stack --factor 2 --out GROWN
    python convert.py to GROWN model_000000.pt meta_000000.json        # for nanochat to load

nanochat's model is a family of its own (squared ReLU, no gains in its norms), which Strata does not run: surgery by operators that copy
layers, no external stages, since there is no loss to check them by. The folder says in strata-architecture.yaml what its tensors are.
Numbers that nanochat keeps for each layer in one vector (resid_lambdas, x0_lambdas) become one tensor a layer, so that they follow it.
"""

import argparse
import json
import os
import re

import torch
from safetensors.torch import load_file, save_file

BY_LAYER = ("resid_lambdas", "x0_lambdas")
MATRICES = ("attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
KNOWN = re.compile(rf"transformer\.wte\.weight|lm_head\.weight|transformer\.h\.\d+\.({'|'.join(map(re.escape, MATRICES))})\.weight")

ARCHITECTURE = """model_type: nanochat
architecture: NanoChatForCausalLM
fields: {hidden_size: n_embd, num_hidden_layers: n_layer, num_attention_heads: n_head, num_key_value_heads: n_kv_head, max_position_embeddings: sequence_len}
weights:
  - {name: transformer.wte.weight, role: embedding, axes: [{role: vocab, size: rows}, hidden]}
  - {name: 'transformer.h.{layer}.attn.c_q.weight', role: query, axes: [heads, hidden]}
  - {name: 'transformer.h.{layer}.attn.c_k.weight', role: key, axes: [kvHeads, hidden]}
  - {name: 'transformer.h.{layer}.attn.c_v.weight', role: value, axes: [kvHeads, hidden]}
  - {name: 'transformer.h.{layer}.attn.c_proj.weight', role: attentionOutput, axes: [hidden, heads]}
  - {name: 'transformer.h.{layer}.mlp.c_fc.weight', role: up, axes: [{role: ffn, size: [4, hidden_size]}, hidden]}
  - {name: 'transformer.h.{layer}.mlp.c_proj.weight', role: down, axes: [hidden, {role: ffn, size: [4, hidden_size]}]}
  - {name: lm_head.weight, role: head, axes: [{role: vocab, size: rows}, hidden]}
"""


def from_nanochat(state, model_config):
    """Weights, config.json and strata-architecture.yaml of a folder."""
    weights, extra = {}, ""
    for name, value in state.items():
        name = name.removeprefix("_orig_mod.")
        if name in BY_LAYER:
            extra += f"  - {{name: 'transformer.h.{{layer}}.{name}', axes: [{{role: other, size: 1}}]}}\n"
            for layer, number in enumerate(value):
                weights[f"transformer.h.{layer}.{name}"] = number.reshape(1).clone()
        elif KNOWN.fullmatch(name):
            weights[name] = value.contiguous()
        else:
            raise SystemExit(f"This adapter does not know nanochat's {name}; it was made for models without it.")
    # nanochat may pad the vocabulary beyond vocab_size.
    rows = weights["transformer.wte.weight"].shape[0]
    config = {"model_type": "nanochat", "architectures": ["NanoChatForCausalLM"], **model_config, "rows": rows}
    return weights, config, ARCHITECTURE + extra


def to_nanochat(weights, config):
    """What nanochat loads, and its model_config."""
    state = {name: value for name, value in weights.items() if KNOWN.fullmatch(name)}
    for name in BY_LAYER:
        if f"transformer.h.0.{name}" in weights:
            state[name] = torch.cat([weights[f"transformer.h.{layer}.{name}"] for layer in range(config["n_layer"])])
    fields = ("sequence_len", "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd", "window_pattern")
    return state, {field: config[field] for field in fields if field in config}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=["to", "from"])
    parser.add_argument("paths", nargs=3)
    options = parser.parse_args()
    if options.direction == "from":
        model, meta, folder = options.paths
        with open(meta) as file:
            model_config = json.load(file)["model_config"]
        weights, config, architecture = from_nanochat(torch.load(model, map_location="cpu", weights_only=True), model_config)
        os.makedirs(folder, exist_ok=True)
        save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        for name, text in (("config.json", json.dumps(config, indent=1)), ("strata-architecture.yaml", architecture)):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        return
    folder, model, meta = options.paths
    files = sorted(f for f in os.listdir(folder) if f.endswith(".safetensors"))
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    weights = {name: value for file in files for name, value in load_file(os.path.join(folder, file)).items()}
    state, model_config = to_nanochat(weights, config)
    torch.save(state, model)
    with open(meta, "w") as file:
        json.dump({"step": 0, "model_config": model_config}, file, indent=1)


if __name__ == "__main__":
    main()
