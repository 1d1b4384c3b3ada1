import { describe, expect, it } from 'vitest';
import { drawBatch, fillParameters, stepShape } from '../../../test/support/step.js';
import { counters } from '../../engine/buffers.js';
import { loadLibtorch } from '../../engine/libtorch/load.js';
import type { ExcessWeightsAttributes } from '../../ops/index.js';
import { objectiveSchema, type ExcessObjectiveConfig } from '../config/objective.js';
import { type MicroBatch, TrainingSession } from '../session.js';
import { inverseTau, robustStep } from './robust.js';

loadLibtorch({ threads: 1 });

const config = (fields: Record<string, unknown>): ExcessObjectiveConfig =>
  objectiveSchema.parse({ reference: 'ref', ...fields }) as ExcessObjectiveConfig;

/** A step of the slope, and the error that it may leave beside the gradient. */
const STEP = 1e-6;
const TOLERANCE = 1e-6;

const LENGTH = 24;
const SEQUENCES = 3;

/** Objective over items of `group` tokens, from losses, by its definition. */
function objectiveOf(losses: ArrayLike<number>, reference: ArrayLike<number>, attributes: ExcessWeightsAttributes) {
  const { kind, group, alpha } = attributes;
  const excess = Array.from({ length: losses.length / group }, (_, item) => {
    let sum = 0;
    for (let i = 0; i < group; i++) sum += losses[item * group + i]! - reference[item * group + i]!;
    return sum / group;
  });
  if (kind === 'kl') return TAU * Math.log(excess.reduce((sum, r) => sum + Math.exp(r / TAU), 0) / excess.length);
  const kept = Math.ceil(alpha * excess.length);
  return (
    excess
      .sort((a, b) => b - a)
      .slice(0, kept)
      .reduce((sum, r) => sum + r, 0) / kept
  );
}
const TAU = 0.7;

describe.each([
  ['KL, sequences', { kind: 'kl', group: LENGTH, clip: 1e9, alpha: 1 }],
  ['KL, tokens', { kind: 'kl', group: 1, clip: 1e9, alpha: 1 }],
  ['CVaR, sequences', { kind: 'cvar', group: LENGTH, clip: 1e9, alpha: 0.6 }],
  ['CVaR, tokens', { kind: 'cvar', group: 1, clip: 1e9, alpha: 0.6 }],
] as const)('%s', (_, attributes) => {
  it('has the gradient that finite differences of the objective give', () => {
    const before = counters();
    {
      const shape = stepShape({}, { dtype: 'f64', objective: attributes });
      using session = new TrainingSession(shape);
      fillParameters(session, shape);
      const batch = drawBatch(shape, 5);
      const reference = Float64Array.from(drawBatch(shape, 6).targets, (token) => 3 + token / 40);
      const value = (): number => objectiveOf(session.evaluate(batch), reference, attributes);
      session.setObjective(1 / TAU, 0);
      session.gradient({ ...batch, reference }, 0);
      const fields = { kind: attributes.kind === 'kl' ? 'kl-dro' : 'cvar-dro', tau: TAU };
      if (attributes.kind === 'cvar') delete (fields as { tau?: number }).tau;
      const { gradientScale, measured } = robustStep(config(fields), undefined, session.objectiveSums());
      expect(measured.robustExcess).toBeCloseTo(value(), 10);
      for (const name of [
        'model.layers.0.self_attn.q_proj.weight',
        'model.layers.3.mlp.down_proj.weight',
        'lm_head.weight',
      ]) {
        const gradient = session.gradientOf(name) as Float64Array;
        const weights = session.parameter(name);
        const direction = weights.map((_w, i) => Math.sin(i));
        const along = gradient.reduce((sum, g, i) => sum + g * direction[i]! * gradientScale, 0);
        const start = weights.slice();
        const at = (step: number): number => {
          start.forEach((w, i) => (weights[i] = w + step * direction[i]!));
          return value();
        };
        const slope = (at(STEP) - at(-STEP)) / (2 * STEP);
        at(0);
        expect(Math.abs(along - slope), name).toBeLessThan(TOLERANCE * Math.max(1, Math.abs(slope)));
      }
    }
    expect(counters()).toEqual(before);
  });
});

