import { at, requireShapes, size } from './check.js';
import type { Context, OpRule, TensorType, Value } from './types.js';

export interface RmsNormAttributes {
  /** Added to the mean square (`rms_norm_eps`). */
  readonly eps: number;
}

/**
 * Root-mean-square norm: y = x * rstd * w with rstd = 1 / sqrt(mean(x^2) + eps).
 *
 * Shapes: x [N, D], w [D], y [N, D], rstd [N]. Source: Zhang and Sennrich 2019, equation 4.
 */
export const rmsNormRule: OpRule<RmsNormAttributes> = {
  name: 'rmsNorm',
  infer(inputs) {
    const [x, w] = inputs;
    requireShapes(
      x?.shape.length === 2 && w?.shape.length === 1 && x.shape[1] === w.shape[0],
      'rmsNorm',
      'x [N, D] and w [D]',
      inputs,
    );
    return [x as TensorType, { dtype: statisticsType(x as TensorType), shape: [size(x as TensorType, 0)] }];
  },
  backward({ context, inputs, outputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined) return { gradients: [undefined, undefined] };
    const weightGradient = sinks[1] !== undefined;
    const operands = [dy, at(inputs, 0), at(inputs, 1), at(outputs, 1)];
    const [dx, dw] = context.apply(rmsNormBackwardRule, operands, { ...attributes, weightGradient }, sinks);
    return { gradients: [sinks[0] && dx, dw] };
  },
};

const statisticsType = (x: TensorType) => (x.dtype === 'f64' ? 'f64' : 'f32');

export const rmsNorm = (context: Context, x: Value, w: Value, eps: number): Value =>
  at(context.apply(rmsNormRule, [x, w], { eps }), 0);

/** Rows in one partial sum of the weight gradient: fixed, so that the result does not depend on threads. */
export const RMS_NORM_CHUNK_ROWS = 64;

/**
 * Gradients of the root-mean-square norm.
 *
 * With h = dy * w: dx = rstd * (h - x * rstd^2 * mean(h * x)); dw = sum over rows of dy * x * rstd.
 * Shapes: dy, x [N, D], w [D], rstd [N]; dx [N, D] and, if asked for, dw [D].
 */
export const rmsNormBackwardRule: OpRule<RmsNormAttributes & { readonly weightGradient: boolean }> = {
  name: 'rmsNormBackward',
  infer(inputs, { weightGradient }) {
    requireShapes(inputs.length === 4, 'rmsNormBackward', 'dy, x, w and rstd', inputs);
    return weightGradient ? [at(inputs, 1), at(inputs, 2)] : [at(inputs, 1)];
  },
  workspaceBytes(inputs, { weightGradient }) {
    const x = at(inputs, 1);
    return weightGradient ? Math.ceil(size(x, 0) / RMS_NORM_CHUNK_ROWS) * size(x, 1) * 4 : 0;
  },
  inPlace: [[0, 0]],
  accumulates: [0, 1],
};
