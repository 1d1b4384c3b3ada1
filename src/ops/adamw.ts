import { at, requireShapes } from './check.js';
import type { Context, OpRule, Value } from './types.js';

export interface AdamWAttributes {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

/** What changes from step to step, in the order in which it lies in the f64 input of the update. */
export const ADAMW_SCALARS = ['learningRate', 'gradientScale', 'biasCorrection1', 'biasCorrection2'] as const;

/** The scalar behind those: the learning rate of entries that a mask names. */
export const NEW_ENTRIES_RATE = ADAMW_SCALARS.length;

/**
 * One AdamW step over a range of an arena, in place.
 *
 * g' = g * gradientScale; m = b1 m + (1 - b1) g'; v = b2 v + (1 - b2) g'^2; p = p - lr * ((m / c1) / (sqrt(v / c2) + eps) + decay * p), c = 1 - b^t.
 * With a mask, lr is (1 - mask) * learningRate + mask * (the fifth scalar) for each entry: new entries of a grown model can have a rate of
 * their own (SPARKLING, arXiv 2602.02472).
 * Inputs: p, g, m, v of one shape and type, scalars f64 [4]; or with scalars f64 [5] and a mask like p. Outputs: p, m, v. Source: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with decay times lr as PyTorch has it.
 */
export const adamwRule: OpRule<AdamWAttributes> = {
  name: 'adamw',
  infer(inputs) {
    const [p, , m, v, scalars, mask] = inputs;
    const wanted = ADAMW_SCALARS.length + (mask === undefined ? 0 : 1);
    requireShapes(
      (inputs.length === 5 || inputs.length === 6) && scalars?.dtype === 'f64' && at(scalars.shape, 0) >= wanted,
      'adamw',
      `p, g, m, v, scalars f64 [${wanted}] and perhaps a mask`,
      inputs,
    );
    return [p, m, v].map((type, i) => type ?? at(inputs, i));
  },
  inPlace: [
    [0, 0],
    [1, 2],
    [2, 3],
  ],
};

/** Applies one AdamW step to a range; parameters and moments are written where they lie. */
export function adamw(
  context: Context,
  range: { p: Value; g: Value; m: Value; v: Value; mask?: Value | undefined },
  scalars: Value,
  attributes: AdamWAttributes,
): void {
  const { p, g, m, v, mask } = range;
  const inputs = mask === undefined ? [p, g, m, v, scalars] : [p, g, m, v, scalars, mask];
  context.apply(adamwRule, inputs, attributes, [{ into: p }, { into: m }, { into: v }]);
}

/** Elements in one partial sum of a norm: fixed, so that the result does not depend on threads. */
export const NORM_CHUNK = 1 << 14;

/** Sum of squares in f64: y = sum x^2, in chunks of fixed size that are added in order. Shapes: x any, y f64 [1]. */
export const squaredNormRule: OpRule<object> = {
  name: 'squaredNorm',
  infer(inputs) {
    requireShapes(inputs.length === 1, 'squaredNorm', 'one tensor', inputs);
    return [{ dtype: 'f64', shape: [1] }];
  },
  workspaceBytes: ([x]) => (x ? Math.ceil(x.shape.reduce((a, b) => a * b, 1) / NORM_CHUNK) * 8 : 0),
  accumulates: [0],
};

export const squaredNorm = (context: Context, x: Value, into?: Value): Value =>
  at(context.apply(squaredNormRule, [x], {}, [{ into }]), 0);
