"""Reference values of the ops that growing models need, and of Muon, computed by PyTorch in float64.

Writes ops/growth.json and muon.json beside this file: python test/golden/growth_golden.py (needs torch; made with 2.13).
Inputs follow from a seed by the formula of ops_golden.py.
"""

import json
import pathlib

import torch
from ops_golden import FOLDER, case, uniform, value

RATE, SCALE, NEW_RATE = 3e-2, 0.5, 4e-2
BETA1, BETA2, EPS, DECAY, STEP = 0.9, 0.95, 1e-8, 0.1, 3


def adamw_new_entries(p, g, m, v, _, mask):
    """torch.optim.AdamW with two parameter groups, entries put together by the mask."""
    results = []
    for rate in (RATE, NEW_RATE):
        parameter = torch.nn.Parameter(p.clone())
        update = torch.optim.AdamW([parameter], rate, (BETA1, BETA2), EPS, DECAY)
        parameter.grad = g * SCALE
        update.state[parameter] = {"step": torch.tensor(float(STEP - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
        update.step()
        results.append((parameter.detach(), update.state[parameter]["exp_avg"], update.state[parameter]["exp_avg_sq"]))
    old, new = results
    return torch.where(mask > 0.5, new[0], old[0]), old[1], old[2]


def newton_schulz(g, steps=5, coefficients=(3.4445, -4.775, 2.0315), eps=1e-7):
    """zeropower_via_newtonschulz5 of Keller Jordan's Muon, kept in float64 (the original rounds to bfloat16)."""
    a, b, c = coefficients
    x = g.T if g.size(0) > g.size(1) else g
    x = x / (x.norm() + eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.size(0) > g.size(1) else x


def muon_run(shape, seed, steps, momentum=0.95, rate=0.02, decay=0.1, scale="match_rms_adamw"):
    """Parameters after `steps` updates with drawn gradients: momentum as lerp, nesterov, decoupled decay."""
    p = value(uniform(seed, *shape))
    buffer = torch.zeros_like(p)
    rows, columns = shape
    factor = 0.2 * max(rows, columns) ** 0.5 if scale == "match_rms_adamw" else max(1.0, rows / columns) ** 0.5
    for step in range(steps):
        g = value(uniform(seed + 1 + step, *shape))
        buffer.lerp_(g, 1 - momentum)
        direction = newton_schulz(g.lerp(buffer, momentum))
        p = p * (1 - rate * decay) - rate * factor * direction
    official = torch.nn.Parameter(value(uniform(seed, *shape)))
    optimizer = torch.optim.Muon([official], lr=rate, weight_decay=decay, momentum=momentum, nesterov=True, adjust_lr_fn=scale)
    for step in range(steps):
        official.grad = value(uniform(seed + 1 + step, *shape))
        optimizer.step()
    return {
        "shape": list(shape),
        "seed": seed,
        "steps": steps,
        "momentum": momentum,
        "rate": rate,
        "decay": decay,
        "scale": "moonshot" if scale == "match_rms_adamw" else "keller",
        "parameters": p.flatten().tolist(),
        "momentumBuffer": buffer.flatten().tolist(),
        "torchOptimMuon": official.detach().flatten().tolist(),
    }


if __name__ == "__main__":
    corrections = [1 - BETA1**STEP, 1 - BETA2**STEP]
    mask = {"seed": 9, "shape": [37], "dtype": "float", "values": [float(i % 3 == 0) for i in range(37)]}
    scalars = {"shape": [5], "dtype": "f64", "values": [RATE, SCALE, *corrections, NEW_RATE]}
    adam = [uniform(1, 37), uniform(2, 37), uniform(3, 37), uniform(4, 37, low=0, high=1), scalars, mask]
    attributes = {"beta1": BETA1, "beta2": BETA2, "eps": EPS, "weightDecay": DECAY}

    def momentum(g, m, _):
        m = m.lerp(g * SCALE, 0.05)
        return m, (g * SCALE).lerp(m, 0.95)

    cases = [
        case("entries with a rate of their own", "adamw", adamw_new_entries, adam, attributes),
        case("odd", "muonMomentum", momentum, [uniform(1, 5, 7), uniform(2, 5, 7), scalars], {"momentum": 0.95}),
        case(
            "odd",
            "unitNorm",
            lambda x, s: (x / (s.sqrt() + 1e-7),),
            [uniform(3, 5, 7), {"shape": [1], "dtype": "f64", "values": [6.25]}],
            {"eps": 1e-7},
        ),
        case(
            "odd",
            "muonUpdate",
            lambda p, o, _: (p - RATE * (1.5 * o + 0.1 * p),),
            [uniform(4, 5, 7), uniform(5, 5, 7), scalars],
            {"scale": 1.5, "weightDecay": 0.1},
        ),
        case("rows", "scaleColumns", lambda x, s: (x * s,), [uniform(6, 9, 13), uniform(7, 13)], None, (0,), 8),
    ]
    text = ",\n".join(json.dumps(made, separators=(",", ":")) for made in cases)
    (FOLDER / "growth.json").write_text(f"[\n{text}\n]\n")
    runs = [
        muon_run((4, 6), 11, 3),
        muon_run((7, 3), 21, 3, scale="original"),
        muon_run((5, 5), 31, 1),
    ]
    rows = ",\n".join(json.dumps(run, separators=(",", ":")) for run in runs)
    (pathlib.Path(__file__).parent / "muon.json").write_text(f"[\n{rows}\n]\n")
