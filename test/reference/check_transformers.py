"""What transformers makes of folders that Strata wrote: logits of given tokens and the greedy continuation of their start.

Reads a job as JSON from standard input and writes the answers as JSON to standard output; `npm run check:transformers` calls it. Logits are given
as float32 in base64.
"""

import base64
import json
import sys

import tokenizers
import torch
import transformers


def model_answers(folder, tokens, prompt, made):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].float().contiguous()
        greedy = model.generate(
            ids[:, :prompt],
            attention_mask=torch.ones(1, prompt, dtype=torch.int64),
            do_sample=False,
            max_new_tokens=made,
            min_new_tokens=made,
            eos_token_id=-1,
            pad_token_id=0,
        )[0, prompt:]
    return {
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "logits": base64.b64encode(logits.numpy().tobytes()).decode(),
        "greedy": greedy.tolist(),
    }


def main():
    job = json.load(sys.stdin)
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    answers = [model_answers(m["folder"], job["tokens"], job["prompt"], job["made"]) for m in job["models"]]
    tokenizer = tokenizers.Tokenizer.from_file(job["tokenizer"])
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in job["texts"]]
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "torch": torch.__version__}
    json.dump({"models": answers, "ids": ids, "versions": versions}, sys.stdout)


main()
