import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { counters } from '../engine/buffers.js';
import { executePlan, initialParameter, memorySource, type Plan, planGrowth } from '../growth/index.js';
import { readRun } from '../records/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { LearnedFolder } from './learned-folder.js';
import { prepareCost, prepareGrowth } from './prepare.js';
import { type RunResult, runTraining } from './run.js';
import { TrainingSession } from './session.js';

loadLibtorch({ threads: 1 });

const base = stepShape({ ...tinyModel, num_hidden_layers: 2 });
const batch = drawBatch(base, 5);

function sourceWeights(): (name: string) => Float32Array {
  using session = new TrainingSession(base);
  fillParameters(session, base);
  const weights = new Map(session.names.map((name) => [name, Float32Array.from(session.parameter(name))]));
  return (name) => weights.get(name)!;
}
const source = sourceWeights();

/** Loss of the plan's model with given learned matrices, by the ordinary way: made whole, then run. */
function lossOf(plan: Plan, learned: (name: string) => Float32Array | Float64Array): number {
  using session = new TrainingSession({ ...base, config: plan.target });
  executePlan(plan, memorySource(base.config, source, learned), (spec, values) =>
    session.parameter(spec.name).set(values),
  );
  return session.gradient(batch, 0);
}

const begins = (plan: Plan) => (name: string) =>
  initialParameter(plan.prepare!.parameters.find((parameter) => parameter.name === name)!, 0);

const data = { sequenceLength: 24, batchSequences: 3, microBatchSequences: 3, batches: () => [batch] };

describe.each([
  ['ligo-depth', { factor: 2 }],
  [
    'ligo-width',
    { target: { hidden_size: 48, num_attention_heads: 8, num_key_value_heads: 4, intermediate_size: 100 } },
  ],
  ['ligo', { target: { num_hidden_layers: 3, hidden_size: 40, intermediate_size: 96 } }],
] as const)('%s', (operator, growth) => {
  const plan = (options: Record<string, unknown>): Plan =>
    planGrowth({ operator, source: base.config, ...growth, options });

  it("computes the grown model's loss inside the expansion, and learns on it", async () => {
    const before = counters();
    const asked = plan({ steps: 12, learningRate: 0.02, warmupSteps: 2 });
    const learned = await prepareGrowth(asked, source, data);
    expect(learned.losses[0]).toBeCloseTo(lossOf(asked, begins(asked)), 5);
    // What was learned, made whole: the loss goes on falling from the last step's.
    expect(lossOf(asked, learned.tensor)).toBeLessThan(learned.losses[0]! - 0.02);
    for (const moved of Object.values(learned.moved)) expect(moved).toBeGreaterThan(0);
    expect(counters()).toEqual(before);
  });

  it('moves along the slope of the loss: two small steps apart', async () => {
    const asked = plan({ steps: 1, learningRate: 1e-4, warmupSteps: 0 });
    const learned = await prepareGrowth(asked, source, data);
    expect(lossOf(asked, learned.tensor)).toBeLessThan(lossOf(asked, begins(asked)));
  });

  it('costs what the forecast says, in whole and by parts of a step', async () => {
    const asked = plan({ steps: 2 });
    expect((await prepareGrowth(asked, source, data)).flops).toBe(prepareCost(asked, data).flops);
  });
});

