import type { Run } from '../../records/index.js';

/** One measured loss and what had been paid for it. */
export interface LossPoint {
  readonly loss: number;
  readonly flops: number;
  readonly flops6nd: number;
  readonly flopsNonEmbedding: number;
  readonly tokens: number;
  /** Seconds spent on training steps so far; NaN where the records do not say. */
  readonly seconds: number;
}

/** Ways to count what a run has cost. */
export type CostAxis = Exclude<keyof LossPoint, 'loss'>;

/** Why a curve has no cost for a loss. */
export type NoCrossing = 'not reached' | 'not bracketed';

/** Where a curve first reaches a loss: between `points[index - 1]` and `points[index]`. */
export interface Crossing {
  readonly index: number;
  /** 0 at the earlier point, 1 at the later one. */
  readonly share: number;
}

/** Points of a run in the order of their cost, with the lowest loss so far in place of each loss. */
export type LossCurve = readonly LossPoint[];

/**
 * The validation curve of a run; of a grown run only points behind its last growth.
 *
 * Points without a finite loss and positive FLOPs are left out.
 */
export function validationCurve(run: Run): LossCurve {
  const { validation, growth } = run.records;
  const lastGrowth = growth.reduce((step, record) => Math.max(step, record.step), -Infinity);
  const clock = trainingClock(run);
  const points = validation
    .filter((record) => record.step > lastGrowth)
    .map((record) => ({
      loss: record.loss,
      flops: record.flops,
      flops6nd: record.flops6nd ?? NaN,
      flopsNonEmbedding: record.flopsNonEmbedding ?? NaN,
      tokens: record.tokens,
      seconds: clock(record.tokens),
    }));
  return runningMinimum(points);
}

/**
 * The training curve of a run, smoothed: what the paper reads its speedups from.
 *
 * Each loss is the mean of the `window` train records up to it. Of a grown run only windows behind its last growth count.
 */
export function trainingCurve(run: Run, window: number): LossCurve {
  const { train, growth } = run.records;
  const lastGrowth = growth.reduce((step, record) => Math.max(step, record.step), -Infinity);
  const clock = trainingClock(run);
  const points: LossPoint[] = [];
  let sum = 0;
  const recent: number[] = [];
  for (let i = 0; i < train.length; i++) {
    const loss = train.loss[i] ?? NaN;
    if ((train.step[i] ?? NaN) <= lastGrowth || !Number.isFinite(loss)) continue;
    recent.push(loss);
    sum += loss;
    if (recent.length > window) sum -= recent[recent.length - 1 - window] ?? 0;
    if (recent.length < window) continue;
    points.push({
      loss: sum / window,
      flops: train.flops[i] ?? NaN,
      flops6nd: train.flops6nd[i] ?? NaN,
      flopsNonEmbedding: train.flopsNonEmbedding[i] ?? NaN,
      tokens: train.tokens[i] ?? NaN,
      seconds: clock(train.tokens[i] ?? NaN),
    });
  }
  return runningMinimum(points);
}

/** Sorts points by FLOPs and puts the lowest loss so far in place of each loss. */
export function runningMinimum(points: readonly LossPoint[]): LossCurve {
  let lowest = Infinity;
  return points
    .filter((point) => Number.isFinite(point.loss) && point.flops > 0)
    .sort((a, b) => a.flops - b.flops)
    .map((point) => {
      lowest = Math.min(lowest, point.loss);
      return { ...point, loss: lowest };
    });
}

/** The lowest loss of a curve; Infinity where it has no points. */
export const lowestLoss = (curve: LossCurve): number => curve.at(-1)?.loss ?? Infinity;

/**
 * The first crossing of a loss.
 *
 * "not reached" where the curve stays above it, "not bracketed" where its first point lies below already, so that what it cost to
 * get there was not measured. Nothing is extrapolated.
 */
export function crossing(curve: LossCurve, loss: number): Crossing | NoCrossing {
  const index = curve.findIndex((point) => point.loss <= loss);
  if (index === -1) return 'not reached';
  const after = curve[index];
  const before = curve[index - 1];
  if (after !== undefined && after.loss === loss && before === undefined) return { index, share: 1 };
  if (after === undefined || before === undefined) return 'not bracketed';
  return { index, share: (before.loss - loss) / (before.loss - after.loss) };
}

/** The cost at a crossing, interpolated in the logarithm. */
export function costAt(curve: LossCurve, { index, share }: Crossing, axis: CostAxis): number {
  const after = curve[index]?.[axis] ?? NaN;
  const before = curve[index - 1]?.[axis] ?? after;
  return share === 1 ? after : Math.exp((1 - share) * Math.log(before) + share * Math.log(after));
}

/** Seconds spent on training up to a number of tokens, by the recorded throughput: pauses and restarts do not count. */
function trainingClock(run: Run): (tokens: number) => number {
  const { tokens, tokensPerSecond, length } = run.records.train;
  const at: number[] = [];
  const spent: number[] = [];
  let total = 0;
  let previous = 0;
  for (let i = 0; i < length; i++) {
    const now = tokens[i] ?? NaN;
    const rate = tokensPerSecond[i] ?? NaN;
    if (!(rate > 0) || !(now >= previous)) continue;
    total += (now - previous) / rate;
    previous = now;
    at.push(now);
    spent.push(total);
  }
  return (wanted) => {
    if (at.length === 0) return NaN;
    let low = 0;
    let high = at.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((at[middle] ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return spent[low] ?? NaN;
  };
}
