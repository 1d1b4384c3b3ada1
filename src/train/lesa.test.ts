import { describe, expect, it } from 'vitest';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { counters } from '../engine/buffers.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { executePlan, memorySource, type Plan, planGrowth } from '../growth/index.js';
import { predictionLoss } from './lesa.js';
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

  it('learns to predict, costs what is forecast, gives all memory back, and makes a model that runs', () => {
    const before = counters();
    const asked = plan({ epochs: 12 });
    const learned = prepareGrowth(asked, source, none);
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
    const again = prepareGrowth(asked, source, none);
    expect(again.tensor('lesa.query.1')).toEqual(learned.tensor('lesa.query.1'));
  });
});
