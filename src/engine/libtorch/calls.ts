import type { LibraryHandle } from 'koffi';

/** Anything a `void *` parameter takes: JavaScript memory (passed as it is), an address, or null. */
export type Pointer = bigint | BigInt64Array | BigUint64Array | Int32Array | Uint32Array | Float64Array | null;

/** Non-zero where a call failed; the reason is fetched only then. */
export type Status = number;

/** The functions of libtorch's stable C interface that Strata calls, as C declares them. `t` is a tensor handle. */
export interface Calls {
  aoti_torch_abi_version(): number | bigint;
  aoti_torch_dtype_float64(): number;
  aoti_torch_dtype_float32(): number;
  aoti_torch_dtype_bfloat16(): number;
  aoti_torch_dtype_int64(): number;
  aoti_torch_dtype_int32(): number;
  aoti_torch_dtype_bool(): number;
  aoti_torch_device_type_cpu(): number;
  aoti_torch_layout_strided(): number;

  aoti_torch_empty_strided(
    dims: number,
    sizes: Pointer,
    strides: Pointer,
    dtype: number,
    deviceType: number,
    deviceIndex: number,
    result: Pointer,
  ): Status;
  aoti_torch_create_tensor_from_blob_v2(
    data: bigint,
    dims: number,
    sizes: Pointer,
    strides: Pointer,
    offset: number,
    dtype: number,
    deviceType: number,
    deviceIndex: number,
    result: Pointer,
    layout: number,
    metadata: null,
    metadataSize: number,
  ): Status;
  aoti_torch__reinterpret_tensor(
    t: bigint,
    dims: number,
    sizes: Pointer,
    strides: Pointer,
    offset: number,
    result: Pointer,
  ): Status;
  aoti_torch_new_tensor_handle(t: bigint, result: Pointer): Status;
  aoti_torch_delete_tensor_object(t: bigint): Status;
  aoti_torch_get_data_ptr(t: bigint, result: Pointer): Status;
  aoti_torch_get_dim(t: bigint, result: Pointer): Status;
  aoti_torch_get_size(t: bigint, dim: number, result: Pointer): Status;
  aoti_torch_get_stride(t: bigint, dim: number, result: Pointer): Status;
  aoti_torch_get_dtype(t: bigint, result: Pointer): Status;
  aoti_torch_copy_(t: bigint, source: bigint, nonBlocking: number): Status;
  aoti_torch_zero_(t: bigint): Status;

  aoti_torch_cpu_mm_out(out: bigint, a: bigint, b: bigint): Status;
  aoti_torch_cpu_addmm_out(out: bigint, self: bigint, a: bigint, b: bigint, beta: number, alpha: number): Status;
  aoti_torch_cpu_bmm_out(out: bigint, a: bigint, b: bigint): Status;
  aoti_torch_cpu_baddbmm_out(out: bigint, self: bigint, a: bigint, b: bigint, beta: number, alpha: number): Status;
  aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
    query: bigint,
    key: bigint,
    value: bigint,
    dropout: number,
    causal: number,
    mask: Pointer,
    scale: Pointer,
    output: Pointer,
    logSumExp: Pointer,
  ): Status;
  aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward(
    gradOutput: bigint,
    query: bigint,
    key: bigint,
    value: bigint,
    output: bigint,
    logSumExp: bigint,
    dropout: number,
    causal: number,
    mask: Pointer,
    scale: Pointer,
    gradQuery: Pointer,
    gradKey: Pointer,
    gradValue: Pointer,
  ): Status;

  torch_call_dispatcher(op: string, overload: string, stack: Pointer, abiVersion: bigint): Status;
  torch_new_list_reserve_size(size: number, result: Pointer): Status;
  torch_list_push_back(list: bigint, element: bigint): Status;
  torch_get_num_threads(result: Pointer): Status;
}

const declarations: Record<keyof Calls, string> = {
  aoti_torch_abi_version: 'uint64_t ()',
  aoti_torch_dtype_float64: 'int32_t ()',
  aoti_torch_dtype_float32: 'int32_t ()',
  aoti_torch_dtype_bfloat16: 'int32_t ()',
  aoti_torch_dtype_int64: 'int32_t ()',
  aoti_torch_dtype_int32: 'int32_t ()',
  aoti_torch_dtype_bool: 'int32_t ()',
  aoti_torch_device_type_cpu: 'int32_t ()',
  aoti_torch_layout_strided: 'int32_t ()',
  aoti_torch_empty_strided: 'int32_t (int64_t, void *, void *, int32_t, int32_t, int32_t, void *)',
  aoti_torch_create_tensor_from_blob_v2:
    'int32_t (uint64_t, int64_t, void *, void *, int64_t, int32_t, int32_t, int32_t, void *, int32_t, void *, int64_t)',
  aoti_torch__reinterpret_tensor: 'int32_t (uint64_t, int64_t, void *, void *, int64_t, void *)',
  aoti_torch_new_tensor_handle: 'int32_t (uint64_t, void *)',
  aoti_torch_delete_tensor_object: 'int32_t (uint64_t)',
  aoti_torch_get_data_ptr: 'int32_t (uint64_t, void *)',
  aoti_torch_get_dim: 'int32_t (uint64_t, void *)',
  aoti_torch_get_size: 'int32_t (uint64_t, int64_t, void *)',
  aoti_torch_get_stride: 'int32_t (uint64_t, int64_t, void *)',
  aoti_torch_get_dtype: 'int32_t (uint64_t, void *)',
  aoti_torch_copy_: 'int32_t (uint64_t, uint64_t, int32_t)',
  aoti_torch_zero_: 'int32_t (uint64_t)',
  aoti_torch_cpu_mm_out: 'int32_t (uint64_t, uint64_t, uint64_t)',
  aoti_torch_cpu_addmm_out: 'int32_t (uint64_t, uint64_t, uint64_t, uint64_t, double, double)',
  aoti_torch_cpu_bmm_out: 'int32_t (uint64_t, uint64_t, uint64_t)',
  aoti_torch_cpu_baddbmm_out: 'int32_t (uint64_t, uint64_t, uint64_t, uint64_t, double, double)',
  aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu:
    'int32_t (uint64_t, uint64_t, uint64_t, double, int32_t, void *, void *, void *, void *)',
  aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward:
    'int32_t (uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, double, int32_t, void *, void *, void *, void *, void *)',
  torch_call_dispatcher: 'int32_t (const char *, const char *, void *, uint64_t)',
  torch_new_list_reserve_size: 'int32_t (size_t, void *)',
  torch_list_push_back: 'int32_t (uint64_t, uint64_t)',
  torch_get_num_threads: 'int32_t (void *)',
};

/** Looks up every function of `Calls`; gives the names that the library lacks instead where there are any. */
export function bindCalls(library: LibraryHandle): { calls: Calls } | { missing: string[] } {
  const bound: Partial<Record<keyof Calls, unknown>> = {};
  const missing: string[] = [];
  for (const [name, signature] of Object.entries(declarations) as [keyof Calls, string][]) {
    const [result, parameters] = signature.split(' (');
    const call = bindOptional(library, `${result} ${name}(${parameters}`);
    if (call === undefined) missing.push(name);
    else bound[name] = call;
  }
  return missing.length > 0 ? { missing } : { calls: bound as Calls };
}

/** A function that some versions of the library lack. */
export function bindOptional(library: LibraryHandle, declaration: string): unknown {
  try {
    return library.func(declaration);
  } catch {
    return undefined;
  }
}
