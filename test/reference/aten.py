"""Writes the values that test/reference/aten.json holds: ATen operators as PyTorch computes them.

Run in an environment with PyTorch 2.13 (CPU): python test/reference/aten.py > test/reference/aten.json
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(7)
NAMES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "i64": torch.int64, "bool": torch.bool}
TYPES = {v: k for k, v in NAMES.items()}


def plain(t):
    return {"dtype": TYPES[t.dtype], "shape": list(t.shape), "values": t.contiguous().flatten().tolist()}


cases = []


def case(op, overload, inputs, args, results):
    """args: references to inputs (by index) or [kind, value]; the schema's order, as the test encodes them."""
    results = results if isinstance(results, (list, tuple)) else [results]
    cases.append(
        {
            "op": op,
            "overload": overload,
            "inputs": [plain(t) for t in inputs],
            "args": args,
            "results": [plain(t) for t in results],
        }
    )


for name in ("f64", "f32", "bf16"):
    d = NAMES[name]
    x, y = torch.randn(3, 4).to(d), torch.randn(3, 4).to(d)
    half = torch.tensor(0.5, dtype=d)
    ids = torch.tensor([2, 0, 2])
    rows = torch.tensor([[1], [3], [0]])
    case("mul", "Tensor", [x, half], [["tensor", 0], ["tensor", 1]], x * half)
    case("div", "Tensor", [x, y], [["tensor", 0], ["tensor", 1]], x / y)
    case("mean", "dim", [x], [["tensor", 0], ["intList?", [-1]], ["bool", True], ["dtype?", None]], x.mean(-1, keepdim=True))
    case("sum", "dim_IntList", [x], [["tensor", 0], ["intList?", [0]], ["bool", False], ["dtype?", "f64"]], x.sum(0, dtype=torch.float64))
    case("rsqrt", "", [x.abs()], [["tensor", 0]], x.abs().rsqrt())
    case("silu", "", [x], [["tensor", 0]], F.silu(x))
    case("silu_backward", "", [y, x], [["tensor", 0], ["tensor", 1]], torch.ops.aten.silu_backward(y, x))
    case("embedding", "", [x, ids], [["tensor", 0], ["tensor", 1], ["int", -1], ["bool", False], ["bool", False]], F.embedding(ids, x))
    case("_log_softmax", "", [x], [["tensor", 0], ["int", -1], ["bool", False]], F.log_softmax(x, -1))
    case("gather", "", [x, rows], [["tensor", 0], ["int", 1], ["tensor", 1], ["bool", False]], x.gather(1, rows))
    case("cat", "", [x, y], [["tensorList", [0, 1]], ["int", 1]], torch.cat([x, y], 1))
    case("where", "self", [x > 0, x, y], [["tensor", 0], ["tensor", 1], ["tensor", 2]], torch.where(x > 0, x, y))
    case("gt", "Tensor", [x, y], [["tensor", 0], ["tensor", 1]], x > y)
    case("index_select", "", [x, ids], [["tensor", 0], ["int", 0], ["tensor", 1]], x.index_select(0, ids))
    case("max", "dim", [x], [["tensor", 0], ["int", 1], ["bool", False]], list(x.max(1)))
    case("permute", "", [x], [["tensor", 0], ["intList", [1, 0]]], x.permute(1, 0))
    case("_to_copy", "", [x], [["tensor", 0], ["dtype?", "f32"], ["none"], ["none"], ["none"], ["bool", False], ["none"]], x.float())
    case("nll_loss_forward", "", [F.log_softmax(x, -1), torch.tensor([1, -100, 3])],
         [["tensor", 0], ["tensor", 1], ["none"], ["int", 1], ["int", -100]],
         list(torch.ops.aten.nll_loss_forward(F.log_softmax(x, -1), torch.tensor([1, -100, 3]), None, 1, -100)))

a, b = torch.tensor([5, -3, 2**40]), torch.tensor([7, 2, 3])
case("mul", "Tensor", [a, b], [["tensor", 0], ["tensor", 1]], a * b)
case("bitwise_and", "Tensor", [a, b], [["tensor", 0], ["tensor", 1]], a & b)
case("cumsum", "", [a], [["tensor", 0], ["int", 0], ["dtype?", None]], a.cumsum(0))
case("sort", "", [a], [["tensor", 0], ["int", 0], ["bool", True]], list(a.sort(descending=True)))

print(json.dumps({"source": f"PyTorch {torch.__version__}, test/reference/aten.py", "cases": cases}))
