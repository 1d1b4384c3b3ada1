import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, TensorType, Value } from './types.js';

export interface LayerNormAttributes {
  /** Added to the variance (`layer_norm_eps`). */
  readonly eps: number;
}

/**
 * Layer norm: y = (x - mean) * rstd * w + b with rstd = 1 / sqrt(variance + eps), the variance being the biased one.
 *
 * Shapes: x [N, D], w and b [D], y [N, D], mean and rstd [N]. Source: Ba et al., arXiv 1607.06450, equation 4.
 */
export const layerNormRule: OpRule<LayerNormAttributes> = {
  name: 'layerNorm',
  infer(inputs) {
    const [x, w, b] = inputs;
    const fits = x?.shape.length === 2 && [w, b].every((t) => t?.shape.length === 1 && t.shape[0] === x.shape[1]);
    requireShapes(inputs.length === 3 && fits, 'layerNorm', 'x [N, D], w [D] and b [D]', inputs);
    const rows: TensorType = { dtype: at(inputs, 0).dtype === 'f64' ? 'f64' : 'f32', shape: [size(at(inputs, 0), 0)] };
    return [at(inputs, 0), rows, rows];
  },
  backward({ context, inputs, outputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined) return { gradients: [undefined, undefined, undefined] };
    const weightGradient = sinks[1] !== undefined || sinks[2] !== undefined;
    const operands = [dy, at(inputs, 0), at(inputs, 1), at(outputs, 1), at(outputs, 2)];
    const [dx, dw, db] = context.apply(layerNormBackwardRule, operands, { ...attributes, weightGradient }, sinks);
    return { gradients: [sinks[0] && dx, sinks[1] && dw, sinks[2] && db] };
  },
};

export const layerNorm = (context: Context, x: Value, w: Value, b: Value, eps: number): Value =>
  at(context.apply(layerNormRule, [x, w, b], { eps }), 0);

/** Rows in one partial sum of the weight gradients: fixed, so that the result does not depend on threads. */
export const LAYER_NORM_CHUNK_ROWS = 64;

/**
 * Gradients of the layer norm.
 *
 * With n = (x - mean) * rstd and h = dy * w: dx = rstd * (h - mean(h) - n * mean(h * n)); dw = sum over rows of dy * n, db of dy.
 * Shapes: dy, x [N, D], w [D], mean and rstd [N]; dx [N, D] and, if asked for, dw and db [D].
 */
export const layerNormBackwardRule: OpRule<LayerNormAttributes & { readonly weightGradient: boolean }> = {
  name: 'layerNormBackward',
  infer(inputs, { weightGradient }) {
    requireShapes(inputs.length === 5, 'layerNormBackward', 'dy, x, w, mean and rstd', inputs);
    const [x, w] = [at(inputs, 1), at(inputs, 2)];
    return weightGradient ? [x, w, w] : [x];
  },
  workspaceBytes(inputs, { weightGradient }) {
    const x = at(inputs, 1);
    return weightGradient ? Math.ceil(size(x, 0) / LAYER_NORM_CHUNK_ROWS) * size(x, 1) * 2 * 4 : 0;
  },
  inPlace: [[0, 0]],
  accumulates: [0, 1, 2],
};
