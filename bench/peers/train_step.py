"""A Llama training step in PyTorch, as fast as it is written there; the peer of bench/train-step.ts.

    python train_step.py '{"hidden": 256, "layers": 8, ..., "mode": "eager"}'

The argument is one JSON object (see Settings). Then one JSON line in, one out:

    -> {"steps": 5}              <- {"seconds": 3.1, "losses": [8.3, ...]}
    -> {"memory": 3}             <- {"bytes": 1.2e9}

seconds covers forward, backward, clipping, update and reading the loss; bytes is the peak of resident memory over so many
steps, less what was resident when torch had been loaded. The first line out, before any request, is
{"ready": ..., "form": ..., "tried": {...}, "versions": {...}, "parameters": ...}.

The model is Hugging Face's Llama (RMSNorm, half-split rotary, SwiGLU, grouped-query attention, no biases, untied
head). Update: fused AdamW, decay on matrices only, gradients clipped to a global norm. Several ways of
writing the same arithmetic are timed first and the fastest stays; "form" says which. Each starts from the same weights.

Precisions: f32; autocast (float32 weights, torch.autocast to bfloat16); matmul (float32 throughout, products allowed to
round to bfloat16: torch.set_float32_matmul_precision("medium")); bf16 (weights, gradients and moments in bfloat16).
"""

import contextlib
import dataclasses
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


@dataclasses.dataclass
class Settings:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    batch: int
    length: int
    threads: int
    mode: str  # eager or compile
    precision: str = "f32"  # f32, autocast, matmul or bf16
    tokens: str = ""  # file of int32 [any, batch, length + 1]; step i takes batch i, round and round
    weights: str = ""  # model.safetensors under Hugging Face's names; drawn if empty
    save: str = ""  # where to write the initial weights, for the others to start from
    forms: tuple = ()  # forms to try; all that can differ in this mode if empty
    eps: float = 1e-5
    rope_theta: float = 10000.0
    lr: float = 1e-3
    betas: tuple = (0.9, 0.95)
    adam_eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    seed: int = 0

    @property
    def head_dim(self):
        return self.hidden // self.heads


# What a form fixes: are q, k, v and gate, up one matrix each; how rotary and how the norm are written.
FORMS = {
    f"{'fused' if fused else 'separate'}, rotary by {rotary}, norm by {norm}": (fused, rotary, norm)
    for fused in (True, False)
    for rotary in ("halves", "rotate_half")
    for norm in ("rms_norm", "hand")
}
# The arithmetic as Hugging Face writes it: what the others are held against.
PLAIN_FORM = "separate, rotary by rotate_half, norm by hand"
PARTS = {"qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "gate_up": ("mlp.gate_proj", "mlp.up_proj")}


def initial_weights(s):
    """Every weight under its Hugging Face name, from the file or drawn as N(0, 0.02^2) with unit gains."""
    if s.weights:
        return {name: w.float() for name, w in load_file(s.weights).items()}
    kv = s.kv_heads * s.head_dim
    shapes = {"model.embed_tokens": (s.vocab, s.hidden), "lm_head": (s.vocab, s.hidden), "model.norm": (s.hidden,)}
    for i in range(s.layers):
        for part, shape in {
            "self_attn.q_proj": (s.hidden, s.hidden), "self_attn.k_proj": (kv, s.hidden), "self_attn.v_proj": (kv, s.hidden),
            "self_attn.o_proj": (s.hidden, s.hidden), "mlp.gate_proj": (s.ffn, s.hidden), "mlp.up_proj": (s.ffn, s.hidden),
            "mlp.down_proj": (s.hidden, s.ffn), "input_layernorm": (s.hidden,), "post_attention_layernorm": (s.hidden,),
        }.items():
            shapes[f"model.layers.{i}.{part}"] = shape
    generator = torch.Generator().manual_seed(s.seed)
    draw = lambda shape: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * 0.02
    return {f"{name}.weight": draw(shape) for name, shape in shapes.items()}


def rms_norm(x, weight, eps, how):
    if how == "rms_norm":
        return F.rms_norm(x, (x.shape[-1],), weight, eps)
    h = x.float()
    return weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


class Block(torch.nn.Module):
    def __init__(self, s, weights, fused, rotary, norm):
        super().__init__()
        self.s, self.fused, self.rotary, self.norm = s, fused, rotary, norm
        parameter = lambda w: torch.nn.Parameter(w.clone())
        get = lambda name: weights[f"{name}.weight"]
        self.norm1, self.norm2 = parameter(get("input_layernorm")), parameter(get("post_attention_layernorm"))
        self.o, self.down = parameter(get("self_attn.o_proj")), parameter(get("mlp.down_proj"))
        for name, parts in PARTS.items():
            matrices = [get(part) for part in parts]
            matrices = [torch.cat(matrices)] if fused else matrices
            setattr(self, name, torch.nn.ParameterList([parameter(w) for w in matrices]))

    def project(self, x, matrices, sizes):
        if self.fused:
            return F.linear(x, matrices[0]).split(sizes, dim=-1)
        return [F.linear(x, w) for w in matrices]

    def rotate(self, x, cos, sin):
        if self.rotary == "halves":
            a, b = x.chunk(2, dim=-1)
            half = cos.shape[-1] // 2
            cos, sin = cos[:, :half], sin[:, :half]
            return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
        a, b = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-b, a), dim=-1) * sin

    def forward(self, x, cos, sin):
        s = self.s
        kv = s.kv_heads * s.head_dim
        h = rms_norm(x, self.norm1, s.eps, self.norm)
        q, k, v = self.project(h, self.qkv, (s.hidden, kv, kv))
        q, k, v = (t.view(*t.shape[:2], -1, s.head_dim).transpose(1, 2) for t in (q, k, v))
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=s.kv_heads != s.heads)
        x = x + F.linear(y.transpose(1, 2).reshape(x.shape), self.o)
        gate, up = self.project(rms_norm(x, self.norm2, s.eps, self.norm), self.gate_up, (s.ffn, s.ffn))
        return x + F.linear(F.silu(gate) * up, self.down)


