/** A mean and the interval that covers the true one with 95 % where the values are normal. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

const CONFIDENCE = 0.95;

/** Student's t-interval of the mean; needs two values, one gives an infinite interval. */
export function meanInterval(values: readonly number[]): Interval {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean, low: -Infinity, high: Infinity };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const half = studentQuantile(1 - (1 - CONFIDENCE) / 2, count - 1) * Math.sqrt(variance / count);
  return { mean, low: mean - half, high: mean + half };
}

/** Quantile of Student's t distribution for probabilities of at least a half. */
export function studentQuantile(probability: number, freedom: number): number {
  let high = 1;
  while (studentCdf(high, freedom) < probability) high *= 2;
  let low = 0;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (studentCdf(middle, freedom) < probability) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Distribution function of Student's t for t of at least 0 (Abramowitz and Stegun 26.5.27). */
export function studentCdf(t: number, freedom: number): number {
  return 1 - incompleteBeta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2;
}

/** Regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8). */
function incompleteBeta(a: number, b: number, x: number): number {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  // The fraction converges fast only on this side; the other follows by symmetry.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, 1 - x);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b)) / a;
  let fraction = 1;
  for (let m = 200; m >= 1; m--) {
    const half = m >> 1;
    const term =
      m % 2 === 0
        ? (half * (b - half) * x) / ((a + m - 1) * (a + m))
        : (-(a + half) * (a + b + half) * x) / ((a + m - 1) * (a + m));
    fraction = 1 + term / fraction;
  }
  return front / fraction;
}

/** Logarithm of the gamma function: Stirling's series above 10, the recurrence below. */
function logGamma(x: number): number {
  let shift = 0;
  let z = x;
  for (; z < 10; z++) shift -= Math.log(z);
  const inverse = 1 / (z * z);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / z;
  return shift + (z - 0.5) * Math.log(z) - z + Math.log(2 * Math.PI) / 2 + series;
}

/** Two-sided p of the paired t-test; 1 with fewer than two pairs. */
export function pairedTest(a: readonly number[], b: readonly number[]): number {
  const differences = a.map((value, i) => value - b[i]!);
  const { length } = differences;
  if (length < 2) return 1;
  const mean = differences.reduce((sum, value) => sum + value, 0) / length;
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (length - 1);
  if (variance === 0) return mean === 0 ? 1 : 0;
  return 2 * (1 - studentCdf(Math.abs(mean) / Math.sqrt(variance / length), length - 1));
}

/** Holm's step-down correction of p-values for as many tests as there are (Holm 1979), in the order given. */
export function holm(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const corrected = new Array<number>(values.length);
  let highest = 0;
  order.forEach((index, rank) => {
    highest = Math.max(highest, Math.min(1, (values.length - rank) * values[index]!));
    corrected[index] = highest;
  });
  return corrected;
}
