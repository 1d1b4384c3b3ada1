import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { counters, Scope, type Tensor } from '../src/engine/buffers.js';
import { EagerContext } from '../src/engine/eager.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { arenaParameters, forwardOf, trackInto } from '../src/model/index.js';
import { linearCrossEntropy } from '../src/ops/index.js';
import { Tape } from '../src/program/index.js';
import { TrainingSession, type MicroBatch } from '../src/train/session.js';
import { stepLayout, stepSlots, type StepShape } from '../src/train/step-programs.js';
import { drawBatch, fillParameters, stepShape } from './support/step.js';

let before: ReturnType<typeof counters>;
beforeAll(() => {
  loadLibtorch({ threads: 2 });
  before = counters();
});
afterAll(() => expect(counters()).toEqual(before));

/** Gradients of one micro-batch by a session. */
function gradientsOf(
  shape: StepShape,
  batches = [drawBatch(shape, 7)],
): { loss: number; gradients: Map<string, number[]> } {
  using session = new TrainingSession(shape);
  fillParameters(session, shape);
  const loss = batches.reduce((sum, batch, i) => sum + session.gradient(batch, i), 0);
  const trained = session.names.filter((name) => session.gradientOf(name) !== undefined);
  return { loss, gradients: new Map(trained.map((name) => [name, [...(session.gradientOf(name) as Float32Array)]])) };
}

/** The same by running each op at once, each result in fresh memory. */
function eagerGradients(shape: StepShape, batch: MicroBatch): { loss: number; arena: Float32Array } {
  using session = new TrainingSession(shape);
  fillParameters(session, shape);
  using scope = new Scope();
  const eager = new EagerContext(scope);
  const tape = new Tape(eager);
  const slots = stepSlots(shape, session.layout);
  const parameters = scope.tensor(slots.parameters);
  for (const [name, { offset }] of session.layout.ranges)
    (parameters.data() as Float32Array).set(session.parameter(name), offset);
  const gradients = scope.tensor(slots.gradients);
  const tables = Object.entries(forwardOf(shape.config).tables(shape.config, shape.sequenceLength)).map(
    ([name, { values, columns }]) => [
      name,
      scope.from({ dtype: 'f32', shape: [shape.sequenceLength, columns] }, values),
    ],
  );
  const weights = arenaParameters(
    tape,
    parameters,
    session.layout,
    shape.family.weights(shape.config),
    trackInto(tape, gradients, false),
  );
  const hidden = forwardOf(shape.config).hidden(tape, shape.config, weights, {
    ids: scope.from(slots.ids, batch.inputs),
    tables: Object.fromEntries(tables),
    batch: shape.microBatchSequences,
    length: shape.sequenceLength,
  });
  const loss = linearCrossEntropy(
    tape,
    hidden,
    weights.get('head'),
    scope.from(slots.targets, batch.targets),
    scope.from(slots.weights, batch.weights),
  );
  tape.backward(loss.total);
  const total = (tape.resolve(loss.total) as Tensor).data()[0] as number;
  return { loss: total, arena: Float32Array.from(gradients.data() as Float32Array) };
}

