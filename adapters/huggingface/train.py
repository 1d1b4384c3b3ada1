"""Trains a stage that Strata hands over with Hugging Face's Trainer.

    python train.py INPUT OUTPUT [--micro-batch N] [--bf16] [--save-every STEPS]
    torchrun --nproc-per-node 8 train.py INPUT OUTPUT --micro-batch 4 --bf16

INPUT holds stage.json, model/, tokens.bin, probe.bin and, where the optimizer goes on, optimizer.safetensors. OUTPUT gets model/,
optimizer.safetensors, records.jsonl and, last, result.json. The same command goes on from the Trainer's own last checkpoint.
"""

import argparse
import json
import os
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from torch.utils.data import Dataset, SequentialSampler
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

MOMENTS = ("exp_avg", "exp_avg_sq")


class Rows(Dataset):
    """Rows of `length + 1` token ids; targets are the inputs one token on."""

    def __init__(self, folder, spec, length):
        ids = np.memmap(os.path.join(folder, spec["file"]), dtype=f"<u{2 if spec['dtype'] == 'uint16' else 4}", mode="r")
        self.rows = ids.reshape(spec["rows"], length + 1)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = torch.from_numpy(self.rows[index].astype(np.int64))
        return {"input_ids": row[:-1], "targets": row[1:]}