class Llama(torch.nn.Module):
    def __init__(self, s, weights, fused, rotary, norm):
        super().__init__()
        self.s, self.how = s, norm
        self.embed = torch.nn.Parameter(weights["model.embed_tokens.weight"].clone())
        self.last_norm = torch.nn.Parameter(weights["model.norm.weight"].clone())
        self.head = torch.nn.Parameter(weights["lm_head.weight"].clone())
        self.blocks = torch.nn.ModuleList()
        for i in range(s.layers):
            prefix = f"model.layers.{i}."
            own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
            self.blocks.append(Block(s, own, fused, rotary, norm))
        angles = torch.outer(torch.arange(s.length).float(),
                             s.rope_theta ** (-torch.arange(0, s.head_dim, 2).float() / s.head_dim))
        self.register_buffer("cos", torch.cat((angles, angles), -1).cos())
        self.register_buffer("sin", torch.cat((angles, angles), -1).sin())

    def forward(self, inputs, targets):
        x = F.embedding(inputs, self.embed)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(rms_norm(x, self.last_norm, self.s.eps, self.how), self.head)
        return F.cross_entropy(logits.view(-1, self.s.vocab).float(), targets.reshape(-1))


class Trainer:
    def __init__(self, s, weights, batches, form):
        self.s, self.batches, self.done = s, batches, 0
        self.model = Llama(s, weights, *FORMS[form])
        if s.precision == "bf16":
            self.model.to(torch.bfloat16)
        self.autocast = torch.autocast("cpu", torch.bfloat16) if s.precision == "autocast" else contextlib.nullcontext()
        self.loss = torch.compile(self.model) if s.mode == "compile" else self.model
        matrices = [p for p in self.model.parameters() if p.ndim == 2]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        groups = [dict(params=matrices, weight_decay=s.weight_decay), dict(params=vectors, weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(groups, lr=s.lr, betas=tuple(s.betas), eps=s.adam_eps, fused=True)

    def step(self):
        batch = self.batches[self.done % len(self.batches)]
        self.done += 1
        with self.autocast:
            loss = self.loss(batch[:, :-1], batch[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.s.clip_norm, foreach=True)
        self.optimizer.step()
        return loss.item()

    def run(self, steps):
        start = time.perf_counter()
        losses = [self.step() for _ in range(steps)]
        return {"seconds": time.perf_counter() - start, "losses": losses}


def candidates(s):
    """The compiler makes one kernel of rotary and norm however they are written, and takes half a minute or more per form."""
    if s.mode == "eager":
        return list(FORMS)
    return [form for form, (_, rotary, norm) in FORMS.items() if rotary == "halves" and norm == "rms_norm"]


def fastest_form(s, weights, batches):
    """Times every form in turn, three rounds, and returns the one with the lowest best step."""
    forms = list(s.forms) or candidates(s)
    if len(forms) == 1:
        return forms[0], {}
    trainers = {form: Trainer(s, weights, batches, form) for form in forms}
    best = dict.fromkeys(forms, math.inf)
    for trainer in trainers.values():
        trainer.run(1)
    for _ in range(3):
        for form, trainer in trainers.items():
            best[form] = min(best[form], trainer.run(1)["seconds"])
    return min(best, key=best.get), best


def read_batches(s):
    with open(s.tokens, "rb") as file:
        tokens = torch.frombuffer(bytearray(file.read()), dtype=torch.int32)
    return tokens.view(-1, s.batch, s.length + 1).long()


class HuggingFace:
    """The step of Hugging Face's Trainer on its own Llama. train() runs in one go, so each request is served between its steps."""

    def __init__(self, s, weights, batches):
        from transformers import (LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer as HuggingFaceTrainer, TrainerCallback,
                                  TrainingArguments)

        outer = self
        config = LlamaConfig(
            vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers, num_attention_heads=s.heads,
            num_key_value_heads=s.kv_heads, intermediate_size=s.ffn, max_position_embeddings=s.length + 1,
            rms_norm_eps=s.eps, rope_theta=s.rope_theta, tie_word_embeddings=False, use_cache=False)
        self.model = LlamaForCausalLM(config)
        self.model.load_state_dict(weights)

        class Sequences(torch.utils.data.IterableDataset):
            def __iter__(self):
                while True:
                    for batch in batches:
                        for ids in batch:
                            yield {"input_ids": ids, "labels": ids}

        class Serve(TrainerCallback):
            def on_log(self, args, state, control, logs=None, **_):
                if "loss" in (logs or {}):
                    outer.after_step(logs["loss"])

        args = TrainingArguments(
            output_dir="unused", max_steps=10**9, per_device_train_batch_size=s.batch, learning_rate=s.lr, weight_decay=s.weight_decay,
            adam_beta1=s.betas[0], adam_beta2=s.betas[1], adam_epsilon=s.adam_eps, max_grad_norm=s.clip_norm, optim="adamw_torch_fused",
            lr_scheduler_type="constant", logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
            dataloader_num_workers=0, dataloader_pin_memory=False, seed=s.seed)
        self.trainer = HuggingFaceTrainer(model=self.model, args=args, train_dataset=Sequences(), callbacks=[Serve()])
        # Standard output is for answers.
        self.trainer.remove_callback(PrinterCallback)

    def serve(self, next_request, answer):
        self.next_request, self.answer = next_request, answer
        self.begin()
        if self.left > 0:
            self.trainer.train()

    def begin(self):
        request = self.next_request()
        self.left = 0 if request is None else request["steps"]
        self.losses, self.start = [], time.perf_counter()
        if request is None:
            sys.stdout.flush()
            os._exit(0)

    def after_step(self, loss):
        self.losses.append(float(loss))
        self.left -= 1
        if self.left == 0:
            self.answer({"seconds": time.perf_counter() - self.start, "losses": self.losses})
            self.begin()


def resident(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def peak_memory(trainer, steps, before):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    trainer.run(steps)
    return {"bytes": resident("VmHWM") - before}


def main():
    s = Settings(**json.loads(sys.argv[1]))
    torch.set_num_threads(s.threads)
    if s.precision == "matmul":
        torch.set_float32_matmul_precision("medium")
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    # Steps of a tiny model, so that what the libraries take for themselves is there.
    tiny = dataclasses.replace(s, hidden=64, layers=1, heads=2, kv_heads=2, ffn=96, vocab=64, batch=1, length=16, weights="", mode="eager")
    Trainer(tiny, initial_weights(tiny), torch.zeros(1, 1, 17, dtype=torch.long), PLAIN_FORM).run(2)
    before = resident("VmRSS")
    weights, batches = initial_weights(s), read_batches(s)
    if s.save:
        save_file(weights, s.save)
    answer = lambda value: print(json.dumps(value), flush=True)
    versions = {"torch": torch.__version__}
    if s.mode == "trainer":
        import transformers

        transformers.utils.logging.set_verbosity_error()
        trainer = HuggingFace(s, weights, batches)
        versions["transformers"] = transformers.__version__
        answer({"ready": True, "form": "transformers' Llama", "tried": {}, "versions": versions,
                "parameters": sum(p.numel() for p in trainer.model.parameters())})
        lines = iter(sys.stdin.readline, "")
        trainer.serve(lambda: next((json.loads(line) for line in lines), None), answer)
        return
    form, tried = fastest_form(s, weights, batches)
    trainer = Trainer(s, weights, batches, form)
    del weights
    answer({"ready": True, "form": form, "tried": tried, "versions": versions,
            "parameters": sum(p.numel() for p in trainer.model.parameters())})
    for line in sys.stdin:
        request = json.loads(line)
        answer(peak_memory(trainer, request["memory"], before) if "memory" in request else trainer.run(request["steps"]))


if __name__ == "__main__":
    main()
