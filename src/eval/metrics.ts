/** A metric over the documents of a task. */
export interface Metric {
  readonly value: number;
  /** Undefined where the harness has none. */
  readonly stderr?: number;
}

/** Index of the largest value; ties go to the lowest index. */
export function argmax(values: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** Unicode code points of a text: what Python's `len` counts. */
export const codePoints = (text: string): number => [...text].length;

/** Mean and its standard error sqrt(sum (x - mean)^2 / (n - 1)) / sqrt(n). */
export function meanMetric(values: readonly number[]): Metric & { readonly stderr: number } {
  const n = values.length;
  const value = values.reduce((sum, x) => sum + x, 0) / n;
  const squares = values.reduce((sum, x) => sum + (x - value) ** 2, 0);
  return { value, stderr: n > 1 ? Math.sqrt(squares / (n - 1)) / Math.sqrt(n) : NaN };
}

/** exp(-mean); its standard error by the delta method: perplexity times that of the mean (the harness resamples instead). */
export function perplexityMetric(logLikelihoods: readonly number[]): Metric {
  const mean = meanMetric(logLikelihoods);
  const value = Math.exp(-mean.value);
  return { value, stderr: value * mean.stderr };
}

/** exp(-sum of log-likelihoods / sum of weights). */
export const weightedPerplexity = (logLikelihoods: readonly number[], weights: readonly number[]): Metric => ({
  value: Math.exp(-total(logLikelihoods) / total(weights)),
});

/** -sum of log-likelihoods / (sum of bytes * ln 2). */
export const bitsPerByte = (logLikelihoods: readonly number[], bytes: readonly number[]): Metric => ({
  value: -total(logLikelihoods) / (total(bytes) * Math.LN2),
});

/** Whether an accuracy lies within two standard errors of chance: then it says nothing about the model. */
export const isNearChance = ({ value, stderr }: Metric, chance: number): boolean =>
  !(Math.abs(value - chance) > 2 * (stderr ?? 0));

const total = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0);
