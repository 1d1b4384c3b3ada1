"""Writes test/fixtures/eval/fewshot.json: few-shot prompts as lm-evaluation-harness 0.4.13 makes them, by hash.

`handmade` has for every task a few made-up rows (train and scored split, in the form of the hub's datasets) and the hashes of the prompts that the
harness makes of them; `published` has hashes only, for the tasks whose examples come from files among the evaluation data. A hash is the first 16 hex
digits of SHA-256 of context + "\\0" + continuation; one list per document, in the order of its requests.

Run: python test/reference/fewshot.py FOLDER_WITH_EVALUATION_DATA   (a Python with lm_eval 0.4.13; nothing is downloaded)
"""

import hashlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"

import lm_eval
from lm_eval.tasks import TaskManager

SEED = 1234  # the harness's default
HARNESS = Path(lm_eval.__path__[0]) / "tasks"
OUT = Path(__file__).parent.parent / "fixtures" / "eval" / "fewshot.json"
DEFINITIONS = {
    "lambada_openai": "lambada/lambada_openai.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "logiqa": "logiqa/logiqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "winogrande": "winogrande/default.yaml",
}
SCORED = {"piqa": "validation", "winogrande": "validation"}

THINGS = "boat lamp bridge kettle garden violin clock ladder mirror basket candle wagon".split()
USES = "rowing light crossing tea roses music hours climbing faces bread wax straw".split()


def made(task, split, i):
    """Row i of a split, made up; rows of both splits differ, but where said."""
    thing, use = THINGS[i % 12], USES[(i * 5 + (split != "train")) % 12]
    which = f"{split} {i}"
    match task:
        case "lambada_openai":
            return {"text": f"In {which} the {thing} stood by the wall, and so they spoke of {use}"}
        case "arc_easy" | "arc_challenge":
            labels = ["1", "2", "3"] if i % 3 == 0 else ["A", "B", "C", "D"]
            choices = {"text": [f"{use} {label}" for label in labels], "label": labels}
            return {"question": f"Which {thing} is it in {which}?", "choices": choices, "answerKey": labels[i % 3]}
        case "logiqa":
            options = [f"{use} {letter}" for letter in "ABCD"]
            return {"label": "abcd"[i % 4], "context": f"All of {which} have a {thing}.", "question": "Which follows?", "options": options}
        case "piqa":
            # Row 3 stands in both splits: the harness leaves out an example that equals the document.
            goal = "a row of both splits" if i == 3 else f"use a {thing} in {which}"
            end = "" if i == 3 else use
            return {"goal": goal, "sol1": f"for {end} ", "sol2": f"against {end}", "label": i % 2}
        case "sciq":
            support = "" if i % 4 == 0 else f"  A {thing} serves {use} in {which}."
            wrong = {f"distractor{j}": f"{use} {j}" for j in (1, 2, 3)}
            return {"question": f"What serves a {thing}?", **wrong, "correct_answer": f"{use}!", "support": support}
        case "winogrande":
            # In row 5 nothing follows the blank.
            end = "" if i == 5 else f" was for {use}. "
            return {"sentence": f"In {which} Ann gave Bob a {thing} because _{end}", "option1": "Ann", "option2": "Bob", "answer": "12"[i % 2]}
    raise ValueError(task)


def prompts(folder, task, train, scored, shots, limit):
    """Hashes of the harness's requests for its own definition of a task, over local rows."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    split = SCORED.get(task, "test")
    for name, rows in (("train", train), (split, scored)):
        if rows is not None:
            files[name] = folder / f"{task}-{name}.jsonl"
            files[name].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    definition = {
        "include": str(HARNESS / DEFINITIONS[task]),
        "task": f"{task}_local",
        "tag": None,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {name: str(path) for name, path in files.items()}},
        "training_split": "train" if train is not None else None,
        "validation_split": "validation" if split == "validation" else None,
        "test_split": "test" if split == "test" else None,
    }
    (folder / f"{task}.yaml").write_text(json.dumps(definition))  # JSON is YAML
    loaded = TaskManager(include_path=str(folder)).load([f"{task}_local"])["tasks"][f"{task}_local"]
    loaded.set_config(key="num_fewshot", value=shots)
    loaded.set_fewshot_seed(seed=SEED)
    loaded.build_all_requests(limit=limit, rank=0, world_size=1)
    hashes = {}
    for request in loaded.instances:
        text = "\0".join(request.args)
        hashes.setdefault(request.doc_id, []).append(hashlib.sha256(text.encode()).hexdigest()[:16])
    return [hashes[i] for i in sorted(hashes)]


def handmade(folder):
    result = {}
    for task in DEFINITIONS:
        train = None if task == "lambada_openai" else [made(task, "train", i) for i in range(40)]
        scored = [made(task, "scored", i) for i in range(30 if train is None else 8)]
        result[task] = {"scored": scored} if train is None else {"train": train, "scored": scored}
        for shots in (1, 2, 6):
            result[task][f"shots{shots}"] = prompts(folder / str(shots), task, train, scored, shots, 8)
    return result


def arc_row(line):
    row = json.loads(line)
    question, choices = row["question"]["stem"], row["question"]["choices"]
    texts = {key: [choice[key] for choice in choices] for key in ("text", "label")}
    return {"question": question, "choices": texts, "answerKey": row["answerKey"]}


def published(folder, data):
    """The first 40 documents of the tasks whose examples are among the evaluation data."""
    result = {}
    for task, name in (("arc_easy", "ARC-Easy"), ("arc_challenge", "ARC-Challenge")):
        train, test = ([arc_row(line) for line in open(data / task / f"{name}-{part}.jsonl", encoding="utf-8")] for part in ("Train", "Test"))
        result[task] = {"shots5": prompts(folder, task, train, test, 5, 40)}
    lines = (data / "lambada_openai" / "lambada_test.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    result["lambada_openai"] = {"shots5": prompts(folder, "lambada_openai", None, [json.loads(line) for line in lines], 5, 40)}
    return result


def main():
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = {
            "harness": f"lm_eval {lm_eval.__version__}",
            "seed": SEED,
            "handmade": handmade(folder / "handmade"),
            "published": published(folder / "published", Path(sys.argv[1])),
        }
    OUT.write_text(json.dumps(reference, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
