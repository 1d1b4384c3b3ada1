"""Tokenizing text in Python: the peer of the data-* benches.

    python data_text.py '{"work": "encode", "peer": "tiktoken", "corpus": FILE, "tokenizer": FILE, ...}'

The corpus is JSON lines with a field "text". One JSON line in, one out: {} -> {"seconds": CPU seconds, "tokens": n}
(for "pipeline": wall seconds). The first line out is {"versions": {...}}.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from importlib.metadata import version

settings = json.loads(sys.argv[1])
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_DATASETS_OFFLINE"] = "1"


def documents():
    with open(settings["corpus"], encoding="utf8") as file:
        return [json.loads(line)["text"] for line in file]


def tiktoken_encode():
    import tiktoken

    vocab = json.load(open(settings["tokenizer"], encoding="utf8"))["model"]["vocab"]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}
    ranks = {bytes(byte_of[c] for c in token): i for token, i in vocab.items() if token != "<|endoftext|>"}
    # tiktoken's own expression for gpt2.
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    encoding = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})
    return encoding.encode_ordinary


def tokenizers_encode():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(settings["tokenizer"])
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def gigatoken_encode():
    import gigatoken

    return gigatoken.Tokenizer(settings["tokenizer"]).encode


def encode():
    texts = documents()
    encode_text = {"tiktoken": tiktoken_encode, "tokenizers": tokenizers_encode, "gigatoken": gigatoken_encode}[settings["peer"]]()

    def measure():
        start = time.process_time()
        tokens = sum(len(encode_text(text)) for text in texts)
        return {"seconds": time.process_time() - start, "tokens": tokens}

    return measure


def train():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = documents()

    def measure():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=settings["vocabSize"],
            min_frequency=2,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        start = time.process_time()
        tokenizer.train_from_iterator(texts, trainer)
        return {"seconds": time.process_time() - start, "tokens": tokenizer.get_vocab_size()}

    return measure


def pipeline():
    """JSONL.zst to one uint16 file, as nanoGPT's prepare.py does it: datasets.map(batched), then a memmap."""
    import numpy as np
    import zstandard
    from datasets import disable_progress_bars, load_dataset
    from tokenizers import Tokenizer

    disable_progress_bars()
    with open(settings["corpus"], "rb") as plain, open(settings["compressed"], "wb") as packed:
        zstandard.ZstdCompressor(level=3).copy_stream(plain, packed)
    tokenizer = Tokenizer.from_file(settings["tokenizer"])
    eos = tokenizer.token_to_id("<|endoftext|>")

    def ids(batch):
        encoded = tokenizer.encode_batch(batch["text"], add_special_tokens=False)
        return {"ids": [[*one.ids, eos] for one in encoded]}

    def measure():
        folder = tempfile.mkdtemp()
        start = time.perf_counter()
        data = load_dataset("json", data_files=settings["compressed"], split="train", cache_dir=folder)
        data = data.map(ids, batched=True, remove_columns=data.column_names, num_proc=settings["threads"])
        total = sum(len(one) for one in data["ids"])
        out = np.memmap(os.path.join(folder, "train.bin"), dtype=np.uint16, mode="w+", shape=(total,))
        at = 0
        for batch in data.with_format("numpy").iter(batch_size=1000):
            joined = np.concatenate(batch["ids"])
            out[at : at + len(joined)] = joined
            at += len(joined)
        out.flush()
        seconds = time.perf_counter() - start
        shutil.rmtree(folder)
        return {"seconds": seconds, "tokens": total}

    return measure


PACKAGES = {"encode": [settings["peer"]], "train": ["tokenizers"], "pipeline": ["datasets", "tokenizers"]}
measure = {"encode": encode, "train": train, "pipeline": pipeline}[settings["work"]]()
print(json.dumps({"versions": {name: version(name) for name in PACKAGES[settings["work"]]}}), flush=True)
for _ in sys.stdin:
    print(json.dumps(measure()), flush=True)
