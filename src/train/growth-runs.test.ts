import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { openCheckpoint, SafetensorsFile } from '../interop/index.js';
import { readRun } from '../records/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { type RunOptions, type RunResult, runTraining } from './run.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-growth-runs-'));
let data = '';
let runs = 0;
beforeAll(async () => {
  data = await buildTinyData(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const constant = { kind: 'constant', warmup: 0 } as const;
const optimizer = { lr: 4e-3 };
const model = {
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 48,
};
const base = {
  name: 'base',
  kind: 'train',
  until: { steps: 3 },
  optimizer,
  schedule: constant,
  release: true,
} as const;
const target = { ...base, name: 'target', until: { steps: 4 }, release: false } as const;

const config = (changes: Partial<RunConfigInput>): RunConfigInput => ({
  ...tinyRun(data),
  model,
  checkpoints: { every: 1, keepLast: 20 },
  validation: { every: 50, tokens: 512 },
  ...changes,
});
const go = (changes: Partial<RunConfigInput>, options: RunOptions = {}): Promise<RunResult> =>
  runTraining(parseConfig(config(changes)), { out: join(folder, `run-${runs++}`), threads: 1, ...options });

function state(run: RunResult, step: number, name: string): Float32Array | undefined {
  using file = new SafetensorsFile(join(run.folder, 'checkpoints', String(step), 'optimizer.safetensors'));
  const entry = file.header.tensors.get(name);
  if (entry === undefined) return undefined;
  const values = new Float32Array(entry.shape.reduce((product, size) => product * size, 1));
  file.readFloats(entry, values);
  return values;
}

const recordsOf = (run: RunResult, kind: string): Record<string, unknown>[] =>
  readFileSync(join(run.folder, 'records.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((record) => record['kind'] === kind);

const bytes = (run: RunResult, step: number, name: string): Buffer =>
  readFileSync(join(run.folder, 'checkpoints', String(step), name));

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** An optimizer that leaves moments as they are: what a growth made of them can be read behind its first step. */
const still = { lr: 1e-30, betas: [1 - 1e-14, 1 - 1e-14] as [number, number] };
const gate = 'model.layers.0.mlp.gate_proj.weight';

describe("the optimizer's state at growth", () => {
  const widened = async (
    operator: string,
    optimizerState: 'fresh' | 'copy' | 'grow-linear' | 'pad-zero',
    grow: object,
  ) => {
    const run = await go({
      nonFinite: 'log',
      stages: [
        base,
        { name: 'grow', kind: 'grow', operator, optimizerState, ...grow },
        { ...target, until: { steps: 1 }, optimizer: still },
      ],
    });
    return (moment: string) => ({
      before: state(run, 3, `${gate}.${moment}`)!,
      after: state(run, 4, `${gate}.${moment}`)!,
    });
  };
  const wide = { factor: 2, options: { faithful: true } };

  it('fresh: zero', async () => {
    const moments = await widened('hypercloning', 'fresh', wide);
    expect(largest(moments('exp_avg').after)).toBeLessThan(1e-12);
    expect(largest(moments('exp_avg').before)).toBeGreaterThan(1e-6);
  });

  it('grow-linear: rows of two copies share their gradient, first moment by 2, second by 4', async () => {
    const moments = await widened('hypercloning', 'grow-linear', wide);
    for (const [moment, share] of [
      ['exp_avg', 2],
      ['exp_avg_sq', 4],
    ] as const) {
      const { before, after } = moments(moment);
      const expected = Float32Array.from({ length: 96 * 64 }, (_, i) => {
        const [row, column] = [Math.floor(i / 64) % 48, (i % 64) % 32];
        return before[row * 32 + column]! / share;
      });
      expect(largest(after.map((x, i) => x - expected[i]!)) / largest(before)).toBeLessThan(1e-6);
    }
  });

  it('pad-zero: [S, 0] along both axes', async () => {
    const moments = await widened('hypercloning', 'pad-zero', wide);
    const { before, after } = moments('exp_avg');
    const expected = Float32Array.from({ length: 96 * 64 }, (_, i) => {
      const [row, column] = [Math.floor(i / 64), i % 64];
      return row < 48 && column < 32 ? before[row * 32 + column]! : 0;
    });
    expect(largest(after.map((x, i) => x - expected[i]!)) / largest(before)).toBeLessThan(1e-6);
  });

  it('copy: the duplicate layer has the moments of its source, and steps count from 0', async () => {
    const run = await go({
      stages: [
        base,
        { name: 'grow', kind: 'grow', operator: 'stack', factor: 2, optimizerState: 'copy' },
        { ...target, until: { steps: 1 }, optimizer: { ...still, lr: 1e-30 } },
      ],
      nonFinite: 'log',
    });
    const twin = gate.replace('layers.0', 'layers.2');
    expect(state(run, 4, `${twin}.exp_avg`)).toEqual(state(run, 4, `${gate}.exp_avg`));
    expect(largest(state(run, 4, `${twin}.exp_avg`)!)).toBeGreaterThan(1e-6);
    expect(JSON.parse(bytes(run, 4, 'trainer.json').toString())).toMatchObject({ optimizerStep: 1 });
  });

  it("grows Muon's momentum alike, and stores it under its own name", async () => {
    const muon = { kind: 'muon', lr: 4e-3 } as const;
    const run = await go({
      stages: [
        { ...base, optimizer: muon },
        { name: 'grow', kind: 'grow', operator: 'hypercloning', ...wide, optimizerState: 'pad-zero' },
        { ...target, until: { steps: 1 }, optimizer: { ...muon, lr: 1e-30, muon: { momentum: 1 - 1e-14 } } },
      ],
    });
    expect(state(run, 3, `${gate}.exp_avg`)).toBeUndefined();
    expect(state(run, 3, 'model.embed_tokens.weight.exp_avg_sq')).toBeDefined();
    const [before, after] = [state(run, 3, `${gate}.momentum_buffer`)!, state(run, 4, `${gate}.momentum_buffer`)!];
    for (const [row, column] of [
      [0, 0],
      [47, 31],
      [3, 8],
    ] as const)
      expect(after[row * 64 + column]).toBeCloseTo(before[row * 32 + column]!, 8);
    for (const [row, column] of [
      [48, 0],
      [95, 63],
      [0, 32],
    ] as const)
      expect(after[row * 64 + column]).toBeCloseTo(0, 10);
  });
});

describe("a parent's optimizer state", () => {
  const growing = (optimizerState: 'fresh' | 'pad-zero'): RunConfigInput['stages'] => [
    { name: 'grow', kind: 'grow', operator: 'hypercloning', factor: 2, options: { faithful: true }, optimizerState },
    target,
  ];

  it('grows with a run that starts from its checkpoint: the same bits as in one run', async () => {
    const whole = await go({ stages: [base, ...growing('pad-zero')] });
    const parent = await go({ stages: [base] });
    const child = await go({ from: parent.folder, model: undefined as never, stages: growing('pad-zero') });
    expect(bytes(child, 4, 'model.safetensors').equals(bytes(whole, 7, 'model.safetensors'))).toBe(true);
    expect(bytes(child, 4, 'optimizer.safetensors').equals(bytes(whole, 7, 'optimizer.safetensors'))).toBe(true);
  });

  it('is asked for where the parent has none', async () => {
    const parent = await go({ stages: [base] });
    rmSync(join(parent.checkpoint, 'optimizer.safetensors'));
    rmSync(join(parent.checkpoint, 'manifest.json'));
    await expect(
      go({ from: parent.checkpoint, model: undefined as never, stages: growing('pad-zero') }),
    ).rejects.toThrow(/optimizerState "pad-zero" needs a run's checkpoint with optimizer.safetensors; use fresh/);
  });
});

describe('learning rates over a growth', () => {
  it('continue: one schedule over both stages, the same as of one stage with that horizon', async () => {
    const schedule = { kind: 'cosine', warmup: 2, floor: 0, horizon: 7 } as const;
    const run = await go({
      stages: [
        { ...base, schedule },
        { name: 'grow', kind: 'grow', operator: 'stack', factor: 2, optimizerState: 'pad-zero' },
        { ...target, schedule: { kind: 'continue' } },
      ],
    });
    const whole = await go({ stages: [{ ...base, until: { steps: 7 }, schedule: { ...schedule } }] });
    const rates = (result: RunResult): unknown[] => recordsOf(result, 'train').map(({ lr }) => lr);
    expect(rates(run)).toEqual(rates(whole));
    expect(rates(run)).toHaveLength(7);
  });

  it('new entries have their own: with a rate of nearly zero for old ones only they move', async () => {
    const run = await go({
      stages: [
        { ...base, schedule: { kind: 'constant', warmup: 0 } },
        {
          name: 'grow',
          kind: 'grow',
          operator: 'hypercloning',
          ...{ factor: 2, options: { faithful: true } },
          optimizerState: 'pad-zero',
        },
        {
          ...target,
          until: { steps: 2 },
          schedule: { kind: 'continue' },
          optimizer: { lr: 1e-12, weightDecay: 0, newEntries: { peak: 1e9, warmup: 1 } },
        },
      ],
    });
    const at = (step: number): Float32Array => {
      using checkpoint = openCheckpoint(join(run.folder, 'checkpoints', String(step)));
      return Float32Array.from(checkpoint.read(gate));
    };
    const [before, after] = [at(4), at(5)];
    const moved = before.map((x, i) => Math.abs(after[i]! - x));
    const isNew = (i: number): boolean => Math.floor(i / 64) >= 48 || i % 64 >= 32;
    expect(largest(moved.filter((_, i) => !isNew(i)))).toBeLessThan(1e-9);
    expect(largest(moved.filter((_, i) => isNew(i)))).toBeGreaterThan(1e-5);
  });
});

describe('masks in a run', () => {
  const stages: RunConfigInput['stages'] = [
    base,
    {
      name: 'grow',
      kind: 'grow',
      operator: 'msg',
      model: { hidden_size: 40, intermediate_size: 64, num_hidden_layers: 4, head_dim: 8 },
      options: { ramp: 0.125 },
      optimizerState: 'fresh',
    },
    { ...target, until: { steps: 8 } },
  ];

  it('rise with the steps, are stored, and are gone when the ramp has ended', async () => {
    const run = await go({ stages });
    const { growth } = readRun(run.folder).records;
    // Exact at m = 0: the loss after growth is the one before, in float32.
    expect(Math.abs(growth[0]!.lossAfter! - growth[0]!.lossBefore!)).toBeLessThan(2e-6);
    const values = (step: number): number[] =>
      (
        JSON.parse(bytes(run, step, 'strata.json').toString()) as { growth: { masks: { value: number }[] } }
      ).growth.masks.map(({ value }) => value);
    // Three masks (hidden, ffn, layers), an eighth of eight steps each.
    expect(values(4)).toEqual([1, 0, 0]);
    expect(values(5)).toEqual([1, 1, 0]);
    expect(existsSync(join(run.folder, 'checkpoints', '6', 'strata.json'))).toBe(false);
    expect(existsSync(join(run.folder, 'checkpoints', '3', 'strata.json'))).toBe(false);
  });

  it('resume in the middle of a ramp to the same bits', async () => {
    const slow: RunConfigInput['stages'] = stages.map((stage) =>
      stage.kind === 'grow' ? { ...stage, options: { ramp: 0.3 } } : stage,
    );
    const whole = await go({ stages: slow });
    const out = join(folder, `run-${runs++}`);
    const controller = new AbortController();
    await expect(
      go(
        { stages: slow },
        { out, signal: controller.signal, callbacks: { onStep: ({ step }) => step === 5 && controller.abort('test') } },
      ),
    ).rejects.toThrow();
    const resumed = await go({ stages: slow }, { out });
    expect(bytes(resumed, 11, 'model.safetensors').equals(bytes(whole, 11, 'model.safetensors'))).toBe(true);
  });

  it('a model whose masks stand in between is no parent', async () => {
    const run = await go({
      stages: stages.map((stage) => (stage.kind === 'grow' ? { ...stage, options: { ramp: 0.3 } } : stage)),
    });
    await expect(
      go({ from: join(run.folder, 'checkpoints', '5'), model: undefined as never, stages: [target] }),
    ).rejects.toThrow(/strata\.json: its masks stand between 0 and 1/);
  });
});

describe('twins in a run', () => {
  const twins = async (options: Record<string, unknown>, optimizerState: 'fresh' | 'pad-zero') => {
    const run = await go({
      stages: [
        base,
        { name: 'grow', kind: 'grow', operator: 'hypercloning', factor: 2, options, optimizerState },
        target,
      ],
    });
    return recordsOf(run, 'twinDistance');
  };

  it('plain copies with equal state stay locked; noise or padded state sets them free', async () => {
    const plain = await twins({ faithful: true }, 'fresh');
    expect(plain.map((record) => record['stageStep'])).toEqual([0, 1, 4]);
    for (const record of plain) expect(record['locked']).toBe(record['pairs']);
    const padded = await twins({ faithful: true }, 'pad-zero');
    expect(padded[0]!['locked']).toBe(padded[0]!['pairs']);
    expect(padded[1]!['locked']).toBe(0);
    const noisy = await twins({}, 'fresh');
    expect(noisy.map((record) => record['locked'])).toEqual([0, 0, 0]);
  });
});
