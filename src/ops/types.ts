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

/**
 * Where an output goes and what it is added to.
 *
 * With `onto` the op computes `onto + result`; `into` is memory that exists already (a range of an arena).
 */
export interface Destination {
  readonly onto?: Value | undefined;
  readonly into?: Value | undefined;
}

/** What computes: at once, into a recording, or with a tape beside it. All ops and models are written against this. */
export interface Context {
  /** Applies an op; `destinations` has one entry per output, or fewer. */
  apply<A extends object>(
    rule: OpRule<A>,
    inputs: readonly Value[],
    attributes: A,
    destinations?: readonly (Destination | undefined)[],
  ): Value[];
  /** A part of a value that lies contiguously in it, without a copy; `offset` counts elements. */
  view(value: Value, offset: number, shape: readonly number[]): Value;
  /** Runs a part of a forward whose inner values may be recomputed in backward instead of being kept. */
  segment<R>(body: () => R): R;
}

/** Attributes of an op whose matrix products can be computed in mixed precision. */
export interface ProductAttributes {
  /** Operands in f32 are rounded to this type when they are multiplied; sums stay in f32. As they are where left out. */
  readonly operandType?: 'bf16' | undefined;
}

/** What a backward rule sees of the forward application it belongs to. */
export interface BackwardCall<A extends object> {
  readonly context: Context;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** Gradients of the outputs; undefined where nothing depends on that output. */
  readonly gradients: readonly (Value | undefined)[];
  /** One per input: undefined where no gradient is wanted, else what it is to be added to and where it belongs. */
  readonly sinks: readonly (Destination | undefined)[];
}

export interface BackwardResult {
  /** One per input, its sink's `onto` already added; undefined where none was wanted. */
  readonly gradients: readonly (Value | undefined)[];
  /** Values that hold the same numbers as this op's outputs, so that the forward application can be dropped. */
  readonly replaces?: readonly (Value | undefined)[];
}

/**
 * An op: what is computed, without memory and without a library.
 *
 * It never allocates and never consumes its arguments: the engine hands its kernel outputs and workspace.
 */
export interface OpRule<A extends object> {
  readonly name: string;
  /** Output types from input types. Throws `ShapeError` where they do not fit. */
  infer(inputs: readonly TensorType[], attributes: A): TensorType[];
  /** Scratch bytes that the fused kernel needs for itself; 0 where left out. */
  workspaceBytes?(inputs: readonly TensorType[], attributes: A): number;
  /** Floating-point operations as the ledger counts them: matrix products and attention only; 0 where left out. */
  flops?(inputs: readonly TensorType[], attributes: A): number;
  /** Pairs (output, input) that may share memory when the input is not read again. */
  readonly inPlace?: readonly (readonly [output: number, input: number])[];
  /** Outputs whose kernel can add to what is there; for others the context adds in a second op. */
  readonly accumulates?: readonly number[];
  /** Whether its attributes extend {@link ProductAttributes}. */
  readonly mixedPrecision?: true;
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
