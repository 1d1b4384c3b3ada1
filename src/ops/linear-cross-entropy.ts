import { at, requireShapes, size } from './check.js';
import { GRADIENT_SEED } from './seed.js';
import { ShapeError, type Context, type OpRule, type ProductAttributes, type TensorType, type Value } from './types.js';

/** Bytes that one chunk of logits may take: small enough for a core's cache share, large enough for the GEMM. */
const CHUNK_BYTES = 16 << 20;
const MIN_CHUNK_ROWS = 256;

/** Rows whose logits exist at one time, a function of the sizes alone so that results do not depend on the machine. */
export const chunkRows = (rows: number, vocabulary: number): number =>
  Math.min(rows, Math.max(MIN_CHUNK_ROWS, Math.floor(CHUNK_BYTES / (4 * vocabulary) / 64) * 64));

const logitsBytes = ([x, w]: readonly TensorType[]): number =>
  x && w ? chunkRows(size(x, 0), size(w, 0)) * size(w, 0) * (x.dtype === 'f64' ? 8 : 4) : 0;

export interface LogitAttributes extends ProductAttributes {
  /** Logits are bounded to cap * tanh(z / cap) (`final_logit_softcapping`); as they are where left out. */
  readonly softcap?: number | undefined;
}

/**
 * Head and cross-entropy in one op: per-row losses of softmax(x w^T) and their weighted sum.
 *
 * losses[i] = log sum_j exp(z_ij) - z_i,target with z = x w^T, 0 where the target is negative (ignored); total = sum_i weights[i] * losses[i].
 * Logits exist for one chunk of rows at a time. Shapes: x [N, D], w [V, D], targets i32 [N], weights [N] (f32, or f64 with x); total [1], losses [N].
 */
export const linearCrossEntropyRule: OpRule<LogitAttributes> = {
  name: 'linearCrossEntropy',
  infer(inputs) {
    const [x, w, targets, weights] = inputs;
    const fits =
      x?.shape[1] === w?.shape[1] &&
      targets?.dtype === 'i32' &&
      targets.shape[0] === x?.shape[0] &&
      weights?.shape[0] === x?.shape[0];
    requireShapes(fits, 'linearCrossEntropy', 'x [N, D], w [V, D], targets i32 [N], weights [N]', inputs);
    return lossTypes(inputs);
  },
  workspaceBytes: logitsBytes,
  mixedPrecision: true,
  flops: ([x, w]) => (x && w ? 2 * size(x, 0) * size(x, 1) * size(w, 0) : 0),
  backward({ context, inputs, attributes, gradients, sinks }) {
    if (gradients[0] !== GRADIENT_SEED)
      throw new ShapeError('linearCrossEntropy: its total has to be (a summand of) the loss that backward starts from');
    const weightGradient = sinks[1] !== undefined;
    const destinations = [undefined, undefined, sinks[0], sinks[1]];
    const [total, losses, dx, dw] = context.apply(
      linearCrossEntropyBackwardRule,
      inputs,
      { ...attributes, weightGradient },
      destinations,
    );
    return { gradients: [sinks[0] && dx, dw, undefined, undefined], replaces: [total, losses] };
  },
};

const lossTypes = (inputs: readonly TensorType[]): TensorType[] => {
  const dtype = at(inputs, 0).dtype === 'f64' ? 'f64' : 'f32';
  return [
    { dtype, shape: [1] },
    { dtype, shape: [size(at(inputs, 0), 0)] },
  ];
};

/**
 * Loss and gradients of head and cross-entropy in one pass over chunks of rows, so that no logits are computed twice.
 *
 * dz = weights[i] * (softmax(z) - onehot(target)); dx = dz w; dw = dz^T x. Outputs: total [1], losses [N], dx [N, D] and, if asked for, dw [V, D].
 */
export const linearCrossEntropyBackwardRule: OpRule<LogitAttributes & { readonly weightGradient: boolean }> = {
  name: 'linearCrossEntropyBackward',
  infer(inputs, { weightGradient }) {
    requireShapes(inputs.length === 4, 'linearCrossEntropyBackward', 'x, w, targets and weights', inputs);
    return [...lossTypes(inputs), at(inputs, 0), ...(weightGradient ? [at(inputs, 1)] : [])];
  },
  /** Bounded logits need their slopes beside them. */
  workspaceBytes: (inputs, { softcap }) => logitsBytes(inputs) * (softcap === undefined ? 1 : 2),
  flops: ([x, w], { weightGradient }) => (x && w ? (weightGradient ? 6 : 4) * size(x, 0) * size(x, 1) * size(w, 0) : 0),
  accumulates: [3],
  mixedPrecision: true,
};

/** Weighted sum of the rows' cross-entropies, and each of them. */
export function linearCrossEntropy(
  context: Context,
  x: Value,
  w: Value,
  targets: Value,
  weights: Value,
  attributes: LogitAttributes = {},
): { total: Value; losses: Value } {
  const [total, losses] = context.apply(linearCrossEntropyRule, [x, w, targets, weights], attributes);
  return { total: total as Value, losses: losses as Value };
}
