import { symmetricEigenvalues } from './eigenvalues.js';

/** Share of the squares that the counted singular values, or columns, have to hold (Inheritune, arXiv 2404.08634, section 2). */
export const HELD_SHARE = 0.9;

/**
 * Approximate rank of a matrix: the fewest singular values whose squares make up 90 % of all squares.
 *
 * Source: Inheritune (arXiv 2404.08634), section 2.
 *
 * @param matrix Row-major, n x n.
 */
export const approximateRank = (matrix: Float64Array, n: number): number =>
  fewest(symmetricEigenvalues(gram(matrix, n), n));

/** The fewest columns of a matrix [n, n] that hold 90 % of its squares: 1 where every row attends to the same place. */
export function columnMass(matrix: Float64Array, n: number): number {
  const squares = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) squares[j] = squares[j]! + matrix[i * n + j]! ** 2;
  return fewest(squares.sort().reverse());
}

/** How many of these numbers, which fall, sum up to the held share of all. */
function fewest(falling: Float64Array): number {
  const wanted = HELD_SHARE * falling.reduce((sum, value) => sum + Math.max(0, value), 0);
  let sum = 0;
  for (let count = 0; count < falling.length; count++) {
    if (sum >= wanted && count > 0) return count;
    sum += Math.max(0, falling[count]!);
  }
  return falling.length;
}

/** a a^T: its eigenvalues are the squares of a's singular values. */
function gram(a: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += a[i * n + k]! * a[j * n + k]!;
      out[i * n + j] = sum;
      out[j * n + i] = sum;
    }
  return out;
}
