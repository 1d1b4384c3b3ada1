import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { counters } from '../engine/buffers.js';
import { InputError, WorkError } from '../errors.js';
import { openCheckpoint, SafetensorsFile } from '../interop/index.js';
import { readRun } from '../records/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { type RunOptions, type RunResult, runTraining } from './run.js';

/** Float32 sums over micro-batches of other sizes are taken in another order. */
const ACCUMULATION_TOLERANCE = 2e-5;

const folder = mkdtempSync(join(tmpdir(), 'strata-run-'));
let data = '';
let runs = 0;
beforeAll(async () => {
  data = await buildTinyData(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const optimizer = { lr: 4e-3 };
const constant = { kind: 'constant', warmup: 0 } as const;
const first = { name: 'first', kind: 'train', until: { steps: 6 }, optimizer, schedule: constant } as const;

const go = (changes: Partial<RunConfigInput> = {}, options: RunOptions = {}): Promise<RunResult> =>
  runTraining(parseConfig({ ...tinyRun(data), stages: [first], ...changes }), {
    out: join(folder, `run-${runs++}`),
    threads: 1,
    ...options,
  });

const lossesOf = (run: string): number[] => [...readRun(run).records.train.loss];
const model = (run: RunResult): Buffer => readFileSync(join(run.checkpoint, 'model.safetensors'));
const optimizerState = (run: RunResult): Buffer => readFileSync(join(run.checkpoint, 'optimizer.safetensors'));

describe('runTraining', () => {
  it('accumulates gradients to those of one big batch', async () => {
    const all = lossesOf((await go({ microBatch: 8 })).folder);
    expect(all).toHaveLength(6);
    for (const microBatch of [4, 1]) {
      const parts = lossesOf((await go({ microBatch })).folder);
      parts.forEach((loss, step) => expect(Math.abs(loss - all[step]!)).toBeLessThan(ACCUMULATION_TOLERANCE));
    }
  });

  it('carries weights, optimizer state and data over from stage to stage: two halves are one whole', async () => {
    const whole = await go({ stages: [{ ...first, until: { steps: 10 } }] });
    const halves = await go({
      stages: [
        { ...first, until: { steps: 4 } },
        { ...first, name: 'second', until: { steps: 6 } },
      ],
    });
    expect(lossesOf(halves.folder)).toEqual(lossesOf(whole.folder));
    expect(model(halves).equals(model(whole))).toBe(true);
    expect(optimizerState(halves).equals(optimizerState(whole))).toBe(true);
  });

  it('goes on from a checkpoint behind its data, with its FLOPs and tokens', async () => {
    const parent = await go({ stages: [{ ...first, until: { steps: 4 } }] });
    const child = await go({ from: parent.checkpoint, model: undefined as never });
    expect(child.tokens).toBe(10 * 512);
    expect(BigInt(child.flopsExact)).toBe((BigInt(parent.flopsExact) / 4n) * 10n);
    expect(child.steps).toBe(6);
    const { manifest } = readRun(child.folder);
    expect(manifest!.parents).toMatchObject([{ path: parent.checkpoint, tokens: 4 * 512, flops: parent.flops }]);
    // Weights and data are those of a run that goes on; only the optimizer's state begins anew.
    const whole = await go({ stages: [{ ...first, until: { steps: 5 } }] });
    expect(lossesOf(child.folder)[0]).toBe(lossesOf(whole.folder)[4]);
  });

  it('refuses to go on from a model of another tokenizer', async () => {
    const parent = await go({ stages: [{ ...first, until: { steps: 1 } }] });
    const file = join(parent.checkpoint, 'tokenizer.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"version": "1.0"', '"version":  "1.0"'));
    await expect(go({ from: parent.checkpoint, model: undefined as never })).rejects.toThrow(
      /tokenizer\.json: expected the tokenizer of .*shards\/train, found another/,
    );
  });

  it('freezes what a stage does not train: same bits, no gradient memory, no moments', async () => {
    const parent = await go({ stages: [{ ...first, until: { steps: 2 } }] });
    const child = await go({
      from: parent.checkpoint,
      model: undefined as never,
      stages: [{ ...first, trainable: { lastLayers: 2 } }],
    });
    using before = openCheckpoint(parent.checkpoint);
    using after = openCheckpoint(child.checkpoint);
    using state = new SafetensorsFile(join(child.checkpoint, 'optimizer.safetensors'));
    for (const { name, layer, role } of before.weights) {
      const isTrained = layer === undefined ? role === 'finalNorm' || role === 'head' : layer >= 2;
      expect(Buffer.from(before.read(name).buffer).equals(Buffer.from(after.read(name).buffer)), name).toBe(!isTrained);
      expect(state.header.tensors.has(`${name}.exp_avg`), name).toBe(isTrained);
    }
  });

  it('gives all memory back', async () => {
    const before = counters();
    await go({ stages: tinyRun(data, { base: 2, target: 2 }).stages });
    expect(counters()).toEqual(before);
  });

  it('grows with fresh state, and records the losses around it on the same batches', async () => {
    const run = await go({ stages: tinyRun(data, { base: 6, target: 3 }).stages });
    const { growth, validation } = readRun(run.folder).records;
    expect(growth).toHaveLength(1);
    expect(growth[0]).toMatchObject({ step: 6, tokens: 6 * 512, stage: 'stack', lossBefore: validation[0]!.loss });
    expect(growth[0]!.targetParameters! - growth[0]!.sourceParameters!).toBe(
      // Two layers more: q, o 64 x 64; k, v 32 x 64; three of 160 x 64; two norms.
      2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 160 * 64 + 2 * 64),
    );
    expect(readdirSync(join(run.folder, 'checkpoints')).sort()).toEqual(['6', '9']);
  });

  it('ends a stage at a validation loss, and repeats one', async () => {
    const run = await go({
      validation: { every: 5, tokens: 1024 },
      stages: [{ ...first, repeat: 2, until: { loss: 5.4, steps: 100 } }],
    });
    const { validation } = readRun(run.folder).records;
    expect(validation.filter(({ stage, loss }) => stage === 'first-1' && loss <= 5.4)).toHaveLength(1);
    expect(validation.at(-1)!.stage).toBe('first-2');
    expect(run.steps % 5).toBe(0);
    expect(run.steps).toBeLessThan(200);
  });

  it('keeps released checkpoints and those at multiples, and the newest', async () => {
    const run = await go({
      checkpoints: { every: 2, keepLast: 1, keepEvery: 4 },
      stages: [
        { ...first, until: { steps: 3 }, release: true },
        { ...first, name: 'second', until: { steps: 7 } },
      ],
    });
    expect(
      readdirSync(join(run.folder, 'checkpoints'))
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual([3, 4, 8, 10]);
  });

  it('stops before a number that is not finite meets the weights', async () => {
    const wild = { ...first, optimizer: { lr: 1e25, clip: null }, until: { steps: 5 } };
    const out = join(folder, 'wild');
    const error = await go({ stages: [wild], checkpoints: { every: 1 } }, { out }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WorkError);
    expect((error as Error).message).toMatch(/^Training stopped before the weights were touched \(step 2: loss is /);
    expect(readRun(out).records.events.filter(({ name }) => name === 'nonFinite')).toMatchObject([
      { step: 2, policy: 'stop' },
    ]);
    expect(readdirSync(join(out, 'checkpoints'))).toEqual(['1']);
  });

  it('leaves updates out where the config says so', async () => {
    const wild = { ...first, optimizer: { lr: 1e25, clip: null }, until: { steps: 3 } };
    const warnings: string[] = [];
    const run = await go(
      { stages: [wild], nonFinite: 'skip', checkpoints: { every: 1, keepLast: 9 } },
      { callbacks: { onWarning: (sentence) => warnings.push(sentence) } },
    );
    expect(run.steps).toBe(3);
    expect(warnings).toHaveLength(2);
    const at = (step: number): Buffer =>
      readFileSync(join(run.folder, 'checkpoints', String(step), 'model.safetensors'));
    expect(at(3).equals(at(1))).toBe(true);
  });

  it('warns where bits can differ after a resume with other threads', async () => {
    const out = join(folder, 'threads');
    const stop = new AbortController();
    const callbacks = { onStep: () => stop.abort('test') };
    await expect(go({}, { out, callbacks, signal: stop.signal })).rejects.toThrow(/^Stopped after step 1; /);
    const warnings: string[] = [];
    await go({}, { out, threads: 2, callbacks: { onWarning: (sentence) => warnings.push(sentence) } });
    expect(warnings).toEqual(['Not bitwise the same as an uninterrupted run from step 2 on: threads 1 -> 2.']);
    expect(lossesOf(out)).toHaveLength(6);
  });

  it('refuses data that are missing, damaged or of another tokenizer, before anything is written', async () => {
    const out = join(folder, 'none');
    await expect(go({ data: { ...tinyRun(data).data, train: join(folder, 'nowhere') } }, { out })).rejects.toThrow(
      InputError,
    );
    await expect(go({ data: { ...tinyRun(data).data, validation: folder } }, { out })).rejects.toThrow(/index\.json/);
    expect(existsSync(out)).toBe(false);
  });
});
