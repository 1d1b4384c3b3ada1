import type { Floats } from '../architecture/index.js';

/** A tensor that can be computed by rows, in any order. */
export interface Rows {
  readonly rows: number;
  readonly columns: number;
  /** Computes rows start, start + 1, ..., as many as fit into `out`. */
  fill(out: Floats, start: number): void;
}

/** Zeros of the same number type. */
export const emptyLike = (like: Floats, length: number): Floats =>
  like instanceof Float64Array ? new Float64Array(length) : new Float32Array(length);