def mean_loss(model, input_ids, targets):
    logits = model(input_ids=input_ids, use_cache=False).logits.float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class StageTrainer(Trainer):
    """Reads the rows in their order, and counts which ones it read."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # The loss below is a mean over its micro-batch, so that Trainer has to divide by their number.
        self.model_accepts_loss_kwargs = False
        self.token_sum = 0

    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        self.token_sum += int(inputs["input_ids"].sum())
        return mean_loss(model, inputs["input_ids"], inputs["targets"])


class Records(TrainerCallback):
    """Writes a line for each step, with the rate that its update used; goes on where a checkpoint stands."""

    def __init__(self, path, batch_tokens):
        self.path, self.batch_tokens, self.lr, self.trainer, self.clock = path, batch_tokens, None, None, time.perf_counter()

    def on_train_begin(self, args, state, control, **_):
        if not state.is_world_process_zero: return
        kept = []
        if os.path.exists(self.path) and state.global_step > 0:
            with open(self.path) as file:
                kept = [line for line in file if json.loads(line)["tokens"] <= state.global_step * self.batch_tokens]
        with open(self.path, "w") as file:
            file.writelines(kept)

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
        self.lr = optimizer.param_groups[0]["lr"]

    def on_log(self, args, state, control, logs=None, **_):
        if not state.is_world_process_zero or "loss" not in logs: return
        line = {"tokens": state.global_step * self.batch_tokens, "loss": float(logs["loss"]), "lr": float(self.lr)}
        if "grad_norm" in logs:
            line["gradNorm"] = float(logs["grad_norm"])
        before, self.clock = self.clock, time.perf_counter()
        line["tokensPerSecond"] = self.batch_tokens / (self.clock - before)
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")

    def on_save(self, args, state, control, **_):
        name = f"token_sum_{args.process_index}.json"
        with open(os.path.join(args.output_dir, f"checkpoint-{state.global_step}", name), "w") as file:
            json.dump(self.trainer.token_sum, file)


def optimizer_for(model, stage, folder):
    """AdamW with decay where the stage says so, from the state that came along; and the stage's rates, update by update."""
    settings = stage["optimizer"]
    if settings["kind"] != "adamw":
        raise SystemExit(f"This adapter has AdamW only; the stage asks for {settings['kind']}.")
    trainable, decayed = set(stage["trainable"]), set(stage["decayed"])
    parameters = dict(model.named_parameters())
    if missing := trainable - parameters.keys():
        raise SystemExit(f"The model has no parameter {sorted(missing)[0]}.")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trainable)
    groups = [
        {"params": [p for n, p in parameters.items() if n in trainable and n in decayed], "weight_decay": settings["weightDecay"]},
        {"params": [p for n, p in parameters.items() if n in trainable and n not in decayed], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=1.0, betas=settings["betas"], eps=settings["eps"])
    if stage["optimizerState"] is not None:
        stored = load_file(os.path.join(folder, stage["optimizerState"]["file"]))
        for name in trainable:
            if f"{name}.{MOMENTS[0]}" not in stored:
                continue
            state = {moment: stored[f"{name}.{moment}"].to(parameters[name].device) for moment in MOMENTS}
            optimizer.state[parameters[name]] = {"step": torch.tensor(float(stage["optimizerState"]["steps"])), **state}
    rates = stage["schedule"]["learningRates"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates[min(step, len(rates) - 1)])
    return optimizer, scheduler


@torch.no_grad()
def probe_loss(model, rows, batch):
    model.eval()
    total = 0.0
    for first in range(0, len(rows), batch):
        part = [rows[i] for i in range(first, min(first + batch, len(rows)))]
        ids, targets = (torch.stack([p[k] for p in part]).to(model.device) for k in ("input_ids", "targets"))
        total += mean_loss(model, ids, targets).item() * len(part)
    return total / len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--micro-batch", type=int, help="sequences at a time on each device (default: all that fall to it)")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--save-every", type=int, default=500, help="steps between the Trainer's own checkpoints")
    options = parser.parse_args()
    with open(os.path.join(options.input, "stage.json")) as file:
        stage = json.load(file)
    data, length = stage["data"], stage["sequenceLength"]
    if "tokens" not in data or not data["crossDocumentAttention"]:
        raise SystemExit("This adapter needs tokens.bin (data: tokens) and attention across documents.")
    world, sequences = int(os.environ.get("WORLD_SIZE", "1")), stage["batchTokens"] // length
    micro = options.micro_batch or max(1, sequences // world)
    if sequences % (micro * world) != 0:
        raise SystemExit(f"{sequences} sequences of a step are no multiple of {micro} on each of {world} devices.")
    os.makedirs(options.output, exist_ok=True)
    work = os.path.join(options.output, "trainer")
    model = AutoModelForCausalLM.from_pretrained(os.path.join(options.input, "model"), dtype=torch.float32)
    records = Records(os.path.join(options.output, "records.jsonl"), stage["batchTokens"])
    arguments = TrainingArguments(
        output_dir=work, max_steps=stage["steps"], per_device_train_batch_size=micro,
        gradient_accumulation_steps=sequences // (micro * world), max_grad_norm=stage["optimizer"]["clip"] or 0.0,
        logging_steps=1, save_steps=options.save_every, save_total_limit=2, bf16=options.bf16, seed=stage["seed"],
        remove_unused_columns=False, report_to=[], disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
        logging_nan_inf_filter=False,
    )
    trainer = StageTrainer(
        model=model, args=arguments, train_dataset=Rows(options.input, data["tokens"], length), callbacks=[records],
        optimizers=optimizer_for(model, stage, options.input),
    )
    records.trainer = trainer
    loss_at_load = probe_loss(model, Rows(options.input, data["probe"], length), micro)
    last = get_last_checkpoint(work) if os.path.isdir(work) else None
    if last is not None:
        trainer.token_sum = json.loads(open(os.path.join(last, f"token_sum_{arguments.process_index}.json")).read())
    model.train()
    trainer.train(resume_from_checkpoint=last)
    token_sum = int(trainer.accelerator.reduce(torch.tensor(trainer.token_sum, device=model.device), "sum"))
    if not trainer.is_world_process_zero():
        return
    target = os.path.join(options.output, "model")
    shutil.copytree(os.path.join(options.input, "model"), target, dirs_exist_ok=True, ignore=lambda _, names: [n for n in names if "safetensors" in n])
    model.save_pretrained(target, safe_serialization=True)
    states, parameters = trainer.optimizer.state, dict(model.named_parameters())
    moments = {f"{n}.{m}": states[parameters[n]][m].contiguous() for n in stage["trainable"] for m in MOMENTS}
    save_file({name: value.cpu() for name, value in moments.items()}, os.path.join(options.output, "optimizer.safetensors"))
    result = {
        "format": 1, "trainer": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "steps": trainer.state.global_step, "tokens": trainer.state.global_step * sequences * length, "lossAtLoad": loss_at_load,
        "batchTokens": sequences * length,
        "data": {"firstSequence": data["firstSequence"], "numSequences": trainer.state.global_step * sequences, "tokenSum": token_sum},
        "optimizerSteps": int(max(states[parameters[n]]["step"] for n in stage["trainable"])),
    }
    path = os.path.join(options.output, "result.json")
    with open(f"{path}.partial", "w") as file:
        json.dump(result, file, indent=1)
    os.replace(f"{path}.partial", path)


if __name__ == "__main__":
    main()
