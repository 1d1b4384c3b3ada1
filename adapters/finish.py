"""Writes records.jsonl and result.json for a trainer that writes its metrics elsewhere: the last step of an adapter.

    python finish.py INPUT OUTPUT METRICS.jsonl --trainer "torchtitan 0.2" --loss-at-load 4.1234 [--optimizer-steps N]

METRICS has a line for each optimizer step that was logged: {"step": 1, "loss": 4.2, "lr": 0.0004}, steps counted within this stage, as TensorBoard
and Weights & Biases export them. The loss at load is what the trainer's own evaluation finds on INPUT/probe.bin before its first step. What
the lines say is passed on as it is, and it is Strata that holds it against the stage.
"""

import argparse
import json
import os


def finish(source, output, metrics, trainer, loss_at_load, optimizer_steps=None):
    with open(os.path.join(source, "stage.json")) as file:
        stage = json.load(file)
    with open(metrics) as file:
        lines = [json.loads(line) for line in file if line.strip()]
    batch = stage["batchTokens"]
    with open(os.path.join(output, "records.jsonl"), "w") as file:
        for line in lines:
            extra = {ours: line[theirs] for theirs, ours in (("grad_norm", "gradNorm"), ("tps", "tokensPerSecond")) if theirs in line}
            file.write(json.dumps({"tokens": line["step"] * batch, "loss": line["loss"], "lr": line["lr"], **extra}) + "\n")
    steps = lines[-1]["step"] if lines else 0
    result = {
        "format": 1, "trainer": trainer, "steps": steps, "tokens": steps * batch, "batchTokens": batch,
        "data": {"firstSequence": stage["data"]["firstSequence"], "numSequences": steps * batch // stage["sequenceLength"]},
        "lossAtLoad": loss_at_load, **({} if optimizer_steps is None else {"optimizerSteps": optimizer_steps}),
    }
    path = os.path.join(output, "result.json")
    with open(f"{path}.partial", "w") as file:
        json.dump(result, file, indent=1)
    os.replace(f"{path}.partial", path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("input", "output", "metrics"):
        parser.add_argument(name)
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--loss-at-load", type=float, required=True)
    parser.add_argument("--optimizer-steps", type=int)
    options = parser.parse_args()
    finish(options.input, options.output, options.metrics, options.trainer, options.loss_at_load, options.optimizer_steps)
