import { hasUnknownParentFlops, type Run } from '../../records/index.js';
import { isAnnealed } from './annealed.js';
import {
  costAt,
  crossing,
  lowestLoss,
  trainingCurve,
  validationCurve,
  type CostAxis,
  type Crossing,
  type LossCurve,
} from './curve.js';

/** Speedup at one loss. */
export interface SpeedupPoint {
  readonly loss: number;
  readonly baselineFlops: number;
  readonly runFlops: number;
  /** FLOPs of the baseline over FLOPs of the run, minus 1. */
  readonly speedup: number;
}

/** What a comparison says at the loss that both runs reached. */
export interface EqualLoss extends SpeedupPoint {
  /** 1 minus FLOPs of the run over FLOPs of the baseline. */
  readonly saved: number;
  readonly baselineTokens: number;
  readonly runTokens: number;
  readonly baselineSeconds: number | null;
  readonly runSeconds: number | null;
}

/** The speedup under each way of counting FLOPs; null where the records do not hold that count. */
export interface Conventions {
  readonly run: string;
  readonly exact: number | null;
  readonly sixND: number | null;
  readonly sixNDNonEmbedding: number | null;
  /** "undecided" where the sign depends on the convention. */
  readonly verdict: 'faster' | 'slower' | 'undecided';
}

/** One run against the baseline. */
export interface PairComparison {
  readonly run: string;
  readonly finalLoss: number | null;
  /** Everything that the run has paid, its base included. */
  readonly flops: number;
  readonly annealed: boolean;
  readonly atEqualLoss: EqualLoss | null;
  /** Why there is no speedup. */
  readonly reason?: string;
  readonly curve: readonly SpeedupPoint[];
  readonly conventions?: Conventions;
}

/** How losses are read: validation losses, or smoothed training losses as in the paper. */
export type CompareMode = 'validation' | 'paper';

/** Train records that the paper mode averages. */
export const PAPER_WINDOW = 50;

export const curveOf = (run: Run, mode: CompareMode): LossCurve =>
  mode === 'paper' ? trainingCurve(run, PAPER_WINDOW) : validationCurve(run);

/** Compares a run with a baseline at the largest loss that is the lowest of either. */
export function comparePair(baseline: Run, run: Run, mode: CompareMode = 'validation'): PairComparison {
  const about = describeRun(run);
  const reason = unknownCost([baseline, run]);
  if (reason !== undefined) return { ...about, atEqualLoss: null, reason, curve: [] };
  return { ...about, ...compareCurves(run.name, curveOf(baseline, mode), curveOf(run, mode)) };
}

/** What a comparison says of a run alone. */
export const describeRun = (run: Run): Pick<PairComparison, 'run' | 'finalLoss' | 'flops' | 'annealed'> => ({
  run: run.name,
  finalLoss: run.records.validation.at(-1)?.loss ?? null,
  flops: totalFlops(run),
  annealed: isAnnealed(run),
});

/** Why runs cannot be compared: one of them does not know what its beginning has cost. */
export function unknownCost(runs: readonly Run[]): string | undefined {
  const unknown = runs.find(hasUnknownParentFlops);
  return (
    unknown && `parentFlops unknown: ${unknown.name} started from a checkpoint that does not say what its training cost`
  );
}

/** The part of a comparison that follows from the two curves alone. */
export function compareCurves(
  name: string,
  baseline: LossCurve,
  run: LossCurve,
): Pick<PairComparison, 'atEqualLoss' | 'reason' | 'curve' | 'conventions'> {
  if (baseline.length === 0) return { atEqualLoss: null, reason: 'the baseline has no losses to compare', curve: [] };
  if (run.length === 0)
    return { atEqualLoss: null, reason: 'it has no losses to compare behind its last growth', curve: [] };
  const curve = speedupCurve(baseline, run);
  const loss = Math.max(lowestLoss(baseline), lowestLoss(run));
  const ofBaseline = crossing(baseline, loss);
  const ofRun = crossing(run, loss);
  if (typeof ofBaseline === 'string')
    return { atEqualLoss: null, reason: `${ofBaseline} by the baseline: loss ${loss.toFixed(4)}`, curve };
  if (typeof ofRun === 'string')
    return { atEqualLoss: null, reason: `${ofRun} by the run: loss ${loss.toFixed(4)}`, curve };
  const cost = (axis: CostAxis): [number, number] => [costAt(baseline, ofBaseline, axis), costAt(run, ofRun, axis)];
  const [baselineFlops, runFlops] = cost('flops');
  const [baselineTokens, runTokens] = cost('tokens');
  const [baselineSeconds, runSeconds] = cost('seconds');
  return {
    atEqualLoss: {
      ...speedupAt(loss, baselineFlops, runFlops),
      saved: 1 - runFlops / baselineFlops,
      baselineTokens,
      runTokens,
      baselineSeconds: finiteOrNull(baselineSeconds),
      runSeconds: finiteOrNull(runSeconds),
    },
    curve,
    conventions: conventionsOf(name, baseline, run, ofBaseline, ofRun),
  };
}

/** Speedups at every new lowest loss of the run that the baseline has reached, too. */
function speedupCurve(baseline: LossCurve, run: LossCurve): SpeedupPoint[] {
  const points: SpeedupPoint[] = [];
  run.forEach((point, index) => {
    if (index > 0 && point.loss === run[index - 1]?.loss) return;
    const found = crossing(baseline, point.loss);
    if (typeof found !== 'string') points.push(speedupAt(point.loss, costAt(baseline, found, 'flops'), point.flops));
  });
  return points;
}

const speedupAt = (loss: number, baselineFlops: number, runFlops: number): SpeedupPoint => ({
  loss,
  baselineFlops,
  runFlops,
  speedup: baselineFlops / runFlops - 1,
});

function conventionsOf(run: string, a: LossCurve, b: LossCurve, atA: Crossing, atB: Crossing): Conventions {
  const under = (axis: CostAxis): number | null => finiteOrNull(costAt(a, atA, axis) / costAt(b, atB, axis) - 1);
  const exact = under('flops');
  const sixND = under('flops6nd');
  const sixNDNonEmbedding = under('flopsNonEmbedding');
  const signs = new Set([exact, sixND, sixNDNonEmbedding].filter((value) => value !== null).map(Math.sign));
  const verdict = signs.size !== 1 || signs.has(0) ? 'undecided' : signs.has(1) ? 'faster' : 'slower';
  return { run, exact, sixND, sixNDNonEmbedding, verdict };
}

/** FLOPs of the last record that has a count. */
export function totalFlops(run: Run): number {
  const { train, validation } = run.records;
  return Math.max(0, train.flops[train.length - 1] ?? 0, validation.at(-1)?.flops ?? 0);
}

const finiteOrNull = (value: number): number | null => (Number.isFinite(value) ? value : null);
