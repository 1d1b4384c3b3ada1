"""Generation with Hugging Face transformers; the peer of bench/generate.ts.

    python generate.py '{"model": DIR, "threads": 1}'

Then one JSON line in, one out:

    -> {"way": "generate", "prompt": [ids], "tokens": 64}
    <- {"prefillSeconds": 0.1, "decodeSeconds": 0.9, "ids": [64 ids], "logits": [first logits behind the prompt]}

Two ways: "generate" is model.generate, greedy; "loop" calls the model itself with its cache of keys and values, which
leaves out what generate does around it. prefillSeconds is the time until the first token is known, decodeSeconds that of
the others.
"""

import json
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM

SHOWN_LOGITS = 16


def loop(model, prompt, count):
    start = time.perf_counter()
    out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
    shown = out.logits[0, -1, :SHOWN_LOGITS].tolist()
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    ids = [token.item()]
    first = time.perf_counter()
    while len(ids) < count:
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        ids.append(token.item())
    return {"prefillSeconds": first - start, "decodeSeconds": time.perf_counter() - first, "ids": ids, "logits": shown}


class FirstToken(transformers.generation.streamers.BaseStreamer):
    """Remembers when the first token behind the prompt came."""

    def __init__(self):
        self.calls, self.time = 0, None

    def put(self, value):
        self.calls += 1
        if self.calls == 2:
            self.time = time.perf_counter()

    def end(self):
        pass


def generate(model, prompt, count):
    streamer = FirstToken()
    start = time.perf_counter()
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=count,
                         min_new_tokens=count, eos_token_id=None, pad_token_id=0, streamer=streamer)
    end = time.perf_counter()
    ids = out[0, prompt.shape[1]:].tolist()
    return {"prefillSeconds": streamer.time - start, "decodeSeconds": end - streamer.time, "ids": ids}


def main():
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(settings["threads"])
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32).eval()
    answer = lambda value: print(json.dumps(value), flush=True)
    answer({"versions": {"torch": torch.__version__, "transformers": transformers.__version__}})
    ways = {"generate": generate, "loop": loop}
    with torch.inference_mode():
        for line in sys.stdin:
            request = json.loads(line)
            answer(ways[request["way"]](model, torch.tensor([request["prompt"]]), request["tokens"]))


if __name__ == "__main__":
    main()
