import { describe, expect, it } from 'vitest';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { addedLayers, operators, planGrowth } from '../growth/index.js';
import { grownWeights } from './growth.js';
import { TrainingSession } from './session.js';
import { twinDistance } from './twin-distance.js';
import { copyWeights } from './weights.js';

loadLibtorch({ threads: 1 });

const base = stepShape({ ...tinyModel, num_hidden_layers: 2, tie_word_embeddings: false });
const batches = [1, 2, 3, 4].map((seed) => drawBatch(base, seed));

const step = (session: TrainingSession, index: number, count = index + 1): void => {
  session.gradient(batches[index]!, 0);
  session.update({ learningRate: 1e-3, gradientScale: 1, step: count });
};

const widening = [...operators.values()].filter(
  ({ direction, learns, size }) => direction !== 'depth' && learns === undefined && size !== 'smaller',
);

describe('after a width growth as it is by default, with the optimizer state that the operator asks for', () => {
  it.each(widening.map(({ id, direction }) => [id, direction] as const))(
    '%s: every entry has had a gradient after two steps, and no twin is locked',
    (operator, direction) => {
      using small = new TrainingSession(base);
      fillParameters(small, base);
      step(small, 0);
      step(small, 1);
      const request = {
        operator,
        source: base.config,
        factor: direction === 'both' ? ([2, 2] as [number, number]) : 2,
        options: operator === 'msg' || operator === 'random-width' ? { mask: 1 } : {},
      };
      const advised = planGrowth(request).training?.optimizerState;
      const plan = planGrowth({ ...request, ...(advised === undefined ? {} : { optimizerState: advised }) });
      const shape = { ...base, config: plan.target };
      using session = new TrainingSession(shape);
      copyWeights(
        shape.family.weights(plan.target),
        grownWeights({ plan, addedLayers: addedLayers(plan) }, small),
        session,
      );
      const reached = new Map(session.names.map((name) => [name, new Uint8Array(session.parameter(name).length)]));
      const isFresh = plan.optimizerState === 'fresh';
      for (const index of [2, 3]) {
        step(session, index, isFresh ? index - 1 : index + 1);
        for (const [name, seen] of reached)
          session.gradientOf(name)!.forEach((value, i) => (seen[i] = seen[i]! | Number(value !== 0)));
      }
      for (const [name, seen] of reached) {
        // Tokens that the batches lack have no gradient.
        const entries = name.includes('embed_tokens') ? rowsSeen(seen, plan.target.hidden_size) : seen;
        expect([name, entries.filter((one) => one === 0).length]).toEqual([name, 0]);
      }
      const twins = twinDistance(plan, session);
      if (twins !== undefined) expect(twins).toMatchObject({ locked: 0 });
    },
  );
});

/** The rows of which at least one entry was reached. */
const rowsSeen = (seen: Uint8Array, columns: number): Uint8Array =>
  Uint8Array.from(
    Array.from({ length: seen.length / columns }, (_, row) => seen.subarray(row * columns, (row + 1) * columns))
      .filter((row) => row.includes(1))
      .flatMap((row) => [...row]),
  );

it('copies of a layer are copies: writing to one leaves the other as it is', () => {
  using small = new TrainingSession(base);
  fillParameters(small, base);
  const plan = planGrowth({ operator: 'stack', source: base.config, factor: 2 });
  using session = new TrainingSession({ ...base, config: plan.target });
  copyWeights(base.family.weights(plan.target), grownWeights({ plan, addedLayers: [2, 3] }, small), session);
  const [first, twin] = [0, 2].map((layer) => session.parameter(`model.layers.${layer}.mlp.up_proj.weight`));
  const before = Array.from(twin!);
  expect(Array.from(first!)).toEqual(before);
  first!.fill(7);
  expect(Array.from(twin!)).toEqual(before);
});
