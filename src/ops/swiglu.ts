import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, Value } from './types.js';

/**
 * Gated linear unit with SiLU: y = silu(gate) * up.
 *
 * Shapes: gateUp [N, 2F] with the gate's F columns first, y [N, F]. Source: Shazeer, arXiv 2002.05202, equation 6.
 */
export const swigluRule: OpRule<object> = {
  name: 'swiglu',
  infer(inputs) {
    const [gateUp] = inputs;
    requireShapes(gateUp?.shape.length === 2 && size(gateUp, 1) % 2 === 0, 'swiglu', 'gateUp [N, 2F]', inputs);
    const { dtype, shape } = at(inputs, 0);
    return [{ dtype, shape: [at(shape, 0), at(shape, 1) / 2] }];
  },
  backward({ context, inputs, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined || sinks[0] === undefined) return { gradients: [undefined] };
    return { gradients: [at(context.apply(swigluBackwardRule, [dy, at(inputs, 0)], {}, [sinks[0]]), 0)] };
  },
};

export const swiglu = (context: Context, gateUp: Value): Value => at(context.apply(swigluRule, [gateUp], {}), 0);

/**
 * Gradient of the gated unit, with s = sigmoid(gate): dGate = dy * up * s * (1 + gate * (1 - s)), dUp = dy * gate * s.
 *
 * Shapes: dy [N, F], gateUp and the result [N, 2F].
 */
export const swigluBackwardRule: OpRule<object> = {
  name: 'swigluBackward',
  infer(inputs) {
    requireShapes(
      inputs.length === 2 && size(at(inputs, 0), 1) * 2 === size(at(inputs, 1), 1),
      'swigluBackward',
      'dy [N, F], gateUp [N, 2F]',
      inputs,
    );
    return [at(inputs, 1)];
  },
  inPlace: [[0, 1]],
};
