import { InputError } from '../../errors.js';

/** Bytes of one element of every type that a safetensors file may hold. */
export const storedDtypeBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

/** Element types by their safetensors names. */
export type StoredDType = keyof typeof storedDtypeBytes;

/** Types that hold weights and can be converted. */
export type FloatDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'F8_E4M3' | 'F8_E5M2';

const floatNames: Readonly<Record<string, FloatDType>> = {
  f64: 'F64',
  float64: 'F64',
  f32: 'F32',
  float32: 'F32',
  f16: 'F16',
  float16: 'F16',
  bf16: 'BF16',
  bfloat16: 'BF16',
  f8_e4m3: 'F8_E4M3',
  f8_e5m2: 'F8_E5M2',
};

export const isStoredDType = (name: string): name is StoredDType => Object.hasOwn(storedDtypeBytes, name);

export const isFloatDType = (dtype: StoredDType): dtype is FloatDType => dtype.startsWith('F') || dtype === 'BF16';

/**
 * Parses a type as people write it: `f32`, `bf16`, `float16`, `f8_e4m3` ...
 *
 * @throws InputError naming the types there are.
 */
export function parseFloatDType(name: string): FloatDType {
  const dtype = floatNames[name.toLowerCase()];
  if (dtype === undefined)
    throw new InputError(`Unknown dtype "${name}"; use f32, f16, bf16, f64, f8_e4m3 or f8_e5m2.`);
  return dtype;
}

/** `torch_dtype` as config.json writes it: the type that transformers computes in, which cannot be f8. */
export const torchDtypeName: Readonly<Record<FloatDType, string>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F8_E4M3: 'bfloat16',
  F8_E5M2: 'bfloat16',
};
