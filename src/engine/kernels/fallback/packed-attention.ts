import { at, dtypeBytes, packedWidth, size, TILE_FIELDS, type AttentionAttributes } from '../../../ops/index.js';
import { attentionForward, copy } from '../../libtorch/products.js';
import { dataPointer, emptyStrided, release } from '../../libtorch/tensors.js';
import { system } from '../../system.js';
import type { Kernel, TensorMemory } from '../types.js';
import { Aten } from './aten.js';
import { attendBounded } from './limited-attention.js';

/** Keys and values as they lie in memory: first element of either, elements from row to row and from head to head, rows. */
interface KeyMemory {
  readonly tensor: TensorMemory;
  readonly offset: number;
  readonly valueOffset: number;
  readonly stride: number;
  readonly headStride: number;
  readonly rows: number;
}

/** Attention with a mask that says what each row sees: every row is computed against every key. */
function attend(
  qkv: TensorMemory,
  keys: KeyMemory,
  tiles: TensorMemory,
  y: TensorMemory,
  attributes: AttentionAttributes,
): void {
  const { heads, kvHeads, headDim, scale, softcap, window } = attributes;
  const [rows, width, group] = [size(qkv.type, 0), packedWidth(attributes), heads / kvHeads];
  const wide = qkv.type.dtype === 'f64';
  const values = maskOf(readInts(tiles), rows, keys.rows, wide, window);
  const mask = emptyStrided(wide ? 'f64' : 'f32', [rows, keys.rows]);
  system().memcpy(dataPointer(mask), values, values.byteLength);
  const kvShape = [1, kvHeads, keys.rows, headDim];
  const kvStrides = [0, keys.headStride, keys.stride, 1];
  const key = keys.tensor.stridedHandle(kvShape, kvStrides, keys.offset);
  const value = keys.tensor.stridedHandle(kvShape, kvStrides, keys.valueOffset);
  for (let member = 0; member < group; member++) {
    const shape = [1, kvHeads, rows, headDim];
    const query = qkv.stridedHandle(shape, [0, group * headDim, width, 1], member * headDim);
    if (softcap !== undefined) {
      using aten = new Aten();
      const output = attendBounded(aten, { query, key, value, mask }, { scale, softcap });
      copy(y.stridedHandle(shape, [0, group * headDim, heads * headDim, 1], member * headDim), output);
      continue;
    }
    const result = attentionForward(query, key, value, { causal: false, scale, mask });
    copy(y.stridedHandle(shape, [0, group * headDim, heads * headDim, 1], member * headDim), result.output);
    release(result.output);
    release(result.logSumExp);
  }
  release(mask);
}

/**
 * 0 where a row sees a key, else minus infinity. A row of no tile sees the first key, so that nothing is divided by zero.
 *
 * With a window a row sees the last so many of its keys only: its own, and what is left of those of the prefix.
 */
function maskOf(
  tiles: Int32Array,
  rows: number,
  keys: number,
  wide: boolean,
  window = Infinity,
): Float32Array | Float64Array {
  const mask = new (wide ? Float64Array : Float32Array)(rows * keys).fill(-Infinity);
  for (let row = 0; row < rows; row++) mask[row * keys] = 0;
  for (let tile = 0; tile < tiles.length; tile += TILE_FIELDS.length) {
    const [first = 0, count = 0, prefixStart = 0, prefixEnd = 0, ownStart = 0, ownLast = 0] = tiles.subarray(tile);
    if (count === 0) break;
    for (let j = 0; j < count; j++) {
      const row = (first + j) * keys;
      mask[row] = -Infinity;
      const own = Math.min(window, ownLast + j + 1 - ownStart);
      mask.fill(0, row + Math.max(prefixStart, prefixEnd - (window - own)), row + prefixEnd);
      mask.fill(0, row + ownLast + j + 1 - own, row + ownLast + j + 1);
    }
  }
  return mask;
}

function readInts({ type, address }: TensorMemory): Int32Array {
  const values = new Int32Array(type.shape.reduce((product, length) => product * length, 1));
  system().memcpy(values, address, values.byteLength);
  return values;
}

export const packedAttention: Kernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  const [qkv, tiles, y] = [at(inputs, 0), at(inputs, 1), at(outputs, 0)];
  const { heads, kvHeads, headDim } = attributes;
  const [offset, valueOffset] = [heads * headDim, (heads + kvHeads) * headDim];
  const strides = { stride: packedWidth(attributes), headStride: headDim };
  const keys = { tensor: qkv, offset, valueOffset, ...strides, rows: size(qkv.type, 0) };
  return () => attend(qkv, keys, tiles, y, attributes);
};

export const cachedAttention: Kernel<AttentionAttributes> = ({ inputs, outputs, attributes }) => {
  const [qkv, rows, tiles] = [at(inputs, 0), at(inputs, 2), at(inputs, 3)];
  const [y, cache] = [at(outputs, 0), at(outputs, 1)];
  const { heads, kvHeads, headDim } = attributes;
  const [width, cacheRows, bytes] = [packedWidth(attributes), size(cache.type, 2), dtypeBytes[cache.type.dtype]];
  const headStride = cacheRows * headDim;
  const keys = {
    tensor: cache,
    offset: 0,
    valueOffset: kvHeads * headStride,
    stride: headDim,
    headStride,
    rows: cacheRows,
  };
  return () => {
    readInts(rows).forEach((row, i) => {
      for (let head = 0; row >= 0 && head < 2 * kvHeads; head++) {
        const from = qkv.address + BigInt((i * width + (heads + head) * headDim) * bytes);
        const to = cache.address + BigInt((head * headStride + row * headDim) * bytes);
        system().memcpy(to, from, headDim * bytes);
      }
    });
    attend(qkv, keys, tiles, y, attributes);
  };
};
