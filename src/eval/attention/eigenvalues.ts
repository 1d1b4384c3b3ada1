/**
 * Eigenvalues of a symmetric matrix in float64, in falling order.
 *
 * Householder reflections to tridiagonal form, then implicit QL with shifts (Golub and Van Loan, Matrix Computations, 8.3; Wilkinson's shifts):
 * O(n^3), values only.
 *
 * @param matrix Row-major, n x n; it is overwritten.
 */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  tridiagonalize(matrix, n, diagonal, beside);
  for (let i = 0; i < n; i++) isolate(diagonal, beside, i, n);
  return diagonal.sort().reverse();
}

/** Leaves the tridiagonal matrix's diagonal, and at [i] of `beside` what stands right of diagonal entry i. */
function tridiagonalize(a: Float64Array, n: number, diagonal: Float64Array, beside: Float64Array): void {
  const v = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n - 1; k++) {
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm += a[i * n + k]! ** 2;
    norm = Math.sqrt(norm);
    const first = a[(k + 1) * n + k]!;
    const alpha = first > 0 ? -norm : norm;
    diagonal[k] = a[k * n + k]!;
    beside[k] = alpha;
    const length = norm * (norm + Math.abs(first));
    if (length === 0) continue;
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k]!;
    v[k + 1] = first - alpha;
    reflect(a, n, k + 1, v, p, length);
  }
  if (n > 0) diagonal[n - 1] = a[n * n - 1]!;
}

/** a = (I - v v^T / length) a (I - v v^T / length) from row and column `start` on, length = v^T v / 2. */
function reflect(a: Float64Array, n: number, start: number, v: Float64Array, p: Float64Array, length: number): void {
  let vp = 0;
  for (let i = start; i < n; i++) {
    let sum = 0;
    for (let j = start; j < n; j++) sum += a[i * n + j]! * v[j]!;
    p[i] = sum / length;
    vp += v[i]! * p[i]!;
  }
  const half = vp / (2 * length);
  for (let i = start; i < n; i++) p[i] = p[i]! - half * v[i]!;
  for (let i = start; i < n; i++) {
    const [vi, pi] = [v[i]!, p[i]!];
    for (let j = start; j < n; j++) a[i * n + j] = a[i * n + j]! - vi * p[j]! - pi * v[j]!;
  }
}

const MOST_STEPS = 60;

/** Turns the tridiagonal matrix until nothing stands beside diagonal entry `at`. */
function isolate(d: Float64Array, e: Float64Array, at: number, n: number): void {
  for (let step = 0; step < MOST_STEPS; step++) {
    let end = at;
    while (end < n - 1 && !isNegligible(e[end]!, d[end]!, d[end + 1]!)) end++;
    if (end === at) return;
    sweep(d, e, at, end);
  }
  throw new RangeError('the eigenvalues of a matrix do not settle: its entries are not finite');
}

const isNegligible = (beside: number, a: number, b: number): boolean =>
  Math.abs(beside) <= Number.EPSILON * (Math.abs(a) + Math.abs(b));

/** One implicit QL step on rows `start` to `end`. */
function sweep(d: Float64Array, e: Float64Array, start: number, end: number): void {
  let g = (d[start + 1]! - d[start]!) / (2 * e[start]!);
  const root = Math.hypot(g, 1);
  g = d[end]! - d[start]! + e[start]! / (g + (g < 0 ? -root : root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let i = end - 1; i >= start; i--) {
    const f = sine * e[i]!;
    const b = cosine * e[i]!;
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      d[i + 1] = d[i + 1]! - shift;
      e[end] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = d[i + 1]! - shift;
    const t = (d[i]! - g) * sine + 2 * cosine * b;
    shift = sine * t;
    d[i + 1] = g + shift;
    g = cosine * t - b;
  }
  d[start] = d[start]! - shift;
  e[start] = g;
  e[end] = 0;
}
