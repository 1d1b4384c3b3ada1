"""A Llama training step in PyTorch, as fast as it is written there; the peer of bench/train-step.ts.

    python train_step.py '{"hidden": 256, "layers": 8, ..., "mode": "eager"}'

The argument is one JSON object (see Settings). Then one JSON line in, one out:

    -> {"steps": 5}              <- {"seconds": 3.1, "losses": [8.3, ...]}

seconds covers forward, backward, clipping, update and reading the loss. The first line out, before any request,
is {"ready": ..., "form": ..., "tried": {...}, "versions": {...}, "parameters": ...}.

The model is Hugging Face's Llama (RMSNorm, half-split rotary, SwiGLU, grouped-query attention, no biases, untied
head), float32. Update: fused AdamW, decay on matrices only, gradients clipped to a global norm. Several ways of
writing the same arithmetic are timed first and the fastest stays; "form" says which. Each starts from the same weights.
"""

import dataclasses
import json
import math
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
    tokens: str  # file of int32 [any, batch, length + 1]; step i takes batch i, round and round
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


# What a form fixes: are q, k, v and gate, up one matrix each; how rotary is written.
FORMS = {
    "fused, rotary by halves": (True, "halves"),
    "fused, rotary by rotate_half": (True, "rotate_half"),
    "separate, rotary by halves": (False, "halves"),
    "separate, rotary by rotate_half": (False, "rotate_half"),
}
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


class Block(torch.nn.Module):
    def __init__(self, s, weights, fused, rotary):
        super().__init__()
        self.s, self.fused, self.rotary = s, fused, rotary
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
        h = F.rms_norm(x, (s.hidden,), self.norm1, s.eps)
        q, k, v = self.project(h, self.qkv, (s.hidden, kv, kv))
        q, k, v = (t.view(*t.shape[:2], -1, s.head_dim).transpose(1, 2) for t in (q, k, v))
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=s.kv_heads != s.heads)
        x = x + F.linear(y.transpose(1, 2).reshape(x.shape), self.o)
        gate, up = self.project(F.rms_norm(x, (s.hidden,), self.norm2, s.eps), self.gate_up, (s.ffn, s.ffn))
        return x + F.linear(F.silu(gate) * up, self.down)


class Llama(torch.nn.Module):
    def __init__(self, s, weights, fused, rotary):
        super().__init__()
        self.s = s
        self.embed = torch.nn.Parameter(weights["model.embed_tokens.weight"].clone())
        self.norm = torch.nn.Parameter(weights["model.norm.weight"].clone())
        self.head = torch.nn.Parameter(weights["lm_head.weight"].clone())
        self.blocks = torch.nn.ModuleList()
        for i in range(s.layers):
            prefix = f"model.layers.{i}."
            own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
            self.blocks.append(Block(s, own, fused, rotary))
        angles = torch.outer(torch.arange(s.length).float(),
                             s.rope_theta ** (-torch.arange(0, s.head_dim, 2).float() / s.head_dim))
        self.register_buffer("cos", torch.cat((angles, angles), -1).cos())
        self.register_buffer("sin", torch.cat((angles, angles), -1).sin())

    def forward(self, inputs, targets):
        x = F.embedding(inputs, self.embed)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(F.rms_norm(x, (self.s.hidden,), self.norm, self.s.eps), self.head)
        return F.cross_entropy(logits.view(-1, self.s.vocab), targets.reshape(-1))


class Trainer:
    def __init__(self, s, weights, batches, form):
        self.s, self.batches, self.done = s, batches, 0
        self.model = Llama(s, weights, *FORMS[form])
        self.loss = torch.compile(self.model) if s.mode == "compile" else self.model
        matrices = [p for p in self.model.parameters() if p.ndim == 2]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        groups = [dict(params=matrices, weight_decay=s.weight_decay), dict(params=vectors, weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(groups, lr=s.lr, betas=tuple(s.betas), eps=s.adam_eps, fused=True)

    def step(self):
        batch = self.batches[self.done % len(self.batches)]
        self.done += 1
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
    """The compiler makes one kernel of rotary however it is written, and takes half a minute or more per form."""
    return [form for form, (_, rotary) in FORMS.items() if s.mode != "compile" or rotary == "halves"]


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


def main():
    s = Settings(**json.loads(sys.argv[1]))
    torch.set_num_threads(s.threads)
    weights, batches = initial_weights(s), read_batches(s)
    if s.save:
        save_file(weights, s.save)
    form, tried = fastest_form(s, weights, batches)
    trainer = Trainer(s, weights, batches, form)
    answer = lambda value: print(json.dumps(value), flush=True)
    answer({"ready": True, "form": form, "tried": tried, "versions": {"torch": torch.__version__},
            "parameters": sum(p.numel() for p in trainer.model.parameters())})
    for line in sys.stdin:
        answer(trainer.run(json.loads(line)["steps"]))


if __name__ == "__main__":
    main()
