import { describe, expect, it } from 'vitest';
import { drawBatch, fillParameters, stepShape, tinyModel } from '../../test/support/step.js';
import { executePlan, memorySource, type Plan, planGrowth } from '../growth/index.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { maskShape, maskValue, maskVectors } from './masks.js';
import { TrainingSession } from './session.js';
import type { StepShape } from './step-programs.js';

loadLibtorch({ threads: 1 });

/** Equal up to the rounding of float64. */
const EXACT = 1e-12;

const shapeWith = (rms_norm_eps: number): StepShape =>
  stepShape({ ...tinyModel, num_hidden_layers: 2, rms_norm_eps }, { dtype: 'f64' });
const base = shapeWith(1e-6);
const batch = drawBatch(base, 3);

/** Losses of every token of a model, by its weights, with masks where given. */
function losses(shape: StepShape, fill: (session: TrainingSession) => void, vectors?: Record<string, Float64Array>) {
  using session = new TrainingSession(shape);
  fill(session);
  if (vectors !== undefined) session.setMasks(vectors);
  return Float64Array.from(session.evaluate(batch));
}

/** Weights that float32 can hold, since growth hands them on in it. */
function fillRounded(session: TrainingSession): void {
  fillParameters(session, base);
  for (const name of session.names) session.parameter(name).set(Float32Array.from(session.parameter(name)));
}

const source = losses(base, fillRounded);

function grown(plan: Plan): (session: TrainingSession) => void {
  using small = new TrainingSession(base);
  fillRounded(small);
  const weights = new Map(small.names.map((name) => [name, Float64Array.from(small.parameter(name))]));
  return (session) =>
    executePlan(
      plan,
      memorySource(base.config, (name) => weights.get(name)!),
      (spec, values) => session.parameter(spec.name).set(values),
    );
}

const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from({ length: a.length }, (_, i) => Math.abs(a[i]! - b[i]!)));

const wide = { hidden_size: 44, num_attention_heads: 6, num_key_value_heads: 3, intermediate_size: 100, head_dim: 8 };
const moreInGroups = { num_attention_heads: 8, num_key_value_heads: 2 };

describe('masks', () => {
  it.each([
    ['msg', { ...wide, num_hidden_layers: 4 }, {}],
    ['msg', { ...moreInGroups, num_hidden_layers: 3 }, { layers: 'interpolate' }],
    ['random-depth', { num_hidden_layers: 4 }, {}],
    ['random-width', wide, {}],
    ['random-width', { ...moreInGroups, hidden_size: 40 }, {}],
  ] as const)(
    '%s to %j: the source at 0, the plain model at 1, something else in between',
    (operator, target, options) => {
      const plan = planGrowth({ operator, source: base.config, target, options });
      const plain = planGrowth({ operator, source: base.config, target, options: { ...options, mask: 1 } });
      expect(plain.masks).toBeUndefined();
      expect(plain.tensors).toEqual(plan.tensors);
      const masks = plan.masks!;
      const shape = { ...base, config: plan.target, masks: maskShape(masks, plan.target) };
      const at = (share: number): Float64Array =>
        losses(shape, grown(plan), maskVectors(masks, plan.target, share) as Record<string, Float64Array>);
      // random's norms see the epsilon relative to another mean square, which the next test looks at.
      if (operator !== 'random-width') expect(difference(at(0), source)).toBeLessThan(EXACT);
      const { masks: _, ...unmasked } = shape;
      const whole = losses(unmasked, grown(plan));
      expect(difference(at(1), whole)).toBeLessThan(EXACT);
      expect(difference(whole, source)).toBeGreaterThan(1e-3);
      const end = Math.max(...masks.map((mask) => mask.end));
      expect(difference(at(end / 2), whole)).toBeGreaterThan(1e-6);
      expect(difference(at(end / 2), source)).toBeGreaterThan(1e-6);
    },
  );

  it("random's error at 0 is the epsilon's: it falls with it", () => {
    const errorWith = (eps: number): number => {
      const small = shapeWith(eps);
      const plan = planGrowth({ operator: 'random-width', source: small.config, target: wide });
      const shape = { ...small, config: plan.target, masks: maskShape(plan.masks!, plan.target) };
      const vectors = maskVectors(plan.masks!, plan.target, 0) as Record<string, Float64Array>;
      return difference(losses(shape, grown(plan), vectors), losses(small, fillRounded));
    };
    expect(errorWith(1e-6)).toBeLessThan(1e-4);
    expect(errorWith(1e-14)).toBeLessThan(EXACT);
  });

  it('rise in straight lines, one after the other', () => {
    const ramp = { start: 0.2, end: 0.4 };
    expect([0, 0.2, 0.25, 0.4, 1].map((share) => maskValue(ramp, share))).toEqual([
      0,
      0,
      expect.closeTo(0.25, 12),
      1,
      1,
    ]);
  });

  it('by hand: masked mean square of (3, 4, 5) with m = (1, 1, .5)', () => {
    const config = { ...base.config, hidden_size: 3 };
    const mask = { kind: 'msg', axis: 'hidden', old: 2, size: 3, start: 0, end: 1 } as const;
    const { normInput, normOutput } = maskVectors([mask], config, 0.5);
    const x = [3, 4, 5];
    const meanSquare = x.reduce((sum, value, i) => sum + (value * normInput![i]!) ** 2, 0) / 3;
    expect(meanSquare).toBeCloseTo((9 + 16 + 12.5) / 2.5, 12);
    // x m, times the inverse root of that.
    expect(x.map((value, i) => value * normInput![i]! * normOutput![i]!)).toEqual([
      expect.closeTo(3, 12),
      expect.closeTo(4, 12),
      expect.closeTo(2.5, 12),
    ]);
  });

  it('have gradients as slopes, in f64', () => {
    const plan = planGrowth({ operator: 'msg', source: base.config, target: { ...wide, num_hidden_layers: 3 } });
    const shape = { ...base, config: plan.target, masks: maskShape(plan.masks!, plan.target) };
    using session = new TrainingSession(shape);
    grown(plan)(session);
    const together = plan.masks!.map((mask) => ({ ...mask, start: 0, end: 1 }));
    session.setMasks(maskVectors(together, plan.target, 0.4) as Record<string, Float64Array>);
    session.gradient(batch, 0);
    for (const name of [
      'model.layers.1.mlp.down_proj.weight',
      'model.layers.2.self_attn.k_proj.weight',
      'model.norm.weight',
    ]) {
      const gradient = Float64Array.from(session.gradientOf(name)!);
      const values = session.parameter(name);
      const place = gradient.indexOf(gradient.reduce((best, g) => (Math.abs(g) > Math.abs(best) ? g : best), 0));
      const before = values[place]!;
      const lossAt = (step: number): number => {
        values[place] = before + step;
        return Float64Array.from(session.evaluate(batch)).reduce((sum, loss, i) => sum + loss * batch.weights[i]!, 0);
      };
      const slope = (lossAt(1e-5) - lossAt(-1e-5)) / 2e-5;
      values[place] = before;
      expect(Math.abs(slope - gradient[place]!) / Math.abs(slope), name).toBeLessThan(1e-6);
    }
  });
});
