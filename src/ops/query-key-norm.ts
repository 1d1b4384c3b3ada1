import { at, requireShapes, size } from './check.js';
import { packedWidth, type HeadLayout } from './rotary.js';
import type { Context, OpRule, TensorType, Value } from './types.js';

export interface QueryKeyNormAttributes extends HeadLayout {
  /** Added to the mean squares. */
  readonly eps: number;
}

/** Columns of queries and of keys in a packed row. */
export const queryKeyColumns = ({ heads, kvHeads, headDim }: HeadLayout): [query: number, key: number] => [
  heads * headDim,
  kvHeads * headDim,
];

const dividesInto = (weight: TensorType | undefined, columns: number): boolean =>
  weight?.shape.length === 1 && size(weight, 0) > 0 && columns % size(weight, 0) === 0;

/**
 * Root-mean-square norms of the queries and of the keys in packed rows; values pass unchanged.
 *
 * A norm spans as many columns as its gain has: one head (Qwen3) or all heads together (OLMo-2).
 * Shapes: qkv [N, (heads + 2 kvHeads) * headDim], wq and wk vectors, y as qkv, rstd [N, query norms + key norms of a row].
 * Source: Henry et al., arXiv 2010.04245 (normed queries and keys); Zhang and Sennrich 2019, equation 4.
 */
export const queryKeyNormRule: OpRule<QueryKeyNormAttributes> = {
  name: 'queryKeyNorm',
  infer(inputs, attributes) {
    const [qkv, wq, wk] = inputs;
    const [query, key] = queryKeyColumns(attributes);
    const fits = qkv?.shape[1] === packedWidth(attributes) && dividesInto(wq, query) && dividesInto(wk, key);
    requireShapes(inputs.length === 3 && fits, 'queryKeyNorm', 'packed rows and gains that divide q and k', inputs);
    const norms = query / size(at(inputs, 1), 0) + key / size(at(inputs, 2), 0);
    const { dtype, shape } = at(inputs, 0);
    return [at(inputs, 0), { dtype: dtype === 'f64' ? 'f64' : 'f32', shape: [at(shape, 0), norms] }];
  },
  inPlace: [[0, 0]],
  backward({ context, inputs, outputs, attributes, gradients, sinks }) {
    const [dy] = gradients;
    if (dy === undefined) return { gradients: [undefined, undefined, undefined] };
    const weightGradient = sinks[1] !== undefined || sinks[2] !== undefined;
    const operands = [dy, ...inputs, at(outputs, 1)];
    const [dx, dwq, dwk] = context.apply(queryKeyNormBackwardRule, operands, { ...attributes, weightGradient }, sinks);
    return { gradients: [sinks[0] && dx, sinks[1] && dwq, sinks[2] && dwk] };
  },
};

/** Norms of queries and keys in packed rows; see the rule. */
export const queryKeyNorm = (
  context: Context,
  qkv: Value,
  gains: { query: Value; key: Value },
  layout: HeadLayout,
  eps: number,
): Value => at(context.apply(queryKeyNormRule, [qkv, gains.query, gains.key], { ...layout, eps }), 0);

/** Rows in one partial sum of the weight gradients: fixed, so that the result does not depend on threads. */
export const QUERY_KEY_NORM_CHUNK_ROWS = 64;

/**
 * Gradients of the norms of queries and keys; per norm as of `rmsNorm`, summed over the norms that share a gain.
 *
 * Shapes: dy and qkv [N, (heads + 2 kvHeads) * headDim], gains, rstd; dqkv and, if asked for, the gradients of the gains.
 */
export const queryKeyNormBackwardRule: OpRule<QueryKeyNormAttributes & { readonly weightGradient: boolean }> = {
  name: 'queryKeyNormBackward',
  infer(inputs, { weightGradient }) {
    requireShapes(inputs.length === 5, 'queryKeyNormBackward', 'dy, qkv, wq, wk and rstd', inputs);
    const [qkv, wq, wk] = [at(inputs, 1), at(inputs, 2), at(inputs, 3)];
    return weightGradient ? [qkv, wq, wk] : [qkv];
  },
  workspaceBytes(inputs, { weightGradient }) {
    const [qkv, wq, wk] = [at(inputs, 1), at(inputs, 2), at(inputs, 3)];
    const chunks = Math.ceil(size(qkv, 0) / QUERY_KEY_NORM_CHUNK_ROWS);
    return weightGradient ? chunks * (size(wq, 0) + size(wk, 0)) * 4 : 0;
  },
  inPlace: [[0, 0]],
  accumulates: [1, 2],
};
