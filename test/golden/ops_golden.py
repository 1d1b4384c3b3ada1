"""Reference values of every op, computed by PyTorch in float64.

Writes ops/<family>.json beside this file: python test/golden/ops_golden.py (needs torch; made with 2.13). Inputs are not stored but
follow from a seed by a formula (`value`), the same one as in ops.ts. Outputs and gradients are stored whole, or every `stride`-th
element of them where they are large.
"""

import json
import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent / "ops"
MOST_STORED = 160
torch.set_default_dtype(torch.float64)


def bits(seed, count):
    """32 mixed bits for every index: multiplications and shifts of murmur3's finaliser."""
    mask = 0xFFFFFFFF
    h = (torch.arange(count, dtype=torch.int64) + seed * 1_000_003 + 1) & mask
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & mask
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & mask
    return h ^ (h >> 16)


def value(spec):
    """The tensor that a specification stands for; floats are representable in f32."""
    if "values" in spec:
        return torch.tensor(spec["values"])
    count = 1
    for n in spec["shape"]:
        count *= n
    h = bits(spec["seed"], count)
    if "modulus" in spec:
        ids = h % spec["modulus"]
        if "ignoreEvery" in spec:
            ids[:: spec["ignoreEvery"]] = -1
        return ids.reshape(spec["shape"])
    low, high = spec.get("low", -1.0), spec.get("high", 1.0)
    uniform = (h >> 8).double() / 2**24
    return (low + (high - low) * uniform).float().double().reshape(spec["shape"])


