import { beforeAll, describe, expect, test } from 'vitest';
import { Scope, type Tensor } from '../src/engine/buffers.js';
import { EagerContext } from '../src/engine/eager.js';
import { loadLibtorch } from '../src/engine/libtorch/load.js';
import { openCheckpoint } from '../src/interop/index.js';
import { arenaParameters, forwardOf, layOut } from '../src/model/index.js';
import { matmul } from '../src/ops/index.js';
import { clipScale } from '../src/optim/index.js';
import { TrainingSession } from '../src/train/session.js';
import type { StepShape } from '../src/train/step-programs.js';
import { LLAMA_VARIANTS, readLlamaGolden, type LlamaGolden } from './golden/read.js';

/** What `transformers` and Strata may differ by: logits absolutely; gradients and losses relative to their size. */
const LOGITS_TOLERANCE = 1e-4;
const GRADIENT_TOLERANCE = 1e-4;
const LOSS_TOLERANCE = 2e-4;
const NORM_TOLERANCE = 5e-3;

const SEQUENCES = 4;
const LENGTH = 16;

beforeAll(() => void loadLibtorch({ threads: 2 }));

/** Inputs and targets of step `step`. */
function batchOf({ batches }: LlamaGolden, step: number) {
  const inputs = new Int32Array(SEQUENCES * LENGTH);
  const targets = new Int32Array(SEQUENCES * LENGTH);
  for (let i = 0; i < inputs.length; i++) {
    const start = (step * SEQUENCES + Math.floor(i / LENGTH)) * (LENGTH + 1) + (i % LENGTH);
    inputs[i] = batches.data[start] as number;
    targets[i] = batches.data[start + 1] as number;
  }
  return { inputs, targets, weights: new Float32Array(inputs.length).fill(1 / inputs.length) };
}

function openSession(golden: LlamaGolden): TrainingSession {
  using checkpoint = openCheckpoint(golden.folder);
  const { betas, epsilon, weightDecay } = golden.optimizer;
  const shape: StepShape = {
    config: checkpoint.config,
    family: checkpoint.family,
    sequenceLength: LENGTH,
    microBatchSequences: SEQUENCES,
    trainable: () => true,
    optimizer: { beta1: betas[0], beta2: betas[1], eps: epsilon, weightDecay },
    recompute: false,
  };
  const session = new TrainingSession(shape);
  for (const name of session.names) session.parameter(name).set(checkpoint.read(name));
  return session;
}

/** Logits of the first batch, by the family's forward. */
function logitsOf(golden: LlamaGolden): Float32Array {
  using checkpoint = openCheckpoint(golden.folder);
  using scope = new Scope();
  const eager = new EagerContext(scope);
  const { config, family } = checkpoint;
  const weights = family.weights(config);
  const layout = layOut(weights, () => false);
  const arena = scope.tensor({ dtype: 'f32', shape: [layout.size] });
  for (const [name, { offset }] of layout.ranges) (arena.data() as Float32Array).set(checkpoint.read(name), offset);
  const parameters = arenaParameters(eager, arena, layout, weights);
  const forward = forwardOf(config);
  const tables = Object.entries(forward.tables(config, LENGTH)).map(([name, { values, columns }]) => [
    name,
    scope.from({ dtype: 'f32', shape: [LENGTH, columns] }, values),
  ]);
  const ids = scope.from({ dtype: 'i32', shape: [SEQUENCES * LENGTH] }, batchOf(golden, 0).inputs);
  const inputs = { ids, tables: Object.fromEntries(tables), batch: SEQUENCES, length: LENGTH };
  const logits = matmul(eager, forward.hidden(eager, config, parameters, inputs), parameters.get('head'), {
    transposeB: true,
  });
  return Float32Array.from((logits as Tensor).data() as Float32Array);
}

const largest = (values: Iterable<number>): number =>
  [...values].reduce((most, value) => Math.max(most, Math.abs(value)), 0);

describe.each(LLAMA_VARIANTS)('a Llama of transformers (%s)', (variant) => {
  const golden = readLlamaGolden(variant);

  test('has the same logits', () => {
    const logits = logitsOf(golden);
    expect(logits.length).toBe(golden.logits.data.length);
    expect(largest(logits.map((value, i) => value - (golden.logits.data[i] as number)))).toBeLessThan(LOGITS_TOLERANCE);
  });

  test('has the same loss and gradients', () => {
    using session = openSession(golden);
    expect(session.gradient(batchOf(golden, 0), 0)).toBeCloseTo(golden.loss, 5);
    expect([...golden.gradients.keys()].sort()).toEqual([...session.names].sort());
    for (const [name, { data }] of golden.gradients) {
      const ours = session.gradientOf(name) as Float32Array;
      expect(largest(ours.map((value, i) => value - (data[i] as number))), name).toBeLessThan(
        GRADIENT_TOLERANCE * largest(data),
      );
    }
  });

  test('trains along the same losses for 50 steps', () => {
    using session = openSession(golden);
    golden.losses.forEach((expected, i) => {
      const loss = session.gradient(batchOf(golden, i), 0);
      const norm = session.gradientNorm();
      expect(Math.abs(loss - expected), `loss of step ${i}`).toBeLessThan(LOSS_TOLERANCE * expected);
      expect(Math.abs(norm / (golden.gradNorms[i] as number) - 1), `norm of step ${i}`).toBeLessThan(NORM_TOLERANCE);
      const learningRate = golden.learningRates[i] as number;
      session.update({ learningRate, gradientScale: clipScale(norm, golden.optimizer.clipNorm), step: i + 1 });
    });
  });
});
