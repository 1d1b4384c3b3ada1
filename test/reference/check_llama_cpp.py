"""What llama.cpp makes of GGUF files that `strata export` wrote: ids of texts, greedy continuations, logits of given tokens.

Reads a job as JSON from standard input and writes the answers as JSON to standard output; `npm run check:llama-cpp` calls it. Logits are given
as float32 in base64.
"""

import base64
import json
import sys

import llama_cpp
import numpy as np
from llama_cpp import Llama


def logits_of(model, tokens):
    model.reset()
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)], dtype=np.float32)


def greedy(model, prompt, made):
    """Most probable tokens, whatever ends a text among them."""
    model.reset()
    model.eval(prompt)
    ids = []
    for _ in range(made):
        ids.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        model.eval(ids[-1:])
    return ids


def answers(job):
    # The cache in float32 and no flash attention, whose sums are float16: what remains are the file's own types.
    model = Llama(
        job["path"],
        n_ctx=job["length"],
        n_batch=job["length"],
        n_threads=1,
        n_threads_batch=1,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        flash_attn=False,
        swa_full=True,
        logits_all=True,
        verbose=False,
    )
    prompt = model.tokenize(job["prompt"].encode(), add_bos=job["addBos"], special=False)
    ids = greedy(model, prompt, job["made"])
    return {
        "prompt": prompt,
        "greedy": ids,
        "text": model.detokenize(ids, prev_tokens=prompt).decode(errors="replace"),
        "texts": [model.tokenize(text.encode(), add_bos=False, special=False) for text in job["texts"]],
        "logits": base64.b64encode(logits_of(model, job["tokens"]).tobytes()).decode(),
    }


def main():
    job = json.load(sys.stdin)
    json.dump({"version": llama_cpp.__version__, "files": [answers(file) for file in job["files"]]}, sys.stdout)


main()
