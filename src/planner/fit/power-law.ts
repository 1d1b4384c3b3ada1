import { bootstrap, type Estimate } from './bootstrap.js';
import { residualsOf, robustLinear } from './linear.js';
import { nelderMead } from './nelder-mead.js';

/** A loss and what had been paid for it. */
export interface LawPoint {
  readonly flops: number;
  readonly loss: number;
}

/** L = a C^b. */
export interface PowerLaw {
  readonly a: Estimate;
  readonly b: Estimate;
  /** log loss above the fit, point by point. */
  readonly residuals: readonly number[];
  /** The law with its 95 % band, from the smallest budget to ten times the largest. */
  readonly band: readonly (Estimate & { readonly flops: number })[];
}

/** L = E + a C^b. */
export interface IrreducibleLaw extends PowerLaw {
  readonly irreducible: Estimate;
}

const MIN_POINTS = 4;

/** Fits L = a C^b by robust regression in logarithms; undefined with fewer than four points. */
export function fitPowerLaw(points: readonly LawPoint[]): PowerLaw | undefined {
  if (points.length < MIN_POINTS) return undefined;
  const middle = meanLog(points);
  const solve = (chosen: readonly LawPoint[]): [a: number, b: number] | undefined => {
    const rows = chosen.map(({ flops }) => [1, Math.log(flops) - middle]);
    const fit = robustLinear(
      rows,
      chosen.map(({ loss }) => Math.log(loss)),
    );
    const [height, slope] = fit ?? [];
    return height === undefined || slope === undefined ? undefined : [Math.exp(height - slope * middle), slope];
  };
  const fit = solve(points);
  if (fit === undefined) return undefined;
  const grid = bandGrid(points);
  const withBand = (law: [a: number, b: number] | undefined): number[] | undefined =>
    law && [...law, ...grid.map((flops) => law[0] * flops ** law[1])];
  const refit = (drawn: readonly number[]): number[] | undefined => withBand(solve(drawn.map((i) => points[i]!)));
  const [a, b, ...band] = bootstrap(withBand(fit) ?? [], points.length, refit, 'power law');
  const rows = points.map(({ flops }) => [1, Math.log(flops)]);
  const residuals = residualsOf(
    rows,
    points.map(({ loss }) => Math.log(loss)),
    [Math.log(fit[0]), fit[1]],
  );
  return { a: a!, b: b!, residuals, band: onGrid(grid, band) };
}

/** Width of the quadratic part of the Huber loss on log loss, as in Hoffmann et al. 2022 (arXiv 2203.15556). */
const HUBER_DELTA = 1e-3;
const START_SHARES = [0.05, 0.3, 0.6, 0.85, 0.95];

/** Fits L = E + a C^b with Huber's loss on log L, from several starts; undefined with fewer than four points. */
export function fitIrreducibleLaw(points: readonly LawPoint[]): IrreducibleLaw | undefined {
  if (points.length < MIN_POINTS) return undefined;
  const middle = meanLog(points);
  const lowest = Math.min(...points.map(({ loss }) => loss));
  const predict = ([e, height, slope]: readonly number[], flops: number): number =>
    Math.exp(e!) + Math.exp(height! + slope! * (Math.log(flops) - middle));
  const solve = (chosen: readonly LawPoint[], starts: readonly (readonly number[])[]): number[] => {
    const objective = (at: readonly number[]): number =>
      chosen.reduce((sum, { flops, loss }) => sum + huber(Math.log(loss) - Math.log(predict(at, flops))), 0);
    const found = starts.map((start) => nelderMead(objective, start, [0.05, 0.1, 0.02]));
    return found.reduce((best, next) => (next.value < best.value ? next : best)).at;
  };
  const starts = START_SHARES.map((share) => [Math.log(share * lowest), Math.log((1 - share) * lowest + 1e-3), -0.1]);
  const fit = solve(points, starts);
  const named = ([e, height, slope]: readonly number[]): [number, number, number] => [
    Math.exp(e!),
    Math.exp(height! - slope! * middle),
    slope!,
  ];
  const grid = bandGrid(points);
  const withBand = (law: readonly number[]): number[] => [...named(law), ...grid.map((flops) => predict(law, flops))];
  // Every draw starts from the fit: it moves a little, and one start keeps hundreds of draws affordable.
  const refit = (drawn: readonly number[]): number[] =>
    withBand(
      solve(
        drawn.map((i) => points[i]!),
        [fit],
      ),
    );
  const [irreducible, a, b, ...band] = bootstrap(withBand(fit), points.length, refit, 'irreducible law');
  const residuals = points.map(({ flops, loss }) => Math.log(loss) - Math.log(predict(fit, flops)));
  return { irreducible: irreducible!, a: a!, b: b!, residuals, band: onGrid(grid, band) };
}

const GRID_POINTS = 24;
const EXTRAPOLATION = 10;

/** Budgets evenly spaced in the logarithm, beyond the largest that was measured. */
function bandGrid(points: readonly LawPoint[]): number[] {
  const low = Math.log(Math.min(...points.map(({ flops }) => flops)));
  const high = Math.log(EXTRAPOLATION * Math.max(...points.map(({ flops }) => flops)));
  return Array.from({ length: GRID_POINTS }, (_, i) => Math.exp(low + ((high - low) * i) / (GRID_POINTS - 1)));
}

const onGrid = (grid: readonly number[], band: readonly Estimate[]): PowerLaw['band'] =>
  grid.map((flops, i) => ({ flops, ...band[i]! }));

const huber = (residual: number): number => {
  const size = Math.abs(residual);
  return size <= HUBER_DELTA ? (size * size) / 2 : HUBER_DELTA * (size - HUBER_DELTA / 2);
};

const meanLog = (points: readonly LawPoint[]): number =>
  points.reduce((sum, { flops }) => sum + Math.log(flops), 0) / points.length;
