import { describe, expect, it } from 'vitest';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { RandomStream } from '../architecture/index.js';
import { counters } from '../engine/buffers.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { executePlan, memorySource, type Plan, planGrowth } from '../growth/index.js';
import { symmetricEigen } from './eigen.js';
import { commonBasis, predictionLoss, rebuild } from './lesa.js';
import { prepareCost, prepareGrowth } from './prepare.js';
import { TrainingSession } from './session.js';

loadLibtorch({ threads: 1 });

const EXACT = 1e-10;

describe('symmetricEigen', () => {
  it('by hand: [[2, 1], [1, 2]] has 3 along (1, 1) and 1 along (1, -1)', () => {
    const { values, vectors } = symmetricEigen(Float64Array.of(2, 1, 1, 2), 2);
    expect([...values]).toEqual([expect.closeTo(3, 12), expect.closeTo(1, 12)]);
    expect(Math.abs(vectors[0]!)).toBeCloseTo(Math.SQRT1_2, 12);
    expect(vectors[0]! * vectors[2]!).toBeCloseTo(0.5, 12);
  });

  it('gives back what it took apart, with orthogonal vectors', () => {
    const n = 40;
    const half = new Float64Array(n * 30);
    new RandomStream(1, 'half').fillNormal(half);
    const matrix = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < 30; k++) matrix[i * n + j]! += half[i * 30 + k]! * half[j * 30 + k]!;
    const { values, vectors } = symmetricEigen(matrix, n);
    for (let i = 0; i < n; i += 7)
      for (let j = 0; j < n; j += 5) {
        let [sum, dot] = [0, 0];
        for (let k = 0; k < n; k++) {
          sum += vectors[i * n + k]! * values[k]! * vectors[j * n + k]!;
          dot += vectors[k * n + i]! * vectors[k * n + j]!;
        }
        expect(Math.abs(sum - matrix[i * n + j]!)).toBeLessThan(EXACT);
        expect(Math.abs(dot - (i === j ? 1 : 0))).toBeLessThan(EXACT);
      }
    // Rank 30: the other ten are zero.
    for (const value of values.subarray(30)) expect(Math.abs(value)).toBeLessThan(EXACT);
  });
});

describe('commonBasis', () => {
  const matrices = [Float64Array.of(3, 0), Float64Array.of(0, 4), Float64Array.of(0, 0)];

  it('the example: out 1, in 2: S = 5, V1 = [.6, 0], V2 = [0, .8]', () => {
    const { rank, basis, factors } = commonBasis(matrices, 1, 2);
    expect(rank).toBe(1);
    expect(basis[0]).toBeCloseTo(5, 12);
    expect([...factors[0]!]).toEqual([expect.closeTo(0.6, 12), 0]);
    expect([...factors[1]!]).toEqual([0, expect.closeTo(0.8, 12)]);
  });

  it('with the mean of two factors is the mean of two layers', () => {
    const space = commonBasis(matrices, 1, 2);
    const mean = space.factors[0]!.map((x, i) => (x + space.factors[1]![i]!) / 2);
    expect([...rebuild(space, mean)]).toEqual([expect.closeTo(1.5, 12), expect.closeTo(2, 12)]);
  });

  it('rebuilds every layer', () => {
    const drawn = [0, 1, 2].map((i) => {
      const w = new Float64Array(5 * 7);
      new RandomStream(2, `w${i}`).fillNormal(w);
      return w;
    });
    const space = commonBasis(drawn, 5, 7);
    drawn.forEach((w, i) =>
      rebuild(space, space.factors[i]!).forEach((x, k) => expect(Math.abs(x - w[k]!)).toBeLessThan(EXACT)),
    );
  });
});

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