describe('a step of KL', () => {
  it('is the same for one micro-batch and for three, whatever the normaliser before', () => {
    const attributes = { kind: 'kl', group: LENGTH, clip: 5, alpha: 1 } as const;
    const objective = config({ kind: 'kl-dro', gamma: 0.3 });
    const before = { logNormaliser: 0.4, excess: 1 };
    const whole = stepShape({}, { dtype: 'f64', objective: attributes });
    const batch = drawBatch(whole, 5);
    const reference = new Float64Array(LENGTH * SEQUENCES).map((_x, i) => 3 + (i % 7) / 3);
    const gradientOf = (micro: number): { gradient: number[]; step: ReturnType<typeof robustStep> } => {
      const shape = { ...whole, microBatchSequences: micro };
      using session = new TrainingSession(shape);
      fillParameters(session, shape);
      session.setObjective(inverseTau(objective, before), before.logNormaliser);
      const sums = [0, 0, 0, 0];
      for (let index = 0; index < SEQUENCES / micro; index++) {
        const part = <T extends MicroBatch['weights'] | Int32Array>(x: T): T =>
          x.subarray(index * micro * LENGTH, (index + 1) * micro * LENGTH) as T;
        const { inputs, targets, weights } = batch;
        session.gradient(
          { inputs: part(inputs), targets: part(targets), weights: part(weights), reference: part(reference) },
          index,
        );
        session.objectiveSums().forEach((sum, i) => (sums[i]! += sum));
      }
      const step = robustStep(objective, before, sums);
      const gradient = session.gradientOf('model.layers.1.mlp.up_proj.weight')!;
      return { gradient: Array.from(gradient, (g) => g * step.gradientScale), step };
    };
    const [one, three] = [gradientOf(3), gradientOf(1)];
    expect(three.step.state.logNormaliser).toBeCloseTo(one.step.state.logNormaliser, 12);
    three.gradient.forEach((g, i) => expect(g).toBeCloseTo(one.gradient[i]!, 12));
  });

  it('moves its normaliser by gamma: u = .7 u + .3 mean, in log space', () => {
    // Weights relative to u = 2: a mean of 1.5 means mean exp(r) = 3.
    const step = robustStep(
      config({ kind: 'kl-dro', gamma: 0.3 }),
      { logNormaliser: Math.log(2), excess: 1 },
      [1.5, 4, 0.9, 2],
    );
    expect(Math.exp(step.state.logNormaliser)).toBeCloseTo(0.7 * 2 + 0.3 * 3, 12);
    // Weights were made with 2 and belong to 2.3.
    expect(step.gradientScale).toBeCloseTo(2 / 2.3, 12);
    expect(step.measured.robustExcess).toBeCloseTo(Math.log(3), 12);
    expect(step).toMatchObject({ loss: 4, state: { excess: 0.9 } });
  });

  it('has mean weight one with gamma 1', () => {
    const step = robustStep(config({ kind: 'kl-dro' }), { logNormaliser: 3, excess: 1 }, [1.5, 4, 0.9, 2]);
    expect(1.5 * step.gradientScale).toBeCloseTo(1, 12);
  });

  it('relaxes to ordinary training as the target reaches the reference', () => {
    const relaxed = config({ kind: 'kl-dro', tau: 0.5, relaxFrom: 0.4 });
    const at = (excess: number): number => inverseTau(relaxed, { logNormaliser: 0, excess });
    expect([at(1), at(0.4), at(0.1), at(0), at(-1)]).toEqual([2, 2, 0.5, 0, 0]);
    expect(inverseTau(config({ kind: 'kl-dro', tau: 0.5 }), { logNormaliser: 0, excess: -1 })).toBe(2);
  });
});

describe('an objective in a config', () => {
  it.each([
    [{ kind: 'kl-dro', tau: 0.1 }, /clip.*at most 20 tau/s],
    [{ kind: 'cvar-dro', alpha: 1.5 }, /alpha/],
    [{ kind: 'kl-dro', alpha: 0.5 }, /alpha/],
  ])('%j is refused', (fields, message) => {
    const result = objectiveSchema.safeParse({ reference: 'x', ...fields });
    expect(result.success).toBe(false);
    expect(JSON.stringify(result.error?.issues)).toMatch(message);
  });
});
