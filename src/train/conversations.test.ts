import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { buildChat, Loader, mixDatasets, openDataset } from '../data/index.js';
import { Batches } from './batches.js';
import { parseConfig } from './config/index.js';
import { runTraining } from './run.js';
import type { TrainingSession } from './session.js';
import { Validation } from './validation.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-conversations-'));
const chat = join(folder, 'chat');
let text = '';
const sample = (file: string): string =>
  fileURLToPath(new URL(`../../corpora/conversations-sample/${file}`, import.meta.url));
const LENGTH = 32;

beforeAll(async () => {
  text = await buildTinyData(folder);
  await buildChat({
    inputs: [sample('train.jsonl')],
    validation: [sample('validation.jsonl')],
    tokenizer: join(folder, 'tokenizer.json'),
    out: chat,
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('training on conversations', () => {
  it.each([4, 2, 1])(
    'gives every answer token of a step the same share, and others none: %i sequences at a time',
    (micro) => {
      using dataset = openDataset(join(chat, 'train'));
      const loader = new Loader(dataset, { sequenceLength: LENGTH, seed: 3 });
      const batches = new Batches(loader, 4, micro);
      const [weights, mask] = [[] as number[], new Uint8Array(4 * LENGTH)];
      for (const batch of batches.of(1)) weights.push(...batch.weights);
      loader.readMask(1, 4, mask);
      const answers = mask.reduce((sum, bit) => sum + bit, 0);
      expect(answers).toBeGreaterThan(10);
      expect(answers).toBeLessThan(4 * LENGTH);
      expect(weights).toEqual(Array.from(mask, (bit) => (bit === 1 ? Math.fround(1 / answers) : 0)));
    },
  );

  it('learns answers by heart from a base, validates on answers, and hands on the chat template', async () => {
    const base = await runTraining(parseConfig(tinyRun(text, { base: 10, target: 5 })), {
      out: join(folder, 'base'),
      threads: 1,
    });
    const tuned = await runTraining(
      parseConfig({
        name: 'tuned',
        from: base.folder,
        data: {
          ...{ train: chat, sequenceLength: LENGTH, batchTokens: 256 },
          ...{ crossDocumentAttention: false, maxEpochs: 1000 },
        },
        validation: { every: 1000, tokens: 256 },
        stages: [{ name: 'instruct', kind: 'train', until: { steps: 60 }, optimizer: { lr: 4e-3 } }],
      }),
      { out: join(folder, 'tuned'), threads: 1 },
    );
    const losses = readFileSync(join(tuned.folder, 'records.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"kind":"train"'))
      .map((line) => (JSON.parse(line) as { loss: number }).loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 2);
    expect(tuned.validationLoss).toBeGreaterThan(1);
    expect(readFileSync(join(tuned.checkpoint, 'tokenizer_config.json'), 'utf8')).toContain('add_generation_prompt');
  });

  it('validates on the answers only', () => {
    using dataset = openDataset(join(chat, 'validation'));
    // A stand-in for a model: the loss of a target is its id.
    const session = { evaluate: ({ targets }: { targets: Int32Array }) => Float32Array.from(targets) };
    const found = new Validation(dataset, LENGTH, 2 * LENGTH).loss(session as unknown as TrainingSession, 1);
    const [ids, mask] = [new Int32Array(dataset.tokens), new Uint8Array(dataset.tokens)];
    dataset.read(0, dataset.tokens, ids);
    dataset.readMask(0, mask);
    const all = Math.floor((dataset.tokens - 1) / LENGTH);
    const starts = [0, Math.floor(all / 2) * LENGTH];
    const answers = starts.flatMap((start) =>
      [...ids.subarray(start + 1, start + 1 + LENGTH)].filter((_id, i) => mask[start + 1 + i] === 1),
    );
    expect(found).toBeCloseTo(answers.reduce((sum, id) => sum + id, 0) / answers.length, 4);
  });

  it('cannot be mixed with text, which would lose the mask', () => {
    const sources = [
      { folder: join(chat, 'train'), weight: 1 },
      { folder: join(text, 'train'), weight: 1 },
    ];
    expect(() => mixDatasets({ sources, out: join(folder, 'mix') })).toThrow(/mask of answers, which a mix would lose/);
  });
});
