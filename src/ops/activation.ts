import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, Value } from './types.js';

/** Nonlinearities of feed-forward layers; `gelu` is exact (erf), `gelu_tanh` its approximation by tanh. The order is that of the C kernels. */
export const ACTIVATIONS = ['gelu', 'gelu_tanh', 'silu', 'relu'] as const;
export type ActivationKind = (typeof ACTIVATIONS)[number];

export interface ActivationAttributes {
  readonly kind: ActivationKind;
}

/**
 * A nonlinearity of every element: y = f(x).
 *
 * gelu: x (1 + erf(x / sqrt 2)) / 2; gelu_tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2; silu: x / (1 + e^-x); relu: max(x, 0).
 * Shapes: x and y [N, F]. Source: Hendrycks and Gimpel, arXiv 1606.08415.
 */
export const activationRule: OpRule<ActivationAttributes> = {
  name: 'activation',
  infer(inputs) {
    requireShapes(inputs.length === 1 && at(inputs, 0).shape.length === 2, 'activation', 'x [N, F]', inputs);
    return [at(inputs, 0)];
  },
  inPlace: [[0, 0]],
  backward({ context, inputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined || sinks[0] === undefined) return { gradients: [undefined] };
    return { gradients: [at(context.apply(activationBackwardRule, [dy, at(inputs, 0)], attributes, [sinks[0]]), 0)] };
  },
};

export const activation = (context: Context, x: Value, kind: ActivationKind): Value =>
  at(context.apply(activationRule, [x], { kind }), 0);

/** Gradient of a nonlinearity: dx = dy * f'(x). Shapes: dy, x and dx [N, F]. */
export const activationBackwardRule: OpRule<ActivationAttributes> = {
  name: 'activationBackward',
  infer(inputs) {
    requireShapes(inputs.length === 2, 'activationBackward', 'dy and x', inputs);
    return [at(inputs, 1)];
  },
  inPlace: [
    [0, 0],
    [0, 1],
  ],
};

/**
 * Gated linear unit with any nonlinearity: y = f(gate) * up. With silu, `swiglu` is the same and faster.
 *
 * Shapes: gateUp [N, 2F] with the gate's F columns first, y [N, F]. Source: Shazeer, arXiv 2002.05202, equation 6.
 */
export const gatedActivationRule: OpRule<ActivationAttributes> = {
  name: 'gatedActivation',
  infer(inputs) {
    const [gateUp] = inputs;
    requireShapes(gateUp?.shape.length === 2 && size(gateUp, 1) % 2 === 0, 'gatedActivation', 'gateUp [N, 2F]', inputs);
    return [{ dtype: gateUp.dtype, shape: [size(gateUp, 0), size(gateUp, 1) / 2] }];
  },
  backward({ context, inputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined || sinks[0] === undefined) return { gradients: [undefined] };
    const operands = [dy, at(inputs, 0)];
    return { gradients: [at(context.apply(gatedActivationBackwardRule, operands, attributes, [sinks[0]]), 0)] };
  },
};

export const gatedActivation = (context: Context, gateUp: Value, kind: ActivationKind): Value =>
  at(context.apply(gatedActivationRule, [gateUp], { kind }), 0);

/** Gradient of the gated unit: dGate = dy * up * f'(gate), dUp = dy * f(gate). Shapes: dy [N, F], gateUp and the result [N, 2F]. */
export const gatedActivationBackwardRule: OpRule<ActivationAttributes> = {
  name: 'gatedActivationBackward',
  infer(inputs) {
    requireShapes(
      inputs.length === 2 && size(at(inputs, 0), 1) * 2 === size(at(inputs, 1), 1),
      'gatedActivationBackward',
      'dy [N, F], gateUp [N, 2F]',
      inputs,
    );
    return [at(inputs, 1)];
  },
  inPlace: [[0, 1]],
};
