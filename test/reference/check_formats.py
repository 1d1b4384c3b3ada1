"""Reads files that `strata export` wrote with the packages of others and compares them with what they were made of.

Reads a job as JSON from standard input: GGUF files with the Hugging Face folders that they stand for, and TensorBoard event files with run folders.
Writes one line per file to standard output, with `same` or what differs. `npm run check:formats` calls it.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from gguf.quants import quantize
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TYPES = {name: getattr(gguf.GGMLQuantizationType, name) for name in ("F32", "F16", "BF16", "Q8_0")}


def permuted(weights, heads):
    """As llama.cpp's convert_hf_to_gguf.py, LlamaModel.permute."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def expected_tensors(folder):
    """Tensors by GGUF name as llama.cpp's converter makes them, float32."""
    config = json.loads((folder / "config.json").read_text())
    kind = config["model_type"]
    arch = {"gpt_neox": "gptneox", "mistral": "llama"}.get(kind, kind)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch], layers)
    heads = config.get("num_attention_heads", config.get("n_head"))
    made = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if kind == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            tensor = tensor.T
        if kind == "gpt_neox" and "query_key_value" in name:
            rest = tensor.shape[1:]
            tensor = tensor.reshape(heads, 3, -1, *rest).swapaxes(0, 1).reshape(-1, *rest)
        if arch == "llama" and name.endswith("q_proj.weight"):
            tensor = permuted(tensor, heads)
        if arch == "llama" and name.endswith("k_proj.weight"):
            tensor = permuted(tensor, config["num_key_value_heads"])
        if kind == "gemma2" and name.endswith("norm.weight"):
            tensor = tensor + 1
        base, _, suffix = name.rpartition(".")
        new = names.get_name(base)
        assert new is not None, f"gguf knows no name for {name}"
        made[f"{new}.{suffix}"] = np.ascontiguousarray(tensor, dtype=np.float32)
    return made


def check_gguf(path, folder, kind):
    reader = gguf.GGUFReader(path)
    expected = expected_tensors(pathlib.Path(folder))
    found = {t.name: t for t in reader.tensors}
    wrong = sorted(set(expected) ^ (set(found) - {"rope_freqs.weight"}))
    for name in set(expected) & set(found):
        tensor, values = found[name], expected[name]
        type_ = TYPES["F32"] if values.ndim == 1 else TYPES[kind]
        if type_ == TYPES["Q8_0"] and values.shape[-1] % 32:
            type_ = TYPES["F16"]
        bytes_ = quantize(values, type_)
        same = tensor.tensor_type == type_ and list(tensor.shape) == list(values.shape[::-1])
        if not same or tensor.data.tobytes() != bytes_.tobytes():
            wrong.append(name)
    blocks = reader.get_field(f"{reader.get_field('general.architecture').contents()}.block_count").contents()
    if blocks != len({n.split(".")[1] for n in found if n.startswith("blk.")}):
        wrong.append("block_count")
    return f"{len(found)} tensors", wrong


def check_events(path, run):
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    expected = {}
    for line in (pathlib.Path(run) / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        for field in ("loss", "lr", "gradNorm", "tokensPerSecond", "tokens", "flops"):
            if record["kind"] == "train" and isinstance(record.get(field), (int, float)):
                expected.setdefault(f"train/{field}", []).append((record["step"], np.float32(record[field])))
        if record["kind"] == "validation":
            expected.setdefault("validation/loss", []).append((record["step"], np.float32(record["loss"])))
    found = {tag: [(e.step, np.float32(e.value)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    wrong = [tag for tag in expected if found.get(tag) != expected[tag]]
    return f"{sum(map(len, found.values()))} points", wrong


def main():
    job = json.load(sys.stdin)
    for file in job["gguf"]:
        count, wrong = check_gguf(file["path"], file["folder"], file["type"])
        print(f"  {'DIFFER' if wrong else 'same  '} GGUF {file['name']} {file['type']}: {count}{': ' + ', '.join(wrong[:8]) if wrong else ''}")
    for file in job["events"]:
        count, wrong = check_events(file["path"], file["run"])
        print(f"  {'DIFFER' if wrong else 'same  '} TensorBoard: {count}{': ' + ', '.join(wrong) if wrong else ''}")


main()
