import { at, requireShapes } from './check.js';
import type { AttentionAttributes } from './attention.js';
import { packedWidth } from './rotary.js';
import type { Context, OpRule, TensorType, Value } from './types.js';

/**
 * What a tile of query rows sees, as it lies in a row of the tiles' tensor.
 *
 * Rows `first` to `first + count - 1` see the key rows from `prefixStart` to `prefixEnd` (exclusive) and, row `first + j`, those from `ownStart` to
 * `ownLast + j` (inclusive). A tile with `count` 0 ends the list.
 */
export const TILE_FIELDS = ['first', 'count', 'prefixStart', 'prefixEnd', 'ownStart', 'ownLast'] as const;

/** Query rows in one tile at most: enough to share loads of keys, few enough to spread over threads. */
export const TILE_ROWS = 32;

const isTiles = (type: TensorType | undefined): boolean =>
  type?.dtype === 'i32' && type.shape.length === 2 && type.shape[1] === TILE_FIELDS.length;

/**
 * Attention over packed rows of several sequences, each row seeing what its tile says; rows of no tile are left undefined.
 *
 * So texts of any length lie side by side without padding, and continuations of one context share its keys. Without gradient.
 * Shapes: qkv [N, (heads + 2 kvHeads) * headDim], tiles i32 [M, 6], y [N, heads * headDim].
 */
export const packedAttentionRule: OpRule<AttentionAttributes> = {
  name: 'packedAttention',
  infer(inputs, attributes) {
    const [qkv, tiles] = inputs;
    requireShapes(
      inputs.length === 2 && qkv?.shape[1] === packedWidth(attributes) && isTiles(tiles),
      'packedAttention',
      'packed rows and tiles i32 [M, 6]',
      inputs,
    );
    return [{ dtype: qkv.dtype, shape: [at(qkv.shape, 0), attributes.heads * attributes.headDim] }];
  },
};

/** Attention over packed rows; see the rule. */
export const packedAttention = (context: Context, qkv: Value, tiles: Value, attributes: AttentionAttributes): Value =>
  at(context.apply(packedAttentionRule, [qkv, tiles], attributes), 0);

/**
 * Attention over a cache of keys and values, into which the rows' own are written first.
 *
 * Tiles count rows of the cache as keys; row i of qkv is written to row `rows[i]` of the cache, to none where that is negative.
 * Shapes: qkv [N, (heads + 2 kvHeads) * headDim], cache [2, kvHeads, R, headDim] (keys, then values; rows of a
 * head follow each other, as that is how they are read), rows i32 [N], tiles i32 [M, 6];
 * outputs y [N, heads * headDim] and the cache, in place.
 */
export const cachedAttentionRule: OpRule<AttentionAttributes> = {
  name: 'cachedAttention',
  infer(inputs, attributes) {
    const [qkv, cache, rows, tiles] = inputs;
    const fits =
      qkv?.shape[1] === packedWidth(attributes) &&
      cache?.shape.length === 4 &&
      cache.shape[0] === 2 &&
      cache.shape[1] === attributes.kvHeads &&
      cache.shape[3] === attributes.headDim &&
      cache.dtype === qkv.dtype &&
      rows?.dtype === 'i32' &&
      rows.shape[0] === qkv.shape[0] &&
      isTiles(tiles);
    requireShapes(fits, 'cachedAttention', 'packed rows, cache, rows i32 [N] and tiles i32 [M, 6]', inputs);
    return [
      { dtype: at(inputs, 0).dtype, shape: [at(at(inputs, 0).shape, 0), attributes.heads * attributes.headDim] },
      at(inputs, 1),
    ];
  },
  inPlace: [[1, 1]],
};

/** Attention over a cache, which is written in place; see the rule. */
export function cachedAttention(
  context: Context,
  qkv: Value,
  cache: { memory: Value; rows: Value; tiles: Value },
  attributes: AttentionAttributes,
): Value {
  const { memory, rows, tiles } = cache;
  return at(
    context.apply(cachedAttentionRule, [qkv, memory, rows, tiles], attributes, [undefined, { into: memory }]),
    0,
  );
}
