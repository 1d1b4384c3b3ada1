import { Scope, type Tensor } from '../engine/buffers.js';
import { EagerContext } from '../engine/eager.js';
import { semidefiniteEigen } from '../engine/eigen.js';
import { at, matmulRule } from '../ops/index.js';
import type { Floats } from './weights.js';

/** The matrices of one role in a common basis: W_i = basis * factors_i. */
export interface CommonBasis {
  readonly rank: number;
  /** U diag(S), [out, rank]. */
  readonly basis: Float32Array;
  /** V_i, [rank, in] each. */
  readonly factors: readonly Float32Array[];
}

/** Singular values below this share of the largest are dropped: squared, it is what float64 can tell from zero. */
const SMALLEST = 1e-7;

/**
 * The thin singular value decomposition of matrices side by side, without putting them there: M M^T = sum_i W_i W_i^T = U S^2 U^T, V_i = S^-1 U^T W_i.
 *
 * Squares are summed and decomposed in float64, factors are made in float32. Needs the engine to be loaded. Source: LESA (arXiv 2502.13794),
 * in the Gram form.
 *
 * @param matrices Row-major [rows, columns] each.
 */
export function commonBasis(matrices: readonly Floats[], rows: number, columns: number): CommonBasis {
  const { values, vectors } = gramEigen(matrices, rows, columns);
  const singular = Array.from(values, (value) => Math.sqrt(Math.max(0, value)));
  const rank = singular.filter((value) => value > SMALLEST * singular[0]!).length;
  const basis = new Float32Array(rows * rank);
  const inverse = new Float32Array(rows * rank);
  for (let i = 0; i < rows; i++)
    for (let r = 0; r < rank; r++) {
      basis[i * rank + r] = vectors[i * rows + r]! * singular[r]!;
      inverse[i * rank + r] = vectors[i * rows + r]! / singular[r]!;
    }
  using scope = new Scope();
  const left = scope.from({ dtype: 'f32', shape: [rows, rank] }, inverse);
  const right = scope.tensor({ dtype: 'f32', shape: [rows, columns] });
  const factors = matrices.map((w) => {
    (right.data() as Float32Array).set(w);
    return product(left, right, true);
  });
  return { rank, basis, factors };
}

/** A matrix out of its factor: basis * factor. */
export function rebuild({ basis, rank }: CommonBasis, factor: Float32Array): Float32Array {
  using scope = new Scope();
  const left = scope.from({ dtype: 'f32', shape: [basis.length / rank, rank] }, basis);
  return product(left, scope.from({ dtype: 'f32', shape: [rank, factor.length / rank] }, factor), false);
}

function product(a: Tensor, b: Tensor, transposeA: boolean): Float32Array {
  using scope = new Scope();
  const attributes = { transposeA, transposeB: false };
  const into = scope.tensor(at(matmulRule.infer([a.type, b.type], attributes), 0));
  new EagerContext(scope).apply(matmulRule, [a, b], attributes, [{ into }]);
  return into.read() as Float32Array;
}

/** Eigenvalues and eigenvectors of sum_i W_i W_i^T. */
function gramEigen(matrices: readonly Floats[], rows: number, columns: number): ReturnType<typeof semidefiniteEigen> {
  using scope = new Scope();
  const context = new EagerContext(scope);
  const w = scope.tensor({ dtype: 'f64', shape: [rows, columns] });
  const gram = scope.tensor({ dtype: 'f64', shape: [rows, rows] });
  gram.memory.zero();
  for (const matrix of matrices) {
    (w.data() as Float64Array).set(matrix);
    context.apply(matmulRule, [w, w], { transposeA: false, transposeB: true }, [{ onto: gram, into: gram }]);
  }
  return semidefiniteEigen(gram);
}
