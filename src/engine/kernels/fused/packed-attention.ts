import { at, packedWidth, size, type AttentionAttributes } from '../../../ops/index.js';
import type { FusedKernel, TensorMemory } from '../types.js';
import { all, prepare, type Cell } from './arguments.js';

const BYTES = 4n;

/** Windows that hide nothing are served; bounded scores and narrower windows are left to libtorch. */
const served = ({ window, softcap }: AttentionAttributes, keyRows: number): boolean =>
  softcap === undefined && (window ?? keyRows) >= keyRows;

interface Operands {
  readonly qkv: TensorMemory;
  readonly keys: Cell;
  readonly values: Cell;
  /** Elements from a key to that of the next row, and of the next kv head. */
  readonly keyStrides: readonly [number, number];
  readonly tiles: TensorMemory;
  readonly y: TensorMemory;
}

function attend({ qkv, keys, values, keyStrides, tiles, y }: Operands, attributes: AttentionAttributes): () => void {
  const { heads, kvHeads, headDim, scale } = attributes;
  const sizes = [packedWidth(attributes), ...keyStrides, size(tiles.type, 0), heads, kvHeads, headDim];
  return prepare('packedAttention', [qkv, keys, values, y, tiles, ...sizes], [scale]);
}

export const packedAttention: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', outputs) || !served(attributes, size(at(inputs, 0).type, 0))) return undefined;
  const [qkv, tiles, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const { heads, kvHeads, headDim } = attributes;
  const keys = qkv.address + BigInt(heads * headDim) * BYTES;
  const values = keys + BigInt(kvHeads * headDim) * BYTES;
  return attend({ qkv, keys, values, keyStrides: [packedWidth(attributes), headDim], tiles, y }, attributes);
};

export const cachedAttention: FusedKernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  if (!all('f32', outputs) || !served(attributes, size(at(inputs, 1).type, 2))) return undefined;
  const [qkv, rows, tiles] = [at(inputs, 0), at(inputs, 2), at(inputs, 3)];
  const [y, cache] = [at(outputs, 0), at(outputs, 1)];
  const { heads, kvHeads, headDim } = attributes;
  const cacheRows = size(cache.type, 2);
  const sizes = [size(qkv.type, 0), packedWidth(attributes), heads * headDim, 2 * kvHeads, headDim, cacheRows];
  const store = prepare('storeKeys', [qkv, cache, rows, ...sizes]);
  const values = cache.address + BigInt(kvHeads * cacheRows * headDim) * BYTES;
  const keyStrides = [headDim, cacheRows * headDim] as const;
  const attention = attend({ qkv, keys: cache, values, keyStrides, tiles, y }, attributes);
  return () => {
    store();
    attention();
  };
};
