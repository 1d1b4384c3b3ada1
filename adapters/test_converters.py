"""Tests of the converters with tiny tensors: python -m unittest test_converters (from this folder, with torch, safetensors and numpy).

What they are held against is not their own way back, but what each trainer computes from its own layout.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = {
    "model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 24, "vocab_size": 10,
}


def load(trainer):
    spec = importlib.util.spec_from_file_location(trainer, os.path.join(HERE, trainer, "convert.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


titan, megatron, nanochat = (load(name) for name in ("torchtitan", "megatron", "nanochat"))


def llama(seed=0):
    generator = torch.Generator().manual_seed(seed)
    h, f, v, kv = 16, 24, 10, 8
    shapes = {"model.embed_tokens.weight": (v, h), "model.norm.weight": (h,), "lm_head.weight": (v, h)}
    for layer in range(CONFIG["num_hidden_layers"]):
        own = {
            "self_attn.q_proj": (h, h), "self_attn.k_proj": (kv, h), "self_attn.v_proj": (kv, h), "self_attn.o_proj": (h, h),
            "mlp.gate_proj": (f, h), "mlp.up_proj": (f, h), "mlp.down_proj": (h, f), "input_layernorm": (h,), "post_attention_layernorm": (h,),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in own.items()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write(folder, weights):
    os.makedirs(os.path.join(folder, "model"))
    save_file(weights, os.path.join(folder, "model", "model.safetensors"))
    with open(os.path.join(folder, "model", "config.json"), "w") as file:
        json.dump(CONFIG, file)


def angles(positions, size):
    return torch.outer(positions, 10000.0 ** (-torch.arange(0, size, 2) / size))


def rotate_halves(x):
    """Hugging Face: x [T, heads, size], entry i turned against entry i + size / 2."""
    a = angles(torch.arange(x.shape[0]).float(), x.shape[-1])[:, None]
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * a.cos() - second * a.sin(), second * a.cos() + first * a.sin()], dim=-1)


def rotate_pairs(x):
    """torchtitan: neighbouring entries as complex numbers, multiplied by exp(i angle)."""
    a = angles(torch.arange(x.shape[0]).float(), x.shape[-1])[:, None]
    turned = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous()) * torch.polar(torch.ones_like(a), a)
    return torch.view_as_real(turned).flatten(-2)


def run(trainer, *args):
    subprocess.run([sys.executable, os.path.join(HERE, trainer), *args], check=True, capture_output=True)


class Torchtitan(unittest.TestCase):
    def test_attention_scores_are_those_of_hugging_face(self):
        theirs = titan.to_titan(llama(), CONFIG)
        ours = llama()
        x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
        for layer in range(2):
            def project(weight):
                return (x @ weight.T).reshape(5, -1, 4)

            q, k = (project(ours[f"model.layers.{layer}.self_attn.{p}_proj.weight"]) for p in "qk")
            expected = torch.einsum("thd,shd->hts", rotate_halves(q), rotate_halves(k).repeat_interleave(2, dim=1))
            q, k = (project(theirs[f"layers.{layer}.attention.w{p}.weight"]) for p in "qk")
            found = torch.einsum("thd,shd->hts", rotate_pairs(q), rotate_pairs(k).repeat_interleave(2, dim=1))
            torch.testing.assert_close(found, expected)
        self.assertTrue(torch.equal(theirs["layers.1.feed_forward.w3.weight"], ours["model.layers.1.mlp.up_proj.weight"]))
        self.assertTrue(torch.equal(theirs["layers.1.feed_forward.w2.weight"], ours["model.layers.1.mlp.down_proj.weight"]))

    def test_a_real_dcp_folder_comes_back_with_its_moments(self):
        with tempfile.TemporaryDirectory() as folder:
            source, output = os.path.join(folder, "in"), os.path.join(folder, "out")
            write(source, llama())
            run("torchtitan/convert.py", "to", os.path.join(source, "model"), os.path.join(folder, "dcp"))
            weights = titan.read_dcp(os.path.join(folder, "dcp"))
            moments = {name: value.square() for name, value in weights.items()}
            state = {f"optimizer.state.{n}.{m}": v for n, v in moments.items() for m in ("exp_avg", "exp_avg_sq")}
            dcp.save({**weights, **state, "train_state": {"step": torch.tensor(7)}}, checkpoint_id=os.path.join(folder, "step-7"))
            run("torchtitan/convert.py", "from", os.path.join(folder, "step-7"), source, output)
            back = load_file(os.path.join(output, "model", "model.safetensors"))
            optimizer = load_file(os.path.join(output, "optimizer.safetensors"))
            for name, weight in llama().items():
                self.assertTrue(torch.equal(back[name], weight), name)
                self.assertTrue(torch.equal(optimizer[f"{name}.exp_avg_sq"], weight.square()), name)

    def test_refuses_what_it_does_not_know(self):
        with self.assertRaisesRegex(SystemExit, "layers.0.moe.router.gate.weight"):
            titan.from_titan({"layers.0.moe.router.gate.weight": torch.zeros(1)}, CONFIG)


class Megatron(unittest.TestCase):
    def test_rows_of_qkv_lie_group_by_group(self):
        weights = {part: torch.arange(rows).float()[:, None] + 100 * i + torch.zeros(rows, 16) for i, (part, rows) in enumerate({"q": 16, "k": 8, "v": 8}.items())}
        fused = megatron.fuse_qkv(weights["q"], weights["k"], weights["v"], CONFIG)
        # By hand: two groups of two query heads, four rows a head.
        first = [0, 1, 2, 3, 4, 5, 6, 7, 100, 101, 102, 103, 200, 201, 202, 203]
        second = [8, 9, 10, 11, 12, 13, 14, 15, 104, 105, 106, 107, 204, 205, 206, 207]
        self.assertEqual(fused[:, 0].int().tolist(), first + second)

    def test_comes_back_from_files_with_a_padded_vocabulary(self):
        with tempfile.TemporaryDirectory() as folder:
            source, output, path = (os.path.join(folder, name) for name in ("in", "out", "model_optim_rng.pt"))
            write(source, llama())
            run("megatron/convert.py", "to", os.path.join(source, "model"), path)
            saved = torch.load(path, weights_only=True)
            model = saved["model"]
            self.assertEqual(model["decoder.layers.1.mlp.linear_fc1.weight"].shape, (48, 16))
            for name in ("embedding.word_embeddings.weight", "output_layer.weight"):
                model[name] = torch.cat([model[name], torch.ones(6, 16)])
            model["decoder.layers.0.self_attention.linear_qkv._extra_state"] = None
            torch.save(saved, path)
            run("megatron/convert.py", "from", path, source, output)
            back = load_file(os.path.join(output, "model", "model.safetensors"))
            self.assertEqual(sorted(back), sorted(llama()))
            for name, weight in llama().items():
                self.assertTrue(torch.equal(back[name], weight), name)

    def test_reads_the_local_layers_and_refuses_others(self):
        local = {"decoder.layers.0.pre_mlp_layernorm.weight": torch.ones(16)}
        self.assertIn("model.layers.0.post_attention_layernorm.weight", megatron.from_megatron(local, CONFIG))
        with self.assertRaisesRegex(SystemExit, "router"):
            megatron.from_megatron({"decoder.layers.0.mlp.router.weight": torch.ones(1)}, CONFIG)


class Nanochat(unittest.TestCase):
    def test_layers_keep_their_numbers(self):
        state = {"transformer.wte.weight": torch.ones(12, 8), "lm_head.weight": torch.ones(12, 8), "resid_lambdas": torch.tensor([1.0, 2.0])}
        for layer in range(2):
            for name in nanochat.MATRICES:
                rows, columns = {"mlp.c_fc": (32, 8), "mlp.c_proj": (8, 32)}.get(name, (8, 8))
                state[f"_orig_mod.transformer.h.{layer}.{name}.weight"] = torch.full((rows, columns), float(layer))
        weights, config, architecture = nanochat.from_nanochat(state, {"n_layer": 2, "n_embd": 8, "vocab_size": 10})
        self.assertEqual(weights["transformer.h.1.resid_lambdas"].tolist(), [2.0])
        self.assertIn("transformer.h.{layer}.resid_lambdas", architecture)
        grown = {**weights, **{name.replace(".h.1.", ".h.2."): value for name, value in weights.items() if ".h.1." in name}}
        back, model_config = nanochat.to_nanochat(grown, {**config, "n_layer": 3})
        self.assertEqual(back["resid_lambdas"].tolist(), [1.0, 2.0, 2.0])
        self.assertEqual(model_config, {"n_layer": 3, "n_embd": 8, "vocab_size": 10})
        with self.assertRaisesRegex(SystemExit, "value_embeds.0.weight"):
            nanochat.from_nanochat({"value_embeds.0.weight": torch.ones(1)}, {})


if __name__ == "__main__":
    unittest.main()