describe('ligo', () => {
  const plan = planGrowth({
    operator: 'ligo-depth',
    source: base.config,
    factor: 2,
    options: { steps: 7, learningRate: 0.01, warmupSteps: 2 },
  });

  it('goes on after an interruption with the same bits, and starts anew under another key', async () => {
    const path = mkdtempSync(join(tmpdir(), 'strata-learned-'));
    const whole = await prepareGrowth(plan, source, data);
    const abort = new AbortController();
    const stopped = prepareGrowth(plan, source, data, {
      kept: new LearnedFolder(path, 'key'),
      signal: abort.signal,
      onProgress: (done) => done === 4 && abort.abort(new Error('stopped')),
    });
    await expect(stopped).rejects.toThrow('stopped');
    const steps: number[] = [];
    const count = (done: number): void => void steps.push(done);
    const again = await prepareGrowth(plan, source, data, { kept: new LearnedFolder(path, 'key'), onProgress: count });
    expect(steps).toEqual([5, 6, 7]);
    expect(again.losses).toEqual(whole.losses);
    expect(again.flops).toBe(whole.flops);
    for (const { name } of plan.prepare!.parameters) expect(again.tensor(name)).toEqual(whole.tensor(name));
    await prepareGrowth(plan, source, data, { kept: new LearnedFolder(path, 'other'), onProgress: count });
    expect(steps).toHaveLength(10);
    rmSync(path, { recursive: true });
  });

  it('keeps packed documents apart: its first loss is that of the model it begins as', async () => {
    const within = { ...base, withinDocuments: true };
    const documentStarts = Int32Array.from({ length: 3 * 24 }, (_, i) => (i % 24 < 10 ? 0 : 10));
    const packed = { ...batch, documentStarts };
    using session = new TrainingSession({ ...within, config: plan.target });
    executePlan(plan, memorySource(base.config, source, begins(plan)), (spec, values) =>
      session.parameter(spec.name).set(values),
    );
    const apart = { ...data, withinDocuments: true, batches: () => [packed] };
    const [loss] = (await prepareGrowth(plan, source, apart)).losses;
    expect(loss).toBeCloseTo(session.gradient(packed, 0), 5);
    expect(Math.abs(loss! - (await prepareGrowth(plan, source, data)).losses[0]!)).toBeGreaterThan(1e-4);
  });

  it("leaves the authors' fixed rows where they are", async () => {
    const plan = planGrowth({
      operator: 'ligo-width',
      source: base.config,
      target: { hidden_size: 64, num_attention_heads: 8, num_key_value_heads: 4, intermediate_size: 176 },
      options: { init: 'authors', steps: 3, learningRate: 0.01, warmupSteps: 0 },
    });
    const learned = await prepareGrowth(plan, source, data);
    const [before, after] = [begins(plan)('ligo.hidden'), learned.tensor('ligo.hidden')];
    const fixed = 32 * 32;
    expect(Float32Array.from(after.subarray(0, fixed))).toEqual(Float32Array.from(before.subarray(0, fixed)));
    expect(Array.from(after.subarray(fixed))).not.toEqual(Array.from(Float32Array.from(before.subarray(fixed))));
  });

  it('costs 6 N a token and the expansion: depth alone, by hand', () => {
    const plan = planGrowth({ operator: 'ligo-depth', source: base.config, factor: 2, options: { steps: 1 } });
    const rows = 3 * 24;
    const layer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 88 * 32;
    const model = rows * (6 * (4 * layer + 67 * 32) + 12 * 4 * 32 * 24);
    // The embedding's and the head's products with a gradient are left out: they are copies, hence constants.
    const head = rows * 2 * 67 * 32;
    // Each of four rows of w mixes two layers: 2 x 2 x elements forward; back only to w, the source being constant.
    const mixes = 4 * 2 * (2 * 2 * (layer + 2 * 32));
    expect(prepareCost(plan, data).flops).toBe(BigInt(model - head + mixes));
  });
});

describe('ligo in a run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-ligo-'));
  let shards = '';
  let runs = 0;
  beforeAll(async () => {
    shards = await buildTinyData(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const optimizer = { lr: 4e-3 };
  const go = (steps: number): Promise<RunResult> => {
    const config: RunConfigInput = {
      ...tinyRun(shards),
      validation: { every: 100, tokens: 4096 },
      stages: [
        { name: 'base', kind: 'train', model: { num_hidden_layers: 2 }, until: { steps: 40 }, optimizer },
        {
          name: 'grow',
          kind: 'grow',
          operator: 'ligo-depth',
          factor: 2,
          options: { steps, learningRate: 0.01, warmupSteps: 2 },
        },
        { name: 'target', kind: 'train', until: { steps: 2 }, optimizer },
      ],
    };
    return runTraining(parseConfig(config), { out: join(folder, `run-${runs++}`), threads: 1 });
  };

  it('beats its untrained self on held-out text, is booked, and leaves the data to the target', async () => {
    const [untrained, learned] = [await go(0), await go(30)];
    const after = (run: RunResult): number => readRun(run.folder).records.growth[0]!.lossAfter!;
    expect(after(learned)).toBeLessThan(after(untrained));
    expect(learned.tokens).toBe(untrained.tokens);
    const event = readFileSync(join(learned.folder, 'records.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"prepare"'))
      .map((line) => JSON.parse(line) as { flopsExact: string; moved: Record<string, number>; losses: number[] })[0]!;
    expect(BigInt(learned.flopsExact) - BigInt(untrained.flopsExact)).toBe(BigInt(event.flopsExact));
    expect(event.losses).toHaveLength(30);
    expect(Object.keys(event.moved)).toHaveLength(9);
  });
});
