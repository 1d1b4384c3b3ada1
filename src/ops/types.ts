/** Element types that the engine knows. */
export type DType = 'f64' | 'f32' | 'bf16' | 'i64' | 'i32' | 'bool';

/** Bytes of one element of each type. */
export const dtypeBytes: Record<DType, number> = { f64: 8, f32: 4, bf16: 2, i64: 8, i32: 4, bool: 1 };

/** What is known of a tensor before it has memory. Tensors are always contiguous and row-major. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A tensor in a context: something with a type; memory is the context's affair. */
export interface Value {
  readonly type: TensorType;
}

/** Where the gradient of one input goes: onto `base` where one exists already, into `into` where its place is fixed. */
export interface GradientSink {
  readonly base?: Value;
  readonly into?: Value;
}

/** What computes: records, runs at once, or both. All ops and models are written against this. */
export interface Context {
  /** Applies an op; `into` names destinations that exist already, one per output. */
  apply<A>(rule: OpRule<A>, inputs: readonly Value[], attributes: A, into?: readonly (Value | undefined)[]): Value[];
  /** A part of a value that lies contiguously in it, without a copy. `offset` counts elements. */
  view(value: Value, offset: number, shape: readonly number[]): Value;
}

/** What a backward rule sees of the forward application it belongs to. */
export interface BackwardCall<A> {
  readonly context: Context;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** Gradients of the outputs; undefined where nothing depends on that output. */
  readonly gradients: readonly (Value | undefined)[];
  /** One per input: undefined where no gradient is wanted. */
  readonly sinks: readonly (GradientSink | undefined)[];
}

export interface BackwardResult {
  /** One per input, each with its sink's base added; undefined where none was wanted. */
  readonly gradients: readonly (Value | undefined)[];
  /** Values that hold the same numbers as this op's outputs, so that the forward application can be dropped. */
  readonly replaces?: readonly (Value | undefined)[];
}

/**
 * An op: what is computed, without memory and without a library.
 *
 * It never allocates and never consumes its arguments: the engine hands its kernel outputs and workspace.
 */
export interface OpRule<A> {
  readonly name: string;
  /** Output types from input types. Throws `ShapeError` where they do not fit. */
  infer(inputs: readonly TensorType[], attributes: A): TensorType[];
  /** Scratch bytes that the fused kernel needs for itself; 0 where left out. */
  workspaceBytes?(inputs: readonly TensorType[], attributes: A): number;
  /** Floating-point operations as the ledger counts them: matrix products and attention only; 0 where left out. */
  flops?(inputs: readonly TensorType[], attributes: A): number;
  /** Pairs (output, input) that may share memory when the input is not read again. */
  readonly inPlace?: readonly (readonly [output: number, input: number])[];
  /** Left out where no gradient exists. */
  backward?(call: BackwardCall<A>): BackwardResult;
}

/** Shapes or types that an op cannot take; its message names the op and what it expected and found. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

/** Number of elements of a shape. */
export const numElements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Bytes of a tensor. */
export const tensorBytes = (type: TensorType): number => numElements(type.shape) * dtypeBytes[type.dtype];
