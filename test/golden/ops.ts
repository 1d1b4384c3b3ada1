import { readFileSync } from 'node:fs';

/** How an input of a golden case is made: from a seed, or from values. */
export interface InputSpec {
  readonly dtype: 'float' | 'f64' | 'i32';
  readonly shape: readonly number[];
  readonly seed?: number;
  readonly low?: number;
  readonly high?: number;
  readonly modulus?: number;
  readonly ignoreEvery?: number;
  readonly values?: readonly number[];
}

/** Every `stride`-th element of a tensor. */
export interface StoredElements {
  readonly shape: readonly number[];
  readonly stride: number;
  readonly values: readonly number[];
}

/** One application of an op, computed by PyTorch in float64. */
export interface OpCase {
  readonly name: string;
  readonly op: string;
  readonly attributes: object;
  readonly inputs: readonly InputSpec[];
  readonly outputs: readonly StoredElements[];
  /** Gradient of output 0; left out where it is the loss. */
  readonly dy?: InputSpec;
  /** One per input, null where none was asked for. */
  readonly gradients?: readonly (StoredElements | null)[];
}

export const OP_FAMILIES = [
  'elementwise',
  'embedding',
  'matmul',
  'rms_norm',
  'layer_norm',
  'query_key_norm',
  'rotary',
  'activation',
  'swiglu',
  'affine',
  'attention',
  'limited_attention',
  'document_attention',
  'loss',
  'bounded_loss',
  'optimizer',
  'growth',
] as const;

/** The cases of a family, written by ops_golden.py. */
export const readOpCases = (family: (typeof OP_FAMILIES)[number]): OpCase[] =>
  JSON.parse(readFileSync(new URL(`./ops/${family}.json`, import.meta.url), 'utf8')) as OpCase[];

/** The values that a specification stands for, by the formula of ops_golden.py. */
export function valuesOf(spec: InputSpec): number[] {
  if (spec.values) return [...spec.values];
  const count = spec.shape.reduce((product, n) => product * n, 1);
  return Array.from({ length: count }, (_, i) => {
    const bits = mix(i + (spec.seed ?? 0) * 1_000_003 + 1);
    if (spec.modulus !== undefined)
      return spec.ignoreEvery !== undefined && i % spec.ignoreEvery === 0 ? -1 : bits % spec.modulus;
    const { low = -1, high = 1 } = spec;
    return Math.fround(low + ((high - low) * (bits >>> 8)) / 2 ** 24);
  });
}

/** Multiplications and shifts of murmur3's finaliser. */
function mix(index: number): number {
  let h = index >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
