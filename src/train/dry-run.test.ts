import { describe, expect, it } from 'vitest';
import { parseConfig } from './config/index.js';
import { dryRun } from './dry-run.js';
import { chooseMicroBatch } from './micro-batch.js';
import { planRun } from './plan.js';
import type { TrainStage } from './run-plan.js';

const optimizer = { lr: 3e-4 };
const seven = parseConfig({
  name: 'seven',
  model: 'gstack-7b',
  data: { train: 'nowhere', sequenceLength: 2048, batchTokens: 8 * 2048 },
  recompute: true,
  stages: [
    { name: 'base', kind: 'train', model: { num_hidden_layers: 8 }, until: { tokens: '10B' }, optimizer },
    { name: 'stack', kind: 'grow', operator: 'stack', factor: 4 },
    { name: 'target', kind: 'train', until: { steps: 1000 }, optimizer, schedule: { kind: 'wsd', warmup: 100 } },
  ],
});

describe('a dry run', () => {
  it('states sizes, memory and schedule of a 7B run without libtorch or data', () => {
    const { stages, warnings, values, derived } = dryRun(seven);
    const target = stages[2]!;
    // 4 bytes a parameter (rounded up to a cache line of the arena), as much again for gradients, twice for moments.
    expect(target.memoryBytes!.parameters).toBeCloseTo(4 * 5_933_109_248, -3);
    expect(target.memoryBytes!.moments).toBeCloseTo(8 * 5_933_109_248, -3);
    expect(target.memoryBytes!.peak).toBeGreaterThan(16 * 5_933_109_248);
    expect(target.schedule).toEqual({
      kind: 'wsd',
      lr: [
        [0, expect.closeTo(3e-6, 15) as number],
        [100, 3e-4],
        [499, 3e-4],
        [800, 3e-4],
        [999, expect.closeTo(3e-4 * (1 - Math.sqrt(199 / 200)), 12) as number],
      ],
    });
    expect(stages[1]!.growth).toMatchObject({ operator: 'stack', growthFactor: expect.closeTo(4, 4) as number });
    expect(warnings.join()).toMatch(/nowhere was not used/);
    expect(values['recompute']).toEqual({ value: true, from: 'config' });
    expect(values['seed']).toEqual({ value: 1, from: 'default' });
    expect(derived['model.vocab_size']).toEqual({ value: 32000, from: 'preset gstack-7b' });
  });
});

describe('chooseMicroBatch', () => {
  const plan = planRun(
    parseConfig({
      name: 'small',
      model: 'test-small',
      data: { train: 'd', sequenceLength: 128, batchTokens: 12 * 128 },
      stages: [{ name: 's', kind: 'train', until: { steps: 1 }, optimizer }],
    }),
  );
  const stage = plan.stages[0] as TrainStage;

  it('takes the largest divisor whose forecast fits into half of the memory', () => {
    const all = chooseMicroBatch(plan, stage, 2 ** 40);
    expect(all).toMatchObject({ sequences: 12, fits: true });
    const less = chooseMicroBatch(plan, stage, 2 * all.forecast.peakBytes - 1);
    expect(less).toMatchObject({ sequences: 6, fits: true });
    expect(less.forecast.peakBytes).toBeLessThan(all.forecast.peakBytes);
    expect(chooseMicroBatch(plan, stage, 1000)).toMatchObject({ sequences: 1, fits: false });
  });
});
