import { bootstrap, type Estimate } from './bootstrap.js';
import { leastSquares, residualsOf, robustLinear } from './linear.js';

/** Final losses of runs that differ in one choice and share the size and the budget. */
export interface IsoFlopGroup {
  /** Nominal parameters of the target. */
  readonly params: number;
  /** The budget, as 6 N D. */
  readonly flops: number;
  /** What the other choice was: the growth factor where growth tokens differ, and the other way round. */
  readonly fixed?: number;
  /** The choice: growth tokens, or a growth factor. */
  readonly points: readonly { readonly choice: number; readonly loss: number }[];
}

/** The parabola of loss against the logarithm of the choice. */
export interface IsoFlopFit extends IsoFlopGroup {
  /** The choice with the lowest loss by the parabola. */
  readonly best: Estimate;
  /** Coefficients of loss = c0 + c1 x + c2 x^2 in x = log10(choice). */
  readonly coefficients: readonly [number, number, number];
  readonly residuals: readonly number[];
  /** The minimum lies between the tried choices; otherwise it is an extrapolation and not used further. */
  readonly bracketed: boolean;
}

const MIN_CHOICES = 3;

/** Fits a parabola to a group; undefined with fewer than three choices or where it has no minimum. */
export function fitIsoFlop(group: IsoFlopGroup): IsoFlopFit | undefined {
  const choices = new Set(group.points.map(({ choice }) => choice));
  if (choices.size < MIN_CHOICES) return undefined;
  const rows = group.points.map(({ choice }) => parabolaRow(choice));
  const losses = group.points.map(({ loss }) => loss);
  const fit = leastSquares(rows, losses);
  const best = minimumOf(fit);
  if (fit === undefined || best === undefined) return undefined;
  const residuals = residualsOf(rows, losses, fit);
  const [estimate] = bootstrap(
    [best],
    residuals.length,
    (drawn) => {
      const value = refitMinimum(rows, losses, residuals, drawn);
      return value === undefined ? undefined : [value];
    },
    `iso-FLOP ${group.params} ${group.flops}`,
  );
  return {
    ...group,
    best: estimate!,
    coefficients: [fit[0]!, fit[1]!, fit[2]!],
    residuals,
    bracketed: best > Math.min(...choices) && best < Math.max(...choices),
  };
}

const parabolaRow = (choice: number): number[] => [1, Math.log10(choice), Math.log10(choice) ** 2];

function minimumOf(fit: readonly number[] | undefined): number | undefined {
  const [, slope, curvature] = fit ?? [];
  return slope === undefined || curvature === undefined || !(curvature > 0)
    ? undefined
    : 10 ** (-slope / (2 * curvature));
}

/** The minimum when the drawn residuals are put on the fitted values. */
function refitMinimum(
  rows: readonly number[][],
  losses: readonly number[],
  residuals: readonly number[],
  drawn: readonly number[],
): number | undefined {
  // Residuals of a parabola through n points are smaller than the noise by sqrt((n - 3) / n).
  const inflate = Math.sqrt(rows.length / Math.max(1, rows.length - 3));
  return minimumOf(
    leastSquares(
      rows,
      losses.map((loss, i) => loss - residuals[i]! + inflate * residuals[drawn[i]!]!),
    ),
  );
}

/** log10 d = a log10 N + b / log10 C + c, fitted through the minima of several groups. */
export interface TimingFit {
  readonly a: Estimate;
  readonly b: Estimate;
  readonly c: Estimate;
  readonly range: { readonly params: readonly [number, number]; readonly flops: readonly [number, number] };
  /** log10 of each group's best choice above the plane. */
  readonly residuals: readonly number[];
}

const MIN_GROUPS = 4;

/**
 * Fits the plane of growth timing through the bracketed minima; undefined with fewer than four groups, or where sizes or budgets do not differ.
 *
 * The intervals draw the residuals of every parabola and those of the plane.
 */
export function fitTiming(groups: readonly IsoFlopFit[]): TimingFit | undefined {
  const used = groups.filter(({ bracketed }) => bracketed);
  if (used.length < MIN_GROUPS) return undefined;
  const middleN = mean(used.map(({ params }) => Math.log10(params)));
  const middleC = mean(used.map(({ flops }) => 1 / Math.log10(flops)));
  const rows = used.map(({ params, flops }) => [Math.log10(params) - middleN, 1 / Math.log10(flops) - middleC, 1]);
  const solve = (minima: readonly number[]): [number, number, number] | undefined => {
    const [a, b, height] = robustLinear(rows, minima) ?? [];
    return a === undefined || b === undefined || height === undefined
      ? undefined
      : [a, b, height - a * middleN - b * middleC];
  };
  const minima = used.map(({ best }) => Math.log10(best.value));
  const fit = solve(minima);
  if (fit === undefined) return undefined;
  const plain = used.map(({ params, flops }) => [Math.log10(params), 1 / Math.log10(flops), 1]);
  const residuals = residualsOf(plain, minima, fit);
  const sizes = used.map(({ points }) => points.length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const [a, b, c] = bootstrap(
    fit,
    total + used.length,
    (drawn) => {
      let offset = 0;
      const redrawn = used.map((group, i) => {
        const own = drawn.slice(offset, offset + sizes[i]!).map((index) => index % sizes[i]!);
        offset += sizes[i]!;
        const value = refitMinimum(
          group.points.map(({ choice }) => parabolaRow(choice)),
          group.points.map(({ loss }) => loss),
          group.residuals,
          own,
        );
        return (value === undefined ? minima[i]! : Math.log10(value)) + residuals[drawn[total + i]! % used.length]!;
      });
      return solve(redrawn);
    },
    'timing',
  );
  const between = (values: readonly number[]): [number, number] => [Math.min(...values), Math.max(...values)];
  return {
    a: a!,
    b: b!,
    c: c!,
    range: { params: between(used.map(({ params }) => params)), flops: between(used.map(({ flops }) => flops)) },
    residuals,
  };
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
