import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { buildTinyData, tinyRun } from '../../test/support/tiny-run.js';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { counters } from '../engine/buffers.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { executePlan, memorySource, type Plan, planGrowth } from '../growth/index.js';
import { hashFile } from '../interop/index.js';
import { readRun } from '../records/index.js';
import { parseConfig, type RunConfigInput } from './config/index.js';
import { LearnedFolder } from './learned-folder.js';
import { predictionLoss } from './lesa.js';
import { type RunOptions, type RunResult, runTraining } from './run.js';
import { prepareCost, prepareGrowth } from './prepare.js';
import { TrainingSession } from './session.js';

loadLibtorch({ threads: 1 });

describe('predictionLoss', () => {
  it('the example: prediction [.3, .4], target [0, .8], a = 5e-4: .1249825', () => {
    expect(predictionLoss([0.3, 0.4], [0, 0.8], 5e-4)).toBeCloseTo(0.1249825, 10);
  });

  it('has its slope as gradient', () => {
    const [prediction, target] = [
      [0.3, -0.7, 0.2],
      [0.1, 0.5, -0.4],
    ];
    const gradient = new Float32Array(3);
    predictionLoss(prediction, target, 0.2, gradient);
    for (let i = 0; i < 3; i++) {
      const at = (step: number): number =>
        predictionLoss(
          prediction.map((x, k) => (k === i ? x + step : x)),
          target,
          0.2,
        );
      expect(gradient[i]).toBeCloseTo((at(1e-5) - at(-1e-5)) / 2e-5, 5);
    }
  });
});

describe('lesa', () => {
  const base = stepShape({ ...tinyModel, num_hidden_layers: 4 });
  const batch = drawBatch(base, 5);
  const weights = ((): Map<string, Float32Array> => {
    using session = new TrainingSession(base);
    fillParameters(session, base);
    return new Map(session.names.map((name) => [name, Float32Array.from(session.parameter(name))]));
  })();
  const source = (name: string): Float32Array => weights.get(name)!;
  const none = { sequenceLength: 1, batchSequences: 1, microBatchSequences: 1, batches: () => [] };
  const plan = (options: Record<string, unknown>): Plan =>
    planGrowth({ operator: 'lesa', source: base.config, options: { hidden: 24, ...options } });

  it('learns to predict, costs what is forecast, gives all memory back, and makes a model that runs', async () => {
    const before = counters();
    const asked = plan({ epochs: 12 });
    const learned = await prepareGrowth(asked, source, none);
    expect(counters()).toEqual(before);
    expect(Object.keys(learned.lossShare!)).toHaveLength(7);
    // Each kind's loss at its last epoch is below that of its first.
    for (const share of Object.values(learned.lossShare!)) expect(share).toBeLessThan(1);
    expect(learned.flops).toBe(prepareCost(asked, none).flops);
    using session = new TrainingSession({ ...base, config: asked.target });
    executePlan(asked, memorySource(base.config, source, learned.tensor), (spec, values) =>
      session.parameter(spec.name).set(values),
    );
    expect(Number.isFinite(session.gradient(batch, 0))).toBe(true);
    // Old layers are copies; the same seed gives the same layers.
    expect(session.parameter('model.layers.0.mlp.up_proj.weight')).toEqual(source('model.layers.0.mlp.up_proj.weight'));
    const again = await prepareGrowth(asked, source, none);
    expect(again.tensor('lesa.query.1')).toEqual(learned.tensor('lesa.query.1'));
  });

  it('goes on after an interruption with the kinds of matrix that are left, with the same bits', async () => {
    const path = mkdtempSync(join(tmpdir(), 'strata-learned-'));
    const asked = plan({ epochs: 2 });
    const whole = await prepareGrowth(asked, source, none);
    const abort = new AbortController();
    const stopped = prepareGrowth(asked, source, none, {
      kept: new LearnedFolder(path, 'key'),
      signal: abort.signal,
      // In the third of seven kinds.
      onProgress: (done) => done === 5 && abort.abort(new Error('stopped')),
    });
    await expect(stopped).rejects.toThrow('stopped');
    const epochs: number[] = [];
    const again = await prepareGrowth(asked, source, none, {
      kept: new LearnedFolder(path, 'key'),
      onProgress: (done) => void epochs.push(done),
    });
    expect(epochs).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    expect(again.flops).toBe(whole.flops);
    expect(again.losses).toEqual(whole.losses);
    for (const name of ['lesa.query.1', 'lesa.down.2']) expect(again.tensor(name)).toEqual(whole.tensor(name));
    rmSync(path, { recursive: true });
  });
});

describe('lesa in a run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-lesa-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is booked, goes on where it was stopped, and ends with the same weights', async () => {
    const shards = await buildTinyData(folder);
    const optimizer = { lr: 4e-3 };
    const config: RunConfigInput = {
      ...tinyRun(shards),
      stages: [
        { name: 'base', kind: 'train', until: { steps: 6 }, optimizer },
        { name: 'predict', kind: 'grow', operator: 'lesa', factor: 1.5, options: { epochs: 2, hidden: 24 } },
        { name: 'target', kind: 'train', until: { steps: 4 }, optimizer, trainable: 'added' },
      ],
    };
    const run = (name: string, options: RunOptions = {}) =>
      runTraining(parseConfig(config), { out: join(folder, name), threads: 1, ...options });
    const whole = await run('whole');
    const abort = new AbortController();
    const stop = { onLearning: (_: string, done: number) => void (done === 3 && abort.abort(new Error('stopped'))) };
    const stopped = run('stopped', { signal: abort.signal, callbacks: stop });
    await expect(stopped).rejects.toThrow(/Stopped after step 6; .*learned.predict is saved/);
    const learned: number[] = [];
    const resumed = await run('stopped', { callbacks: { onLearning: (_, done) => void learned.push(done) } });
    expect(learned[0]).toBe(3);
    expect(existsSync(join(folder, 'stopped', 'learned'))).toBe(false);
    const weights = (of: RunResult) => hashFile(join(of.checkpoint, 'model.safetensors'));
    expect(weights(resumed)).toEqual(weights(whole));
    expect(resumed.flopsExact).toBe(whole.flopsExact);
    const records = readFileSync(join(whole.folder, 'records.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; name?: string; stage?: string; flopsExact: string });
    const find = (kind: string, stage: string) => records.findLast((one) => one.kind === kind && one.stage === stage);
    const growth = readRun(whole.folder).records.growth[0]!;
    const prepare = records.find(({ name }) => name === 'prepare')!;
    // What the base took, and the phase: nothing else lies before the growth.
    expect(BigInt(find('growth', 'predict')!.flopsExact)).toBe(
      BigInt(find('train', 'base')!.flopsExact) + BigInt(prepare.flopsExact),
    );
    expect(growth).toMatchObject({ operator: 'lesa', targetParameters: expect.any(Number) as number });
    expect(growth.lossAfter!).toBeLessThan(Math.log(320) + 1);
  });
});
