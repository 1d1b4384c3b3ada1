import { RandomStream } from '../../architecture/index.js';

/** A fitted value with the 95 % interval that the bootstrap gives it. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 400;
const TAIL = 0.025;

/**
 * Percentile intervals of fitted values (Efron and Tibshirani 1993).
 *
 * @param values What the fit gave on the data.
 * @param count Number of items that are drawn with replacement.
 * @param refit Fits again on the drawn items; undefined where that fails, which drops the draw.
 * @param name Names the stream of random numbers: equal names draw equally.
 */
export function bootstrap(
  values: readonly number[],
  count: number,
  refit: (drawn: readonly number[]) => readonly number[] | undefined,
  name: string,
): Estimate[] {
  const stream = new RandomStream(0, `bootstrap ${name}`);
  const uniform = new Float64Array(count);
  const samples: number[][] = values.map(() => []);
  for (let round = 0; round < RESAMPLES; round++) {
    stream.fillUniform(uniform, 0, count, round * count);
    refit(Array.from(uniform, Math.floor))?.forEach((value, i) => samples[i]?.push(value));
  }
  return values.map((value, i) => {
    const sorted = (samples[i] ?? []).filter(Number.isFinite).sort((a, b) => a - b);
    return { value, low: quantile(sorted, TAIL), high: quantile(sorted, 1 - TAIL) };
  });
}

/** Quantile of sorted values by linear interpolation. */
function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return NaN;
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - low);
}
