import type { AttributesOf, OpName, TensorType } from '../../ops/index.js';

/** A tensor with memory, as kernels see it: contiguous, row-major. */
export interface TensorMemory {
  readonly type: TensorType;
  /** First element's address. */
  readonly address: bigint;
  /** libtorch handle on the same memory, made at the first call. */
  handle(): bigint;
  /** Handle with the last two dimensions swapped, over the same memory; both belong to the tensor, like `handle()`. */
  transposedHandle(): bigint;
  /** Handle with other sizes and strides over the same memory; strides and `offset` count elements. */
  stridedHandle(shape: readonly number[], strides?: readonly number[], offset?: number): bigint;
}

/** Everything a kernel needs to know before it can run again and again. */
export interface KernelCall<A> {
  readonly inputs: readonly TensorMemory[];
  readonly outputs: readonly TensorMemory[];
  /** Per output: add to what the memory holds instead of overwriting it. Only set for outputs in the rule's `accumulates`. */
  readonly accumulate: readonly boolean[];
  readonly attributes: A;
  /** Address of the rule's `workspaceBytes`, 64-byte aligned; 0n where it asked for none. */
  readonly workspace: bigint;
}

/**
 * Prepares a call once; the function it returns runs it with one crossing (or few) and no allocation of its own.
 *
 * A kernel has to be right where an output shares memory with an input as the rule's `inPlace` allows.
 */
export type Kernel<A> = (call: KernelCall<A>) => () => void;

/** A kernel made of libtorch calls for every op: the table is total. */
export type FallbackKernels = { readonly [N in OpName]: Kernel<AttributesOf<N>> };

/** A fused kernel, or undefined for types that it does not serve. */
export type FusedKernel<A> = (call: KernelCall<A>) => (() => void) | undefined;

export type FusedKernels = { readonly [N in OpName]?: FusedKernel<AttributesOf<N>> };
