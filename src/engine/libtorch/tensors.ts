import { WorkError } from '../../errors.js';
import type { DType } from '../../ops/types.js';
import { libtorch } from './load.js';

/** A libtorch tensor that we own: the address of its C++ object. Every function that returns one gives it to the caller. */
export type Handle = bigint;

/** What a handle refers to. Sizes and strides count elements. */
export interface HandleInfo {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly address: bigint;
}

let live = 0;

/** Handles that were made and not deleted. */
export const liveHandles = (): number => live;

/** Counts a handle that a call made for us. */
export function owned(handle: bigint | undefined): Handle {
  live++;
  return handle ?? 0n;
}

/** Counts handles that a call took from us. */
export function consumed(count: number): void {
  live -= count;
}

const result = new BigUint64Array(1);
const number64 = new BigInt64Array(1);
const number32 = new Int32Array(1);

/**
 * Throws where a call failed, naming the op and what it was given.
 *
 * @throws WorkError with libtorch's own reason.
 */
export function check(status: number, op: string, handles: readonly Handle[] = []): void {
  if (status === 0) return;
  const reason = libtorch().reason();
  const given = handles.length === 0 ? '' : ` of ${handles.map(describe).join(', ')}`;
  throw new WorkError(`libtorch refused ${op}${given}: ${reason.replace(/\.$/, '')}.`);
}

function describe(handle: Handle): string {
  try {
    const { dtype, shape, strides } = info(handle);
    const plain = contiguousStrides(shape).every((stride, i) => stride === strides[i] || shape[i] === 1);
    return `${dtype}[${shape.join(', ')}]${plain ? '' : ` with strides [${strides.join(', ')}]`}`;
  } catch {
    return 'a tensor that cannot be described';
  }
}

/** Strides of a contiguous, row-major tensor, in elements. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, stride = 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i] ?? 1;
  }
  return strides;
}

const int64s = (values: readonly number[]): BigInt64Array => BigInt64Array.from(values, BigInt);

/** A tensor with memory of its own from libtorch, not initialised. */
export function emptyStrided(dtype: DType, shape: readonly number[], strides = contiguousStrides(shape)): Handle {
  const { calls, cpu, dtypeCodes } = libtorch();
  const code = dtypeCodes[dtype];
  const status = calls.aoti_torch_empty_strided(shape.length, int64s(shape), int64s(strides), code, cpu, 0, result);
  check(status, `empty_strided(${dtype}[${shape.join(', ')}])`);
  return owned(result[0]);
}

/** A tensor over memory that we own and that must outlive it. */
export function fromBlob(
  address: bigint,
  dtype: DType,
  shape: readonly number[],
  strides = contiguousStrides(shape),
): Handle {
  const { calls, cpu, dtypeCodes, strided } = libtorch();
  const status = calls.aoti_torch_create_tensor_from_blob_v2(
    address,
    shape.length,
    int64s(shape),
    int64s(strides),
    0,
    dtypeCodes[dtype],
    cpu,
    0,
    result,
    strided,
    null,
    0,
  );
  check(status, `from_blob(${dtype}[${shape.join(', ')}])`);
  return owned(result[0]);
}

/** A view of a tensor's memory with other sizes and strides; `offset` counts elements from the start of its storage. */
export function reinterpret(handle: Handle, shape: readonly number[], strides: readonly number[], offset = 0): Handle {
  const { calls } = libtorch();
  const [sizes, steps] = [int64s(shape), int64s(strides)];
  check(
    calls.aoti_torch__reinterpret_tensor(handle, shape.length, sizes, steps, offset, result),
    `a view as [${shape.join(', ')}] with strides [${strides.join(', ')}]`,
    [handle],
  );
  return owned(result[0]);
}

/** A second handle of the same tensor: what calls that consume their arguments are given. */
export function share(handle: Handle): Handle {
  check(libtorch().calls.aoti_torch_new_tensor_handle(handle, result), 'a second handle');
  return owned(result[0]);
}

/** Gives a handle back. */
export function release(handle: Handle): void {
  check(libtorch().calls.aoti_torch_delete_tensor_object(handle), 'delete');
  live--;
}

/** Where a tensor's first element is. */
export function dataPointer(handle: Handle): bigint {
  check(libtorch().calls.aoti_torch_get_data_ptr(handle, result), 'data_ptr');
  return result[0] ?? 0n;
}

/** Type, sizes, strides and address of a tensor. */
export function info(handle: Handle): HandleInfo {
  const { calls, dtypeCodes } = libtorch();
  check(calls.aoti_torch_get_dtype(handle, number32), 'dtype');
  const code = number32[0];
  const dtype = (Object.keys(dtypeCodes) as DType[]).find((name) => dtypeCodes[name] === code);
  if (dtype === undefined)
    throw new WorkError(`libtorch returned a tensor of an element type that Strata lacks (${code}).`);
  check(calls.aoti_torch_get_dim(handle, number64), 'dim');
  const dims = Array.from({ length: Number(number64[0]) }, (_, i) => i);
  const read = (get: typeof calls.aoti_torch_get_size, dim: number, name: string): number => {
    check(get(handle, dim, number64), name);
    return Number(number64[0]);
  };
  return {
    dtype,
    shape: dims.map((dim) => read(calls.aoti_torch_get_size, dim, 'size')),
    strides: dims.map((dim) => read(calls.aoti_torch_get_stride, dim, 'stride')),
    address: dataPointer(handle),
  };
}