def stored(tensor):
    flat = tensor.detach().double().flatten()
    stride = max(1, -(-flat.numel() // MOST_STORED))
    if stride > 1:
        while any(stride % p == 0 for p in (2, 3, 5, 7)):
            stride += 1
    return {"shape": list(tensor.shape), "stride": stride, "values": [float(f"{v:.15g}") for v in flat[::stride].tolist()]}


def case(name, op, function, inputs, attributes=None, differentiable=(), dy=None):
    """One case: `function` maps input tensors to the op's outputs; gradients flow from output 0 into `differentiable`."""
    tensors = [value(spec) for spec in inputs]
    for i in differentiable:
        tensors[i].requires_grad_(True)
    outputs = function(*tensors)
    made = {"name": name, "op": op, "attributes": attributes or {}, "inputs": inputs, "outputs": [stored(o) for o in outputs]}
    if differentiable:
        if dy is None:
            seed = torch.ones_like(outputs[0])
        else:
            made["dy"] = {"seed": dy, "shape": list(outputs[0].shape)}
            seed = value(made["dy"])
        gradients = torch.autograd.grad(outputs[0], [tensors[i] for i in differentiable], seed)
        made["gradients"] = [None] * len(inputs)
        for i, gradient in zip(differentiable, gradients):
            made["gradients"][i] = stored(gradient)
    return made


def uniform(seed, *shape, low=-1.0, high=1.0):
    return {"seed": seed, "shape": list(shape), "dtype": "float", "low": low, "high": high}


def ids(seed, count, modulus, **more):
    return {"seed": seed, "shape": [count], "dtype": "i32", "modulus": modulus, **more}


def layout(batch, length, heads, kv_heads, head_dim):
    return {"batch": batch, "length": length, "heads": heads, "kvHeads": kv_heads, "headDim": head_dim}


def split_heads(qkv, a):
    """Query, key and value [batch, heads, length, head_dim] out of packed rows."""
    parts = qkv.reshape(a["batch"], a["length"], a["heads"] + 2 * a["kvHeads"], a["headDim"]).transpose(1, 2)
    return parts.split([a["heads"], a["kvHeads"], a["kvHeads"]], dim=1)


def join_heads(*parts):
    joined = torch.cat(parts, dim=1).transpose(1, 2)
    return joined.reshape(joined.shape[0] * joined.shape[1], -1)


def elementwise():
    def add(a, b):
        return (a + b,)

    def bias(x, b):
        return (x + b,)

    def column_sum(x):
        return (x.sum(0),)

    return [
        case("small", "add", add, [uniform(1, 7, 13), uniform(2, 7, 13)], differentiable=(0, 1), dy=3),
        case("several blocks", "add", add, [uniform(4, 300, 133), uniform(5, 300, 133)], differentiable=(0, 1), dy=6),
        case("small", "copy", lambda x: (x.clone(),), [uniform(7, 5, 3)], differentiable=(0,), dy=8),
        case("several blocks", "copy", lambda x: (x.clone(),), [uniform(7, 301, 133)], differentiable=(0,), dy=8),
        case("two parts", "concat", lambda a, b: (torch.cat([a, b]),), [uniform(1, 3, 5), uniform(2, 4, 5)]),
        case("odd", "addBias", bias, [uniform(9, 11, 19), uniform(10, 19)], differentiable=(0, 1), dy=11),
        case("large", "addBias", bias, [uniform(12, 700, 200), uniform(13, 200)], differentiable=(0, 1), dy=14),
        case("odd", "columnSum", column_sum, [uniform(15, 131, 77)]),
        case("one row", "columnSum", column_sum, [uniform(16, 1, 5)]),
    ]


def embedding():
    def look_up(table, i):
        return (torch.nn.functional.embedding(i, table),)

    return [
        case("odd", "embedding", look_up, [uniform(1, 11, 40), ids(2, 37, 11)], differentiable=(0,), dy=3),
        case("large", "embedding", look_up, [uniform(4, 500, 136), ids(5, 3000, 500)], differentiable=(0,), dy=6),
    ]


def matmul():
    cases = []
    for ta in (False, True):
        for tb in (False, True):
            a = uniform(1, *((9, 13) if ta else (13, 9)))
            b = uniform(2, *((7, 9) if tb else (9, 7)))

            def product(x, y, ta=ta, tb=tb):
                return ((x.T if ta else x) @ (y.T if tb else y),)

            name = f"{'transposed' if ta else 'plain'} by {'transposed' if tb else 'plain'}"
            cases.append(case(name, "matmul", product, [a, b], {"transposeA": ta, "transposeB": tb}, (0, 1), 3))

    def linear(x, w):
        return (x @ w.T,)

    attributes = {"transposeA": False, "transposeB": True}
    for rows, inner, columns in ((200, 264, 344), (257, 72, 1040)):
        shapes = [uniform(4, rows, inner), uniform(5, columns, inner)]
        cases.append(case(f"linear {rows}x{inner}x{columns}", "matmul", linear, shapes, attributes, (0, 1), 6))
    return cases


def rms_norm():
    def norm(eps):
        def function(x, w):
            rstd = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
            return torch.nn.functional.rms_norm(x, x.shape[-1:], w, eps), rstd.squeeze(-1)

        return function

    cases = []
    for name, rows, columns, eps in (("odd", 37, 40, 1e-5), ("one column", 3, 1, 0.5), ("chunks", 333, 259, 1e-5)):
        shapes = [uniform(1, rows, columns, low=-2, high=3), uniform(2, columns, low=0.5, high=1.5)]
        cases.append(case(name, "rmsNorm", norm(eps), shapes, {"eps": eps}, (0, 1), 3))
    tiny = [uniform(4, 5, 24, low=-1e-4, high=1e-4), uniform(5, 24)]
    cases.append(case("eps matters", "rmsNorm", norm(1e-6), tiny, {"eps": 1e-6}, (0, 1), 6))
    return cases


def rotary():
    cases = []
    for name, a, half in (
        ("grouped heads", layout(2, 37, 4, 2, 40), 20),
        ("partial", layout(2, 5, 3, 1, 24), 7),
        ("one head", layout(1, 130, 1, 1, 64), 32),
    ):
        for inverse in (False, True):

            def turn(qkv, cos, sin, a=a, half=half, inverse=inverse):
                q, k, v = split_heads(qkv, a)
                sine = -sin if inverse else sin

                def rotate(x):
                    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
                    # As in transformers: x * cos + rotate_half(x) * sin, with cos and sin repeated.
                    flipped = torch.cat([-turned[..., half:], turned[..., :half]], dim=-1)
                    turned = turned * torch.cat([cos, cos], -1) + flipped * torch.cat([sine, sine], -1)
                    return torch.cat([turned, rest], dim=-1)

                return (join_heads(rotate(q), rotate(k), v),)

            width = (a["heads"] + 2 * a["kvHeads"]) * a["headDim"]
            shapes = [
                uniform(1, a["batch"] * a["length"], width),
                uniform(2, a["length"], half),
                uniform(3, a["length"], half),
            ]
            label = f"{name}{', inverse' if inverse else ''}"
            cases.append(case(label, "rotary", turn, shapes, {**a, "inverse": inverse}, (0,), 4))
    return cases


def swiglu():
    def function(gate_up):
        gate, up = gate_up.chunk(2, dim=-1)
        return (torch.nn.functional.silu(gate) * up,)

    cases = []
    for name, rows, columns, reach in (("odd", 7, 37, 3), ("saturated", 5, 100, 120), ("large", 130, 344, 6)):
        shapes = [uniform(1, rows, 2 * columns, low=-reach, high=reach)]
        cases.append(case(name, "swiglu", function, shapes, differentiable=(0,), dy=2))
    return cases


def layer_norm():
    def norm(eps):
        def function(x, w, b):
            mean = x.mean(-1, keepdim=True)
            rstd = torch.rsqrt((x - mean).pow(2).mean(-1, keepdim=True) + eps)
            return torch.nn.functional.layer_norm(x, x.shape[-1:], w, b, eps), mean.squeeze(-1), rstd.squeeze(-1)

        return function

    cases = []
    for name, rows, columns, eps, low in (("odd", 37, 40, 1e-5, -2), ("chunks", 333, 259, 1e-5, -2), ("far from zero", 5, 72, 1e-5, 12)):
        shapes = [uniform(1, rows, columns, low=low, high=low + 5), uniform(2, columns, low=0.5, high=1.5), uniform(3, columns)]
        cases.append(case(name, "layerNorm", norm(eps), shapes, {"eps": eps}, (0, 1, 2), 4))
    tiny = [uniform(4, 5, 24, low=-1e-4, high=1e-4), uniform(5, 24), uniform(6, 24)]
    cases.append(case("eps matters", "layerNorm", norm(1e-6), tiny, {"eps": 1e-6}, (0, 1, 2), 7))
    return cases


def activation():
    functions = {
        "gelu": torch.nn.functional.gelu,
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "silu": torch.nn.functional.silu,
        "relu": torch.nn.functional.relu,
    }
    cases = []
    for kind, function in functions.items():

        def gated(gate_up, function=function):
            gate, up = gate_up.chunk(2, dim=-1)
            return (function(gate) * up,)

        for name, rows, columns, reach in (("odd", 7, 37, 3), ("saturated", 5, 100, 120), ("large", 130, 344, 6)):
            shapes = [uniform(1, rows, columns, low=-reach, high=reach)]
            label = f"{kind}, {name}"
            cases.append(case(label, "activation", lambda x, f=function: (f(x),), shapes, {"kind": kind}, (0,), 2))
            if name != "large":
                shapes = [uniform(3, rows, 2 * columns, low=-reach, high=reach)]
                cases.append(case(label, "gatedActivation", gated, shapes, {"kind": kind}, (0,), 4))
    return cases


def query_key_norm():
    cases = []
    for name, a, spans, rows in (
        ("per head", layout(2, 37, 4, 2, 40), (1, 1), 2 * 37),
        ("over all heads", layout(1, 130, 3, 1, 24), (3, 1), 130),
        ("odd heads", layout(1, 5, 2, 2, 7), (2, 1), 5),
    ):
        eps = 1e-5

        def norm(qkv, wq, wk, a=a):
            query, key = a["heads"] * a["headDim"], a["kvHeads"] * a["headDim"]
            q, k, v = qkv.split([query, key, key], dim=1)

            def turn(x, w):
                groups = x.reshape(x.shape[0], -1, w.shape[0])
                rstd = torch.rsqrt(groups.pow(2).mean(-1) + eps)
                return torch.nn.functional.rms_norm(groups, w.shape, w, eps).reshape(x.shape), rstd

            (q, q_rstd), (k, k_rstd) = turn(q, wq), turn(k, wk)
            return torch.cat([q, k, v], 1), torch.cat([q_rstd, k_rstd], 1)

        width = (a["heads"] + 2 * a["kvHeads"]) * a["headDim"]
        shapes = [
            uniform(1, rows, width, low=-2, high=3),
            uniform(2, spans[0] * a["headDim"], low=0.5, high=1.5),
            uniform(3, spans[1] * a["headDim"], low=0.5, high=1.5),
        ]
        cases.append(case(name, "queryKeyNorm", norm, shapes, {**a, "eps": eps}, (0, 1, 2), 4))
    return cases


def affine():
    def line(x):
        return (x * 2.5 - 0.75,)

    def shift(x):
        return (x + 1,)

    def cap(x):
        return (30 * torch.tanh(x / 30),)

    return [
        case("odd", "affine", line, [uniform(1, 7, 13)], {"scale": 2.5, "shift": -0.75}, (0,), 2),
        case("shift", "affine", shift, [uniform(3, 11)], {"scale": 1, "shift": 1}, (0,), 4),
        case("several blocks", "affine", line, [uniform(5, 300, 133)], {"scale": 2.5, "shift": -0.75}, (0,), 6),
        case("odd", "softcap", cap, [uniform(7, 7, 13, low=-90, high=90)], {"cap": 30}),
    ]


def limited_attention():
    cases = []
    for name, a, limits, reach in (
        ("window", layout(2, 37, 4, 2, 16), {"window": 5}, 1),
        ("window of one", layout(1, 9, 2, 1, 8), {"window": 1}, 1),
        ("window longer than the sequence", layout(1, 70, 2, 2, 32), {"window": 99}, 1),
        ("bounded scores", layout(2, 37, 4, 2, 16), {"softcap": 3}, 2),
        ("bounded scores and window", layout(1, 130, 2, 1, 24), {"window": 31, "softcap": 5}, 3),
    ):
        scale = a["headDim"] ** -0.5

        def attend(qkv, a=a, scale=scale, limits=limits):
            q, k, v = split_heads(qkv, a)
            group = a["heads"] // a["kvHeads"]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            scores = q @ k.transpose(-1, -2) * scale
            if "softcap" in limits:
                scores = torch.tanh(scores / limits["softcap"]) * limits["softcap"]
            # As in transformers: a key is seen where query - window < key <= query.
            distance = torch.arange(a["length"])[:, None] - torch.arange(a["length"])[None, :]
            mask = (distance >= 0) & (distance < limits.get("window", a["length"]))
            scores = scores.masked_fill(~mask, float("-inf"))
            return join_heads(scores.softmax(-1) @ v), scores.logsumexp(-1)

        width = (a["heads"] + 2 * a["kvHeads"]) * a["headDim"]
        shapes = [uniform(1, a["batch"] * a["length"], width, low=-reach, high=reach)]
        cases.append(case(name, "attention", attend, shapes, {**a, "scale": scale, **limits}, (0,), 2))
    return cases


def bounded_loss():
    cases = []
    for name, rows, columns, vocabulary, cap in (("bounded", 37, 40, 101, 3), ("bounded, several chunks", 300, 24, 16411, 2)):

        def function(x, w, targets, weights, cap=cap):
            logits = torch.tanh(x @ w.T / cap) * cap
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none", ignore_index=-1)
            return (losses * weights).sum().reshape(1), losses

        shapes = [
            uniform(1, rows, columns),
            uniform(2, vocabulary, columns),
            ids(3, rows, vocabulary, ignoreEvery=7),
            uniform(4, rows, low=0, high=0.125),
        ]
        cases.append(case(name, "linearCrossEntropy", function, shapes, {"softcap": cap}, differentiable=(0, 1)))
    return cases


def attention():
    cases = []
    for name, a, reach in (
        ("grouped heads", layout(2, 37, 4, 2, 40), 1),
        ("two query blocks", layout(2, 128, 2, 2, 32), 1),
        ("crossing blocks, large scores", layout(1, 203, 2, 1, 64), 4),
        ("wide heads", layout(1, 70, 2, 2, 128), 1),
        ("one token", layout(2, 1, 2, 1, 16), 1),
        ("narrow heads", layout(1, 67, 3, 1, 8), 2),
        ("several blocks", layout(1, 300, 1, 1, 48), 1),
        ("grouped heads, several groups of blocks", layout(1, 280, 4, 2, 72), 1),
        ("widest heads", layout(1, 130, 2, 1, 200), 1),
    ):
        scale = a["headDim"] ** -0.5

        def attend(qkv, a=a, scale=scale):
            q, k, v = split_heads(qkv, a)
            group = a["heads"] // a["kvHeads"]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
            mask = torch.ones(a["length"], a["length"], dtype=torch.bool).tril()
            scores = (q @ k.transpose(-1, -2) * scale).masked_fill(~mask, float("-inf"))
            return join_heads(y), scores.logsumexp(-1)

        width = (a["heads"] + 2 * a["kvHeads"]) * a["headDim"]
        shapes = [uniform(1, a["batch"] * a["length"], width, low=-reach, high=reach)]
        cases.append(case(name, "attention", attend, shapes, {**a, "scale": scale}, (0,), 2))
    return cases


def document_attention():
    cases = []
    for name, a, ends, limits, reach in (
        ("two documents", layout(2, 37, 4, 2, 40), ([20, 37], [1, 37]), {}, 1),
        ("many documents", layout(1, 203, 2, 1, 64), ([3, 64, 65, 66, 130, 203],), {}, 3),
        ("one document", layout(1, 130, 2, 2, 32), ([130],), {}, 1),
        ("documents of whole blocks", layout(1, 192, 2, 1, 24), ([64, 128, 192],), {}, 1),
        ("several groups of blocks", layout(2, 280, 4, 2, 72), ([10, 150, 280], [200, 201, 280]), {}, 1),
        ("narrow heads, a long row", layout(1, 700, 2, 1, 8), ([100, 530, 700],), {}, 2),
        ("widest heads", layout(1, 130, 2, 1, 200), ([70, 130],), {}, 1),
        ("documents of one token", layout(1, 9, 2, 1, 16), ([1, 2, 3, 4, 5, 6, 7, 8, 9],), {}, 1),
        ("with bounded scores and window", layout(2, 37, 2, 1, 24), ([20, 37], [9, 37]), {"window": 7, "softcap": 5}, 3),
    ):
        scale = a["headDim"] ** -0.5
        starts = [start for row in ends for start, end in zip([0, *row], row) for _ in range(end - start)]

        def attend(qkv, starts, a=a, scale=scale, limits=limits):
            q, k, v = split_heads(qkv, a)
            group = a["heads"] // a["kvHeads"]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            scores = q @ k.transpose(-1, -2) * scale
            if "softcap" in limits:
                scores = torch.tanh(scores / limits["softcap"]) * limits["softcap"]
            distance = torch.arange(a["length"])[:, None] - torch.arange(a["length"])[None, :]
            mask = (distance >= 0) & (distance < limits.get("window", a["length"]))
            # Two positions are of one document where its first position is the same.
            document = starts.reshape(a["batch"], a["length"])
            mask = mask & (document[:, :, None] == document[:, None, :])
            scores = scores.masked_fill(~mask[:, None], float("-inf"))
            return join_heads(scores.softmax(-1) @ v), scores.logsumexp(-1)

        width = (a["heads"] + 2 * a["kvHeads"]) * a["headDim"]
        inputs = [
            uniform(1, a["batch"] * a["length"], width, low=-reach, high=reach),
            {"shape": [len(starts)], "dtype": "i32", "values": starts},
        ]
        cases.append(case(name, "attention", attend, inputs, {**a, "scale": scale, **limits}, (0,), 2))
    return cases


def loss():
    cases = []
    for name, rows, columns, vocabulary, reach in (
        ("odd", 37, 40, 101, 1),
        ("large logits", 9, 40, 50, 30),
        ("several chunks", 300, 24, 16411, 1),
    ):

        def function(x, w, targets, weights):
            losses = torch.nn.functional.cross_entropy(x @ w.T, targets, reduction="none", ignore_index=-1)
            return (losses * weights).sum().reshape(1), losses

        shapes = [
            uniform(1, rows, columns, low=-reach, high=reach),
            uniform(2, vocabulary, columns, low=-0.5, high=0.5),
            ids(3, rows, vocabulary, ignoreEvery=7),
            uniform(4, rows, low=0, high=0.125),
        ]
        cases.append(case(name, "linearCrossEntropy", function, shapes, differentiable=(0, 1)))
    return cases


def optimizer():
    beta1, beta2, eps, decay, rate, scale, step = 0.9, 0.95, 1e-8, 0.1, 3e-2, 0.5, 3
    corrections = [1 - beta1**step, 1 - beta2**step]

    def adamw(p, g, m, v, _):
        """torch.optim.AdamW itself, its state set to m and v after step - 1 steps."""
        parameter = torch.nn.Parameter(p.clone())
        update = torch.optim.AdamW([parameter], rate, (beta1, beta2), eps, decay)
        parameter.grad = g * scale
        update.state[parameter] = {"step": torch.tensor(float(step - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
        update.step()
        state = update.state[parameter]
        return parameter, state["exp_avg"], state["exp_avg_sq"]

    attributes = {"beta1": beta1, "beta2": beta2, "eps": eps, "weightDecay": decay}
    cases = []
    for name, count in (("odd", 37), ("several blocks", 40001)):
        shapes = [
            uniform(1, count),
            uniform(2, count),
            uniform(3, count),
            uniform(4, count, low=0, high=1),
            {"shape": [4], "dtype": "f64", "values": [rate, scale, *corrections]},
        ]
        cases.append(case(name, "adamw", adamw, shapes, attributes))
    cases += [
        case(name, "squaredNorm", lambda x: (x.pow(2).sum().reshape(1),), [uniform(5, count)])
        for name, count in (("odd", 37), ("several chunks", 50007))
    ]
    return cases


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    families = (
        elementwise,
        embedding,
        matmul,
        rms_norm,
        layer_norm,
        query_key_norm,
        rotary,
        activation,
        swiglu,
        affine,
        attention,
        limited_attention,
        document_attention,
        loss,
        bounded_loss,
        optimizer,
    )
    for family in families:
        cases = family()
        text = ",\n".join(json.dumps(made, separators=(",", ":")) for made in cases)
        (FOLDER / f"{family.__name__}.json").write_text(f"[\n{text}\n]\n")
