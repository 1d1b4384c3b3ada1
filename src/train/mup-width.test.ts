import { expect, it } from 'vitest';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import {
  compile,
  type Expression,
  memorySource,
  momentTensors,
  planGrowth,
  storedSpecs,
  wholeTensor,
} from '../growth/index.js';
import { TrainingSession } from './session.js';
import type { StepShape } from './step-programs.js';

loadLibtorch({ threads: 1 });

/** Rounding of float64 over ten steps. */
const EXACT = 1e-12;
const narrow = stepShape({ ...tinyModel, num_hidden_layers: 2, tie_word_embeddings: false }, { dtype: 'f64' });
const batches = Array.from({ length: 10 }, (_, i) => drawBatch(narrow, i));

/** Steps [from, to) of AdamW, decay included; the losses before them. */
function train(session: TrainingSession, from: number, to: number): number[] {
  return batches.slice(from, to).map((batch, i) => {
    const loss = session.gradient(batch, 0);
    session.update({ learningRate: 0.01, gradientScale: 1, step: from + i + 1 });
    return loss;
  });
}

/** A model that was widened by k in the middle of its training: its later losses. */
function widened(k: number, optimizer: Partial<StepShape['optimizer']>): number[] {
  using small = new TrainingSession(narrow);
  fillParameters(small, narrow);
  train(small, 0, 5);
  const plan = planGrowth({
    operator: 'mup-width',
    source: narrow.config,
    factor: k,
    options: { faithful: true },
    optimizerState: 'grow-linear',
  });
  using wide = new TrainingSession({
    ...narrow,
    config: plan.target,
    optimizer: { ...narrow.optimizer, ...optimizer },
  });
  const grow = (
    tensors: Readonly<Record<string, Expression>>,
    read: (name: string) => Float64Array,
    into: (name: string) => Float64Array,
  ): void => {
    for (const { name } of storedSpecs(plan.target)) {
      const rows = compile(tensors[name]!, memorySource(plan.source, read), new Float64Array(0));
      wholeTensor(rows, into(name));
    }
  };
  const as = (values: unknown): Float64Array => values as Float64Array;
  grow(
    plan.tensors,
    (name) => as(small.parameter(name)),
    (name) => as(wide.parameter(name)),
  );
  for (const which of ['first', 'second'] as const)
    grow(
      momentTensors(plan, which)!,
      (name) => as(small.moments(name)![which]),
      (name) => as(wide.moments(name)![which]),
    );
  return train(wide, 5, 10);
}

it('mup-width with its factors trains on as the narrow model does, which it does not without', () => {
  using session = new TrainingSession(narrow);
  fillParameters(session, narrow);
  const expected = train(session, 0, 10).slice(5);
  const furthest = (losses: number[]): number => Math.max(...losses.map((loss, i) => Math.abs(loss - expected[i]!)));
  for (const k of [2, 3]) expect(furthest(widened(k, { widthFactor: k })), `k = ${k}`).toBeLessThan(EXACT);
  expect(furthest(widened(2, {}))).toBeGreaterThan(1e-4);
});
