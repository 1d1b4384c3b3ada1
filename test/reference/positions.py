"""Writes test/fixtures/data/positions.json: where the loader's shuffled order puts sequences, in Python's exact integers.

The algorithm is the one that src/data/permutation.ts documents (a balanced Feistel network with cycle walking), written
a second time. Run: python test/reference/positions.py
"""

import json
from pathlib import Path

ROUNDS = 8
MASK = 2**32 - 1


def mix(h):
    h ^= h >> 16
    h = h * 0x85EBCA6B & MASK
    h ^= h >> 13
    h = h * 0xC2B2AE35 & MASK
    return h ^ h >> 16


def keys(*seeds):
    state = 0x243F6A88
    for seed in seeds:
        state = mix(state ^ seed % 2**32)
        state = mix(state ^ seed // 2**32)
    made = []
    for _ in range(ROUNDS):
        state = mix(state + 0x9E3779B9 & MASK)
        made.append(state)
    return made


def position(index, size, *seeds):
    bits = 1
    while 4**bits < size:
        bits += 1
    rounds = keys(*seeds)
    value = index
    while True:
        left, right = value >> bits, value & 2**bits - 1
        for key in rounds:
            left, right = right, left ^ mix(right ^ key) & 2**bits - 1
        value = left << bits | right
        if value < size:
            return value


cases = []
for tokens, length in [(1_000_003, 256), (7_000_000_000, 2048), (750_000_000_000, 2048), (750_000_000_000, 256), (15_000_000_000_000, 1)]:
    size = (tokens - 1) // length
    for seed in [0, 1, 2**40 + 17]:
        # First, last and middle of the first epoch; across epochs; far into a long run.
        for index in [0, 1, size - 1, size, size + 1, size // 2, 3 * size + 12345 % size, 100 * size - 1]:
            epoch, within = divmod(index, size)
            cases.append([tokens, length, seed, index, epoch, position(within, size, seed, epoch)])
path = Path(__file__).resolve().parents[1] / "fixtures/data/positions.json"
path.write_text(json.dumps({"fields": ["tokens", "sequenceLength", "seed", "index", "epoch", "position"], "cases": cases}) + "\n")
