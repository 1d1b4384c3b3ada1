import { Scope, type Tensor } from './buffers.js';
import { arg, dispatch } from './libtorch/dispatch.js';
import { copy } from './libtorch/products.js';

/** Eigenvalues, the largest first, and eigenvectors as columns. */
export interface Eigen {
  readonly values: Float64Array;
  /** [n, n], row-major. */
  readonly vectors: Float64Array;
}

/**
 * Eigenvalues and eigenvectors of a symmetric positive semidefinite matrix, which are its singular values and left singular vectors.
 *
 * `linalg_eigh` would do half the work, but wants a text as argument, which `dispatch` has no cell for; so LAPACK's `gesdd` does it. Small
 * eigenvalues are right to the largest one's rounding.
 *
 * @param matrix f64 [n, n].
 */
export function semidefiniteEigen(matrix: Tensor): Eigen {
  const [n] = matrix.type.shape as [number, number];
  using scope = new Scope();
  const args = [arg.tensor(matrix.handle()), arg.bool(false), arg.bool(true), arg.none];
  const [u, s] = dispatch('aten::_linalg_svd', '', args, 3).map((handle) => scope.adopt(handle)) as [bigint, bigint];
  const [vectors, values] = [scope.tensor({ dtype: 'f64', shape: [n, n] }), scope.tensor({ dtype: 'f64', shape: [n] })];
  copy(vectors.handle(), u);
  copy(values.handle(), s);
  return { values: values.read() as Float64Array, vectors: vectors.read() as Float64Array };
}
