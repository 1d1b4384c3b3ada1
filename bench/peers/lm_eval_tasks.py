"""lm-evaluation-harness with transformers on local tasks; the peer of bench/eval.ts.

    python lm_eval_tasks.py '{"model": FOLDER, "tasks": DIR, "threads": 2, "batch_size": 16}'

Then one JSON line in, one out:

    -> {"task": "piqa", "limit": 50}     <- {"seconds": 3.1, "metrics": {"acc,none": 0.5, ...}, "loglikelihoods": [[-1.2, -3.4], ...]}

The model is loaded once; seconds covers what the harness does for one task: prompts, tokens, scoring, metrics.
"""

import contextlib
import io
import json
import logging
import os
import sys
import time

os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
logging.disable(logging.WARNING)

# The harness prints; answers alone go to standard output.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import lm_eval  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

SUFFIX = "_local"


def answer(value):
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def loglikelihoods(samples):
    one = lambda response: float(response[0] if isinstance(response, (list, tuple)) else response)
    return [[one(response) for response in sample["filtered_resps"]] for sample in sorted(samples, key=lambda s: s["doc_id"])]


def main():
    s = json.loads(sys.argv[1])
    torch.set_num_threads(s["threads"])
    model = HFLM(pretrained=s["model"], device="cpu", dtype="float32", batch_size=s["batch_size"])
    manager = TaskManager(include_path=s["tasks"])
    answer({"versions": {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__, "torch": torch.__version__}})
    for line in sys.stdin:
        request = json.loads(line)
        name = request["task"] + SUFFIX
        start = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            result = lm_eval.simple_evaluate(model=model, tasks=[name], num_fewshot=0, limit=request["limit"], task_manager=manager,
                                             bootstrap_iters=0, log_samples=True)
        seconds = time.perf_counter() - start
        answer({"seconds": seconds, "metrics": result["results"][name], "loglikelihoods": loglikelihoods(result["samples"][name])})


if __name__ == "__main__":
    main()
