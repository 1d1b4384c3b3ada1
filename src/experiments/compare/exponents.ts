import { InputError } from '../../errors.js';
import type { Run } from '../../records/index.js';
import { type Interval, studentQuantile } from '../statistics.js';
import { isAnnealed } from './annealed.js';
import { totalFlops } from './pair.js';

/** Final losses over FLOPs as a power law, L - E = a C^-b. */
export interface ExponentFit {
  /** b: how fast the loss falls with compute. */
  readonly exponent: Interval;
  /** a at one FLOP, in nats. */
  readonly factor: number;
  readonly runs: number;
  /** Different budgets; runs whose FLOPs agree within a hundredth share one. */
  readonly budgets: number;
}

/** Two ways of training, by how their losses scale. */
export interface ExponentComparison {
  readonly baseline: ExponentFit;
  readonly other: ExponentFit;
  /** Exponent of the other less that of the baseline, with its 95 % interval: above 0 the other gains with scale. */
  readonly difference: Interval;
  readonly irreducible: number;
  readonly leftOut: readonly { readonly run: string; readonly reason: string }[];
}

/** What a fit is made from. */
export interface EndPoint {
  readonly flops: number;
  readonly loss: number;
}

const CONFIDENCE = 0.95;
const LEAST_BUDGETS = 4;
const SAME_BUDGET = 0.01;

/**
 * Fits a power law to the end points of each group of runs, and compares the exponents.
 *
 * @param irreducible Loss E that no compute removes, the same for both; 0 takes the loss as it is.
 * @throws InputError with fewer than four budgets in a group, or a loss at or below E.
 */
export function compareExponents(
  baselines: readonly Run[],
  others: readonly Run[],
  irreducible = 0,
): ExponentComparison {
  const leftOut: { run: string; reason: string }[] = [];
  const points = (runs: readonly Run[]): EndPoint[] =>
    runs.flatMap((run) => {
      const loss = run.records.validation.at(-1)?.loss;
      const reason =
        loss === undefined ? 'it has no validation loss' : isAnnealed(run) ? undefined : 'its schedule has not ended';
      if (reason !== undefined) leftOut.push({ run: run.name, reason });
      return reason !== undefined || loss === undefined ? [] : [{ flops: totalFlops(run), loss }];
    });
  return { ...compareEndPointExponents(points(baselines), points(others), irreducible), leftOut };
}

/** The same from end points; residuals of both groups share one variance. */
export function compareEndPointExponents(
  baseline: readonly EndPoint[],
  other: readonly EndPoint[],
  irreducible = 0,
): Omit<ExponentComparison, 'leftOut'> {
  const [a, b] = [lineOf(baseline, irreducible, 'baseline'), lineOf(other, irreducible, 'other')];
  const freedom = baseline.length + other.length - 4;
  const variance = (a.squares + b.squares) / freedom;
  const quantile = studentQuantile(1 - (1 - CONFIDENCE) / 2, freedom);
  const interval = (mean: number, inverse: number): Interval => {
    const half = quantile * Math.sqrt(variance * inverse);
    return { mean, low: mean - half, high: mean + half };
  };
  const fit = (line: Line, points: readonly EndPoint[]): ExponentFit => ({
    exponent: interval(-line.slope, 1 / line.spread),
    factor: Math.exp(line.intercept),
    runs: points.length,
    budgets: line.budgets,
  });
  return {
    baseline: fit(a, baseline),
    other: fit(b, other),
    difference: interval(a.slope - b.slope, 1 / a.spread + 1 / b.spread),
    irreducible,
  };
}

interface Line {
  readonly slope: number;
  readonly intercept: number;
  /** Sum of squared residuals, and of squared distances of log C from its mean. */
  readonly squares: number;
  readonly spread: number;
  readonly budgets: number;
}

/** The least-squares line of log(L - E) over log C. */
function lineOf(points: readonly EndPoint[], irreducible: number, group: string): Line {
  const sorted = points.map(({ flops }) => flops).sort((x, y) => x - y);
  const budgets = sorted.filter((flops, i) => i === 0 || flops > sorted[i - 1]! * (1 + SAME_BUDGET)).length;
  if (budgets < LEAST_BUDGETS)
    throw new InputError(`An exponent needs at least ${LEAST_BUDGETS} budgets; the ${group} runs have ${budgets}.`);
  const below = points.find(({ loss }) => !(loss > irreducible));
  if (below !== undefined)
    throw new InputError(`Expected losses above the irreducible ${irreducible}, found ${below.loss.toFixed(4)}.`);
  const [x, y] = [points.map(({ flops }) => Math.log(flops)), points.map(({ loss }) => Math.log(loss - irreducible))];
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [centreX, centreY] = [mean(x), mean(y)];
  const spread = x.reduce((sum, value) => sum + (value - centreX) ** 2, 0);
  const slope = x.reduce((sum, value, i) => sum + (value - centreX) * (y[i]! - centreY), 0) / spread;
  const intercept = centreY - slope * centreX;
  const squares = x.reduce((sum, value, i) => sum + (y[i]! - intercept - slope * value) ** 2, 0);
  return { slope, intercept, squares, spread, budgets };
}
