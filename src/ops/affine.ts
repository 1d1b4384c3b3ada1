import { deliver } from './add.js';
import { at, requireShapes } from './check.js';
import type { Context, OpRule, Value } from './types.js';

export interface AffineAttributes {
  readonly scale: number;
  readonly shift: number;
}

/** The same straight line for every element: y = scale * x + shift. Shapes: x any, y the same. */
export const affineRule: OpRule<AffineAttributes> = {
  name: 'affine',
  infer(inputs) {
    requireShapes(inputs.length === 1, 'affine', 'one tensor', inputs);
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  backward({ context, attributes: { scale }, gradients, sinks }) {
    const [dy] = gradients;
    const [sink] = sinks;
    if (dy === undefined || sink === undefined) return { gradients: [undefined] };
    if (scale === 1) return { gradients: [deliver(context, dy, sink)] };
    return { gradients: [at(context.apply(affineRule, [dy], { scale, shift: 0 }, [sink]), 0)] };
  },
};

export const affine = (context: Context, x: Value, { scale = 1, shift = 0 }: Partial<AffineAttributes>): Value =>
  at(context.apply(affineRule, [x], { scale, shift }), 0);

/**
 * Bounds every element smoothly: y = cap * tanh(x / cap). Shapes: x any, y the same.
 *
 * Without gradient: in training the cap is part of the loss and of attention. Source: Gemma 2, arXiv 2408.00118, section 2.
 */
export const softcapRule: OpRule<{ readonly cap: number }> = {
  name: 'softcap',
  infer(inputs) {
    requireShapes(inputs.length === 1, 'softcap', 'one tensor', inputs);
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
};

export const softcap = (context: Context, x: Value, cap: number): Value =>
  at(context.apply(softcapRule, [x], { cap }), 0);
