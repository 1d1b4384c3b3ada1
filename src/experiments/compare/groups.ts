import type { Run } from '../../records/index.js';
import { meanInterval, type Interval } from '../statistics.js';
import { isAnnealed } from './annealed.js';
import { runningMinimum, validationCurve, type LossCurve } from './curve.js';
import { compareCurves, comparePair, describeRun, unknownCost, type CompareMode, type PairComparison } from './pair.js';

/** The speedups of runs that differ in their seed alone. */
export interface GroupComparison {
  readonly seeds: readonly number[];
  /** Mean and 95 % t-interval, taken over log C ratios and turned back into speedups; null with fewer than two seeds. */
  readonly speedup: Interval | null;
  readonly pairs: readonly { readonly seed: number; readonly run: string; readonly speedup: number }[];
  /** How the baseline's cost was read: along one run, or between the end points of several budgets. */
  readonly baselineFrom: 'curve' | 'endPoints';
  /** Runs without a partner, or without a speedup, and why. */
  readonly leftOut: readonly { readonly run: string; readonly reason: string }[];
}

/**
 * Compares grown runs with baselines of the same seed.
 *
 * With several baselines of a seed (budgets), the cost of a loss is read between their annealed end points, and of the grown run only its end
 * point counts; a loss that they do not bracket gives no speedup.
 */
export function compareGroups(
  baselines: readonly Run[],
  grown: readonly Run[],
  mode: CompareMode = 'validation',
): GroupComparison {
  const bySeed = new Map<number, Run[]>();
  for (const run of baselines) {
    const seed = seedOf(run);
    if (seed !== undefined) bySeed.set(seed, [...(bySeed.get(seed) ?? []), run]);
  }
  const pairs: { seed: number; run: string; speedup: number }[] = [];
  const leftOut: { run: string; reason: string }[] = [];
  let baselineFrom: GroupComparison['baselineFrom'] = 'curve';
  for (const run of grown) {
    const seed = seedOf(run);
    const partners = seed === undefined ? [] : (bySeed.get(seed) ?? []);
    if (seed === undefined || partners.length === 0) {
      leftOut.push({
        run: run.name,
        reason: seed === undefined ? 'its run.json names no seed' : `no baseline has seed ${seed}`,
      });
      continue;
    }
    if (partners.length > 1) baselineFrom = 'endPoints';
    const { atEqualLoss, reason = '' } = compareWith(partners, run, mode);
    if (atEqualLoss === null) leftOut.push({ run: run.name, reason });
    else pairs.push({ seed, run: run.name, speedup: atEqualLoss.speedup });
  }
  return {
    seeds: [...new Set(pairs.map(({ seed }) => seed))].sort((a, b) => a - b),
    speedup: pairs.length < 2 ? null : speedupInterval(pairs.map(({ speedup }) => speedup)),
    pairs,
    baselineFrom,
    leftOut,
  };
}

/** Mean and interval of speedups; averaged as log C ratios, so that a half and a double cancel out. */
export function speedupInterval(speedups: readonly number[]): Interval {
  const { mean, low, high } = meanInterval(speedups.map((speedup) => Math.log1p(speedup)));
  return { mean: Math.expm1(mean), low: Math.expm1(low), high: Math.expm1(high) };
}

/** Compares a run with its baselines: along the run where there is one, between end points where they have several budgets. */
export function compareWith(baselines: readonly Run[], run: Run, mode: CompareMode): PairComparison {
  const [only] = baselines as readonly [Run, ...Run[]];
  if (baselines.length === 1) return comparePair(only, run, mode);
  return { ...describeRun(run), curve: [], ...compareEndPoints(baselines, run) };
}

/** Compares a run's annealed end point with those of baselines of several budgets. */
export function compareEndPoints(
  baselines: readonly Run[],
  run: Run,
): Pick<PairComparison, 'atEqualLoss' | 'reason' | 'conventions'> {
  const unknown = unknownCost([...baselines, run]);
  if (unknown !== undefined) return { atEqualLoss: null, reason: unknown };
  if (!isAnnealed(run)) return { atEqualLoss: null, reason: 'its schedule has not ended' };
  const end = endPoint(run);
  const curve = runningMinimum(baselines.filter(isAnnealed).flatMap((baseline) => endPoint(baseline)));
  const lowest = curve.at(-1)?.loss ?? Infinity;
  const own = end[0]?.loss ?? NaN;
  if (!(own >= lowest))
    return { atEqualLoss: null, reason: `not bracketed by the baselines' end points: loss ${own.toFixed(4)}` };
  const { curve: _, ...comparison } = compareCurves(run.name, curve, end);
  return comparison;
}

const endPoint = (run: Run): LossCurve => {
  const last = run.records.validation.at(-1);
  return validationCurve(run)
    .slice(-1)
    .map((point) => ({ ...point, loss: last?.loss ?? point.loss }));
};

/** The seed that run.json names. */
export function seedOf(run: Run): number | undefined {
  const seed = run.manifest?.config['seed'];
  return typeof seed === 'number' ? seed : undefined;
}
