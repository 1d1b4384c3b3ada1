import {
  type ArmRank,
  compareCurves,
  rankArms as rankPairs,
  runningMinimum,
  speedupInterval,
  type LossCurve,
} from '../compare/index.js';
import type { Interval } from '../statistics.js';
import type { EndPoint } from './end-points.js';
import type { Role } from './expand.js';

/** What one seed says of an end point against a baseline. */
export interface SeedResult {
  readonly seed: number;
  readonly loss: number;
  /** Exact FLOPs of the baseline over those of the run at equal loss, less 1; null where the baseline does not bracket the loss. */
  readonly speedup: number | null;
  readonly saved: number | null;
  readonly reason?: string;
  readonly sixND: number | null;
  readonly sixNDNonEmbedding: number | null;
  /** The run's tokens and seconds over the baseline's at equal loss. */
  readonly tokensRatio: number | null;
  readonly secondsRatio: number | null;
}

export type Verdict = 'faster' | 'slower' | 'undecided' | 'not bracketed';

/** An arm, a size or a control at one budget against a baseline, over all seeds. */
export interface Comparison {
  readonly part: string;
  readonly arm: string;
  readonly role: Role;
  readonly budget: number;
  readonly baseline: string;
  readonly seeds: readonly SeedResult[];
  /** Means of log ratios with 95 % t-intervals; null with fewer than two seeds bracketed. */
  readonly speedup: Interval | null;
  readonly saved: Interval | null;
  readonly sixND: Interval | null;
  readonly sixNDNonEmbedding: Interval | null;
  readonly verdict: Verdict;
}

/** One arm against another at one budget. */
export interface Rank extends ArmRank {
  readonly part: string;
  readonly budget: number;
}

/** The curve of annealed end points of one seed: what a loss costs by this baseline. */
function baselineCurve(ends: readonly EndPoint[], part: string, arm: string, seed: number): LossCurve {
  return runningMinimum(
    ends.filter((end) => end.part === part && end.arm === arm && end.seed === seed && end.annealed),
  );
}

/** Compares end points of one arm and budget with a baseline of the same seeds. */
export function compareEnds(ends: readonly EndPoint[], own: readonly EndPoint[], baseline: string): Comparison {
  const [{ part, arm, role, budget }] = own as [EndPoint, ...EndPoint[]];
  const seeds = own.map((end): SeedResult => {
    const curve = baselineCurve(ends, part, baseline, end.pairedWith);
    const none = {
      speedup: null,
      saved: null,
      sixND: null,
      sixNDNonEmbedding: null,
      tokensRatio: null,
      secondsRatio: null,
    };
    const about = { seed: end.seed, loss: end.loss };
    if (!end.annealed) return { ...about, ...none, reason: 'its schedule has not ended' };
    const { atEqualLoss: at, reason, conventions } = compareCurves(arm, curve, [end]);
    if (at === null) return { ...about, ...none, reason: reason ?? 'not bracketed' };
    const { baselineSeconds, runSeconds } = at;
    return {
      ...about,
      ...{ speedup: at.speedup, saved: at.saved },
      sixND: conventions?.sixND ?? null,
      sixNDNonEmbedding: conventions?.sixNDNonEmbedding ?? null,
      tokensRatio: at.runTokens / at.baselineTokens,
      secondsRatio: baselineSeconds === null || runSeconds === null ? null : runSeconds / baselineSeconds,
    };
  });
  const over = (value: (seed: SeedResult) => number | null): Interval | null => {
    const values = seeds.map(value).filter((one) => one !== null);
    return values.length < 2 || values.length < seeds.length ? null : speedupInterval(values);
  };
  const speedup = over((seed) => seed.speedup);
  const sixND = over((seed) => seed.sixND);
  const sixNDNonEmbedding = over((seed) => seed.sixNDNonEmbedding);
  const saved = speedup && { mean: savedOf(speedup.mean), low: savedOf(speedup.low), high: savedOf(speedup.high) };
  const verdict = verdictOf([speedup, sixND, sixNDNonEmbedding]);
  return { part, arm, role, budget, baseline, seeds, speedup, saved, sixND, sixNDNonEmbedding, verdict };
}

/** 54.6 % speedup is 35.3 % saved. */
const savedOf = (speedup: number): number => 1 - 1 / (1 + speedup);

/** Sign under all conventions: where it depends on one, or an interval holds 0, nothing is decided. */
function verdictOf(intervals: readonly (Interval | null)[]): Verdict {
  if (intervals.some((interval) => interval === null)) return 'not bracketed';
  if (intervals.every((interval) => interval!.low > 0)) return 'faster';
  if (intervals.every((interval) => interval!.high < 0)) return 'slower';
  return 'undecided';
}

/** Every arm and control of a part against scratch, by budget. */
export function compareAll(ends: readonly EndPoint[]): Comparison[] {
  return groups(ends.filter(({ role }) => role !== 'scratch')).map((own) => compareEnds(ends, own, 'scratch'));
}

/**
 * Each arm against the best scratch size: the one that reaches the arm's losses at the lowest cost, as the mean over the seeds.
 *
 * Only sizes that bracket the loss of every seed can be the best; the target's own size is one of them.
 */
export function compareBestSize(ends: readonly EndPoint[]): Comparison[] {
  return groups(ends.filter(({ role }) => role === 'arm')).flatMap((own) => {
    const isSize = ({ role, part }: EndPoint): boolean =>
      part === own[0]!.part && (role === 'size' || role === 'scratch');
    const sizes = [...new Set(ends.filter(isSize).map(({ arm }) => arm))];
    const found = sizes.map((size) => compareEnds(ends, own, size)).filter(({ speedup }) => speedup !== null);
    const best = found.sort((a, b) => a.speedup!.mean - b.speedup!.mean)[0];
    return best === undefined ? [] : [best];
  });
}

/** Ranks arms of a budget pairwise by paired tests of log speedups, with Holm's correction. */
export function rankArms(comparisons: readonly Comparison[]): Rank[] {
  const arms = comparisons.filter(({ role, speedup }) => role === 'arm' && speedup !== null);
  const keys = [...new Set(arms.map(({ part, budget }) => `${part} ${budget}`))];
  return keys.flatMap((key) => {
    const at = arms.filter(({ part, budget }) => `${part} ${budget}` === key);
    const [{ part, budget }] = at as [Comparison, ...Comparison[]];
    const ranked = at.map(({ arm, seeds, speedup }) => ({
      ...{ arm, mean: speedup!.mean },
      pairs: seeds.map((one) => ({ seed: one.seed, speedup: one.speedup! })),
    }));
    return rankPairs(ranked).map((pair) => ({ part, budget, ...pair }));
  });
}

/** End points by part, arm and budget, seeds together. */
function groups(ends: readonly EndPoint[]): EndPoint[][] {
  const byKey = new Map<string, EndPoint[]>();
  for (const end of ends) {
    const key = `${end.part} ${end.arm} ${end.budget}`;
    byKey.set(key, [...(byKey.get(key) ?? []), end]);
  }
  return [...byKey.values()];
}
