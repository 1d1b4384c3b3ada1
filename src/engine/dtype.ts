import type { DType } from '../ops/types.js';

/** JavaScript's view of each element type: bf16 as its 16 bits, bool as bytes. */
export const arrayTypes = {
  f64: Float64Array,
  f32: Float32Array,
  bf16: Uint16Array,
  i64: BigInt64Array,
  i32: Int32Array,
  bool: Uint8Array,
} as const satisfies Record<DType, unknown>;

export type ElementArray = Float64Array | Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

/** Rounds to bfloat16, ties to even, as libtorch does; NaN stays NaN. Returns the 16 bits of each value. */
export function toBfloat16(values: ArrayLike<number>): Uint16Array {
  const floats = Float32Array.from(values);
  const words = new Uint32Array(floats.buffer);
  return Uint16Array.from(words, (word, i) => {
    if (Number.isNaN(floats[i])) return 0x7fc0;
    return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  });
}

/** The values of bfloat16 bits. */
export function fromBfloat16(bits: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
}
