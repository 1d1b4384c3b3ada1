import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { buildDataset, trainTokenizer } from '../../src/data/index.js';
import type { RunConfigInput } from '../../src/train/index.js';

const corpus = fileURLToPath(new URL('../../corpora/novels-small/validation.jsonl.gz', import.meta.url));

/** Token shards of the beginning of a novel: 300 kB of text, a vocabulary of 320. */
export async function buildTinyData(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const first = gunzipSync(readFileSync(corpus)).toString().split('\n', 1)[0]!;
  const { text } = JSON.parse(first) as { text: string };
  const [train, validation] = [join(folder, 'train.txt'), join(folder, 'validation.txt')];
  writeFileSync(train, text.slice(0, 250_000));
  writeFileSync(validation, text.slice(250_000, 300_000));
  const tokenizer = join(folder, 'tokenizer.json');
  await trainTokenizer({ inputs: [train], out: tokenizer, vocabSize: 320 });
  const out = join(folder, 'shards');
  await buildDataset({ inputs: [train], validation: { inputs: [validation] }, tokenizer, out, workers: 1 });
  return out;
}

/** A run of a base of two layers, stacked to four, on tiny data. */
export function tinyRun(data: string, steps = { base: 30, target: 50 }): RunConfigInput {
  const optimizer = { lr: 4e-3 };
  return {
    name: 'tiny',
    model: {
      hidden_size: 64,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      intermediate_size: 160,
    },
    data: { train: data, sequenceLength: 64, batchTokens: 512 },
    microBatch: 4,
    validation: { every: 25, tokens: 2048 },
    checkpoints: { every: 20, keepLast: 3 },
    stages: [
      { name: 'base', kind: 'train', model: { num_hidden_layers: 2 }, until: { steps: steps.base }, optimizer },
      { name: 'stack', kind: 'grow', operator: 'stack', factor: 2 },
      { name: 'target', kind: 'train', until: { steps: steps.target }, optimizer },
    ],
  };
}
