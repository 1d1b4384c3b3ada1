"""Writes test/fixtures/tokenizers/ids.json and merges.json: what Hugging Face's tokenizers give.

Run in an environment with tokenizers 0.23.3: python test/reference/tokenizer_ids.py
"""

import gzip
import hashlib
import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "test/fixtures/tokenizers"
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ATOMS = (
    "' 's 'S '\u017f 't 're 'LL 'Ve don't I'LL \u2019s a z Z word Word WORD \u00e9 e\u0301 \u00df \u65e5 \u672c\u8a9e \ud55c\uad6d \u0e44\u0e17\u0e22 "
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0645\u0631\u062d\u0628\u0627 1 23 2024 3.14 \u0663\u0664 \u00bd \u2167 \u2075 . , !? -- ... \u2014 \u2026 \u201c \u201d ( ) [] {} // # @ & $ \u20ac _ ~ ^ \\ "
    "\u200d \u200b \ufeff \u180e \U0001f469 \U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001d4b3 \U0010ffff \u0301 \u02bc \u01c5 \u00aa \u16ee \U00031350 "
    "<|endoftext|> <|endoftext <| |> </s> <s> <unk> <0x41> \u2581 \u2581\u2581 \x00 \x07 \x1b \x1c \x1f \x7f \x80 \xad \ufffd"
).split(" ") + [" ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", "\x0b", "\x0c", "\x85", "\xa0", "\u2028", "\u2029", "\u3000", "\u2009"]
MEGA = [["x", 5000], [" ", 5000], ["ab", 4000], ["\n", 3000], ["1", 3001], ["\u65e5\u672c", 2000], ["\U0001f469\u200d", 1000], [" the", 3000], ["\u0301", 999], ["!", 2500], ["aA1 ", 1500]]


def variants():
    gpt2 = json.loads(gzip.open(OUT / "gpt2.json.gz").read())
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

    def split(digits):
        pattern = {"type": "Split", "pattern": {"Regex": CL100K % digits}, "behavior": "Isolated", "invert": False}
        return {"type": "Sequence", "pretokenizers": [pattern, byte_level]}

    # GPT-2's vocabulary behind the split expressions, normalizer and model options of Llama 3 and Qwen 2.
    llama3 = {**gpt2, "pre_tokenizer": split(r"\p{N}{1,3}"), "model": {**gpt2["model"], "ignore_merges": True}}
    qwen2 = {**gpt2, "pre_tokenizer": split(r"\p{N}"), "normalizer": {"type": "NFC"}}
    mistral = json.loads(gzip.open(OUT / "mistral.json.gz").read())
    return {"gpt2": gpt2, "llama3": llama3, "qwen2": qwen2, "mistral": mistral}


def texts():
    generator = random.Random(20)
    made = ["", " ", "Hello world", "Hello world, Caf\u00e9 42!\n\n\u65e5\u672c  <|endoftext|> it's   I'LL"]
    made += ["".join(generator.choice(ATOMS) for _ in range(generator.randint(1, 24))) for _ in range(300)]
    lines = json.loads(gzip.open(ROOT / "corpora/novels-small/validation.jsonl.gz").readline())["text"].split("\n")
    return made + [line for line in lines if line][:40]


def digest(ids):
    return [len(ids), hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()]


def write_ids():
    made = texts()
    found = {"source": f"tokenizers {tokenizers.__version__}, test/reference/tokenizer_ids.py", "texts": made, "mega": MEGA, "ids": {}, "withSpecial": {}, "decoded": {}, "megaIds": {}}
    for name, tokenizer in variants().items():
        tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in made]
        found["ids"][name] = ids
        found["withSpecial"][name] = tokenizer.encode(made[2]).ids
        found["decoded"][name] = [tokenizer.decode(i, skip_special_tokens=False) for i in ids]
        found["megaIds"][name] = [digest(tokenizer.encode(unit * times, add_special_tokens=False).ids) for unit, times in MEGA]
    with gzip.GzipFile(filename="", fileobj=open(OUT / "ids.json.gz", "wb"), mode="wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps(found).encode())


def train(documents, size, frequency, special):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=frequency, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(documents, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    return {"size": size, "minFrequency": frequency, "special": special, "merges": len(merges), "first": merges[:200], "mergesSha256": hashlib.sha256("\n".join(merges).encode()).hexdigest(), "vocabSha256": hashlib.sha256("\n".join(vocab).encode()).hexdigest()}


def write_unigram():
    """A small Unigram tokenizer (as T5 and XLM-R have it) and its ids."""
    from tokenizers import normalizers

    novel = json.loads(gzip.open(ROOT / "corpora/novels-small/validation.jsonl.gz").readline())["text"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=600, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(novel.split("\n"), trainer)
    tokenizer.save(str(OUT / "unigram.json"))
    lines = [line for line in novel.split("\n") if line][40:80] + ["caf\u00e9 \u65e5\u672c \ufb01ne", " two  blanks", "</s>end"]
    ids = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
    (OUT / "unigram-ids.json").write_text(json.dumps({"source": f"tokenizers {tokenizers.__version__}", "texts": lines, "ids": ids}) + "\n")


def write_merges():
    novels = [json.loads(line)["text"] for line in gzip.open(ROOT / "corpora/novels-small/validation.jsonl.gz")]
    # Overlapping pairs and ties, where order of ids decides.
    ties = ["aaaa aaa aa a", "abababab abab bababa", "cdcd dcdc cd dc", "\u00e9\u00e9\u00e9 \u65e5\u65e5\u65e5\u65e5", "xyz zyx xzy yxz", "   \n\n\n \t\t"]
    cases = {
        "novels": train(novels, 6000, 2, ["<|endoftext|>"]),
        "frequent": train(novels, 6000, 400, ["<|endoftext|>", "<pad>"]),
        "ties": train(ties, 400, 1, []),
        "random": train(["".join(random.Random(i).choice("abc ") for _ in range(400)) for i in range(8)], 700, 2, ["abc"]),
    }
    (OUT / "merges.json").write_text(json.dumps({"source": f"tokenizers {tokenizers.__version__}, test/reference/tokenizer_ids.py", "ties": ties, "random": ["".join(random.Random(i).choice("abc ") for _ in range(400)) for i in range(8)], "cases": cases}, ensure_ascii=False, indent=1))


write_ids()
write_unigram()
write_merges()
