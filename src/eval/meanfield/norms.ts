import { RandomStream } from '../../architecture/index.js';

/** Root mean squares of each row of a matrix [rows, columns]. */
export function rowNorms(matrix: Float32Array, rows: number, columns: number): Float64Array {
  const norms = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += matrix[i * columns + j]! ** 2;
    norms[i] = Math.sqrt(sum / columns);
  }
  return norms;
}

/** Root mean squares of each column of a matrix [rows, columns]. */
export function columnNorms(matrix: Float32Array, rows: number, columns: number): Float64Array {
  const sums = new Float64Array(columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) sums[j] = sums[j]! + matrix[i * columns + j]! ** 2;
  return sums.map((sum) => Math.sqrt(sum / rows));
}

/** Bins of a histogram are this wide, in units of the mean; the middle of one of them is the mean. */
const BIN = 0.1;
const BINS = 40;

/**
 * How norms spread around their mean, whatever their number and size: shares in bins a tenth of the mean wide.
 *
 * What lies above four times the mean counts to the last bin.
 */
export function relativeHistogram(norms: Float64Array): Float64Array {
  const average = mean(norms);
  const shares = new Float64Array(BINS);
  for (const norm of norms) {
    const bin = average === 0 ? 0 : Math.min(BINS - 1, Math.round(norm / average / BIN));
    shares[bin] = shares[bin]! + 1 / norms.length;
  }
  return shares;
}

/** Standard deviation over mean. */
export function dispersion(values: Float64Array): number {
  const average = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - average) ** 2, 0);
  return average === 0 ? 0 : Math.sqrt(squares / values.length) / average;
}

/** Cosine of the angle between two vectors; 0 where one of them is zero. */
export function cosine(a: Float64Array, b: Float64Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}

/** Pearson's correlation of two lists of one length; 0 where one of them does not vary. */
export function correlation(a: Float64Array, b: Float64Array): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  return cosine(
    a.map((value) => value - meanA),
    b.map((value) => value - meanB),
  );
}

export const mean = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return values.length === 0 ? NaN : sum / values.length;
};

/** The same entries in another order, which (seed, name) alone decides (Fisher and Yates). */
export function shuffled<T extends Float32Array | Float64Array>(values: T, seed: number, name: string): T {
  const out = values.slice() as T;
  const draws = new Float64Array(out.length);
  new RandomStream(seed, `${name} shuffle`).fillUniform(draws);
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(draws[i]! * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