describe('a training step', () => {
  for (const kernels of ['on', 'off']) {
    for (const fields of [{}, { tie_word_embeddings: true, attention_bias: true, mlp_bias: true }]) {
      test(`replayed equals eager bit for bit (kernels ${kernels}, ${JSON.stringify(fields)})`, () => {
        process.env['STRATA_KERNELS'] = kernels;
        try {
          const shape = stepShape(fields);
          const batch = drawBatch(shape, 7);
          const replayed = gradientsOf(shape, [batch]);
          const eager = eagerGradients(shape, batch);
          expect(replayed.loss).toBe(eager.loss);
          const layout = stepLayout(shape);
          for (const [name, values] of replayed.gradients) {
            const { offset, size } = layout.ranges.get(name) as { offset: number; size: number };
            expect(values, name).toEqual([...eager.arena.subarray(offset, offset + size)]);
          }
        } finally {
          delete process.env['STRATA_KERNELS'];
        }
      });
    }
  }

  test('recomputing the layers gives the same gradients bit for bit', () => {
    expect(gradientsOf(stepShape({}, { recompute: true }))).toEqual(gradientsOf(stepShape()));
  });

  test('freezing the lower half leaves the gradients of the upper half as they are', () => {
    const whole = gradientsOf(stepShape());
    const half = gradientsOf(stepShape({}, { trainable: (spec) => (spec.layer ?? 0) >= 2 }));
    expect(half.gradients.size).toBe(2 * 9);
    for (const [name, values] of half.gradients) expect(values, name).toEqual(whole.gradients.get(name));
  });

  test('mixed precision moves each gradient by what rounding operands to 8 bits moves it, and no more', () => {
    const exact = gradientsOf(stepShape());
    const mixed = gradientsOf(stepShape({}, { precision: 'bf16' }));
    const norm = (values: readonly number[]): number => Math.hypot(...values);
    expect(Math.abs(mixed.loss - exact.loss)).toBeLessThan(0.01 * exact.loss);
    for (const [name, values] of exact.gradients) {
      const moved = norm(values.map((value, i) => value - (mixed.gradients.get(name)?.[i] ?? NaN))) / norm(values);
      expect(moved, name).toBeLessThan(0.02);
      expect(moved, name).toBeGreaterThan(0);
    }
  });

  test('two micro-batches add up to the gradient of one of twice the size', () => {
    const double = stepShape({}, { microBatchSequences: 6, dtype: 'f64' });
    const single = stepShape({}, { dtype: 'f64' });
    const whole = drawBatch(double, 3);
    const half = whole.inputs.length / 2;
    const parts = [0, 1].map((i) => ({
      inputs: whole.inputs.subarray(i * half, (i + 1) * half),
      targets: whole.targets.subarray(i * half, (i + 1) * half),
      weights: whole.weights.subarray(i * half, (i + 1) * half),
    }));
    const [together, apart] = [gradientsOf(double, [whole]), gradientsOf(single, parts)];
    expect(apart.loss).toBeCloseTo(together.loss, 12);
    for (const [name, values] of together.gradients)
      values.forEach((value, i) => expect(apart.gradients.get(name)?.[i]).toBeCloseTo(value, 12));
  });

  test('gradients of the whole model agree with finite differences in f64', () => {
    for (const fields of [{}, { tie_word_embeddings: true, attention_bias: true, mlp_bias: true, head_dim: 10 }]) {
      const shape = stepShape({ ...fields, num_hidden_layers: 2 }, { dtype: 'f64', sequenceLength: 11 });
      using session = new TrainingSession(shape);
      fillParameters(session, shape);
      const batch = drawBatch(shape, 5);
      const targets = batch.targets.map((target, i) => (i % 7 === 3 ? -1 : target));
      const loss = (): number => session.gradient({ ...batch, targets }, 0);
      for (const name of session.names) {
        const values = session.parameter(name);
        loss();
        const gradient = Float64Array.from(session.gradientOf(name) as Float64Array);
        for (const i of [0, Math.floor(values.length / 3), values.length - 1]) {
          const at = values[i] as number;
          const step = 1e-5;
          values[i] = at + step;
          const above = loss();
          values[i] = at - step;
          const below = loss();
          values[i] = at;
          expect(gradient[i], `${name}[${i}]`).toBeCloseTo((above - below) / (2 * step), 8);
        }
      }
    }
  });

  test('1,000 steps allocate nothing after the first, and the counted peak is the predicted one', () => {
    const shape = stepShape({ num_hidden_layers: 2 });
    const forecast = TrainingSession.forecast(shape);
    const start = counters();
    using session = new TrainingSession(shape);
    fillParameters(session, shape);
    const batch = drawBatch(shape, 1, 2);
    let resident = 0;
    let warm = counters();
    for (let step = 1; step <= 1000; step++) {
      session.gradient(batch, 0);
      session.gradient(batch, 1);
      const norm = session.gradientNorm();
      session.update({ learningRate: 1e-3, gradientScale: Math.min(1, 1 / norm), step });
      if (step === 1) warm = counters();
      if (step === 300) resident = process.memoryUsage.rss();
      expect(counters()).toEqual(warm);
    }
    expect(warm.bytes - start.bytes).toBe(forecast.peakBytes);
    expect(process.memoryUsage.rss() - resident).toBeLessThan(16 << 20);
    expect(session.gradient(batch, 0) + session.gradient(batch, 1)).toBeLessThan(0.1);
  });

  test('a step whose weights hold a NaN says so in loss and norm', () => {
    const shape = stepShape();
    using session = new TrainingSession(shape);
    fillParameters(session, shape);
    session.parameter('model.layers.1.mlp.up_proj.weight')[5] = Number.NaN;
    expect(session.gradient(drawBatch(shape, 7), 0)).toBeNaN();
    expect(session.gradientNorm()).toBeNaN();
  });
});
