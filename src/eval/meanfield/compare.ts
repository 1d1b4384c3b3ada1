import type { AxisRole, WeightRole } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { openCheckpoint } from '../../interop/index.js';
import { type AxisNorms, modelNorms } from './model-norms.js';
import { correlation, cosine, dispersion, mean, relativeHistogram, shuffled } from './norms.js';

/** How alike the norms of rows (or columns) are spread in two models, in the mean over the layers. */
export interface SpreadComparison {
  readonly role: WeightRole;
  readonly side: 'row' | 'column';
  readonly axis: AxisRole;
  /** Pairs of matrices. */
  readonly pairs: number;
  /** Cosine of the two histograms of norms over their mean. */
  readonly cosine: number;
  /** The same with the entries of the second model's matrices shuffled. */
  readonly control: number;
  /** Standard deviation over mean, in the first and the second model, and with the second one's entries shuffled. */
  readonly dispersion: { readonly a: number; readonly b: number; readonly control: number };
}

/** Whether norms of two kinds of matrix go together along an axis that they share: unit by unit, inside of each model. */
export interface SharedAxis {
  readonly axis: AxisRole;
  readonly roles: readonly [string, string];
  readonly a: number;
  readonly b: number;
  /** The same with the units of one of the two shuffled, in the mean of both models. */
  readonly control: number;
}

/** What two models of different width have in common. */
export interface MeanFieldReport {
  readonly a: string;
  readonly b: string;
  readonly widths: readonly [number, number];
  readonly spreads: readonly SpreadComparison[];
  /** Means over `spreads`. */
  readonly meanCosine: number;
  readonly meanControl: number;
  readonly shared: readonly SharedAxis[];
  /** Correlation of the two models' correlations in `shared`, over the pairs of roles; and against the controls. */
  readonly patternAgreement: number;
  readonly patternControl: number;
}

export interface MeanFieldOptions {
  /** Of the shuffled controls. */
  readonly seed?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Compares the statistics of rows and columns of two models of different width.
 *
 * If trained weights are samples of one measure over row and column variables (the ansatz of arXiv 2408.08681), norms of rows and columns spread alike
 * at every width, and norms of matrices that share an axis go together along it; shuffled entries show neither. Layers are matched by their
 * relative depth. The histograms and correlations are ours: the paper shows correlation patterns and publishes no code.
 *
 * @param a, b Checkpoints, run folders or `RUN@step` of one family.
 * @throws InputError where the families differ or a model has no layers.
 */
export function compareMeanField(
  a: string,
  b: string,
  { seed = 0, onProgress }: MeanFieldOptions = {},
): MeanFieldReport {
  using first = openCheckpoint(a);
  using second = openCheckpoint(b);
  if (first.config.model_type !== second.config.model_type)
    throw new InputError(
      `${b}: expected a model of model_type "${first.config.model_type}" as in ${a}, found "${second.config.model_type}".`,
    );
  const depths = [first.config.num_hidden_layers, second.config.num_hidden_layers] as const;
  if (Math.min(...depths) === 0)
    throw new InputError(`${depths[0] === 0 ? a : b}: the model has no layers to compare.`);
  const total = first.weights.length + second.weights.length;
  const normsA = modelNorms(first, seed, (done) => onProgress?.(done, total));
  const normsB = modelNorms(second, seed + 1, (done) => onProgress?.(first.weights.length + done, total));
  const spreads = compareSpreads(normsA, normsB, depths);
  const shared = compareShared(normsA, normsB, seed);
  const column = (pick: (entry: SharedAxis) => number): Float64Array => Float64Array.from(shared, pick);
  return {
    a: first.folder,
    b: second.folder,
    widths: [first.config.hidden_size, second.config.hidden_size],
    spreads,
    meanCosine: mean(spreads.map((entry) => entry.cosine)),
    meanControl: mean(spreads.map((entry) => entry.control)),
    shared,
    patternAgreement: correlation(
      column((entry) => entry.a),
      column((entry) => entry.b),
    ),
    patternControl: correlation(
      column((entry) => entry.a),
      column((entry) => entry.control),
    ),
  };
}

function groupBy<T>(values: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}

/** The layer at the same relative depth in a stack of another height. */
export const matchingLayer = (layer: number, from: number, to: number): number =>
  from === 1 ? 0 : Math.round((layer * (to - 1)) / (from - 1));

function compareSpreads(
  a: readonly AxisNorms[],
  b: readonly AxisNorms[],
  [from, to]: readonly [number, number],
): SpreadComparison[] {
  const key = ({ role, side }: AxisNorms): string => `${role} ${side}`;
  return [...groupBy(a, key).values()].flatMap((group) => {
    const { role, side, axis } = group[0]!;
    const pairs = group.flatMap((one) => {
      const layer = one.layer === undefined ? undefined : matchingLayer(one.layer, from, to);
      const other = b.find((entry) => entry.role === role && entry.side === side && entry.layer === layer);
      return other === undefined ? [] : [{ one, other }];
    });
    if (pairs.length === 0) return [];
    const over = (measure: (pair: (typeof pairs)[number]) => number): number => mean(pairs.map(measure));
    const alike = (x: Float64Array, y: Float64Array): number => cosine(relativeHistogram(x), relativeHistogram(y));
    return [
      {
        role,
        side,
        axis,
        pairs: pairs.length,
        cosine: over(({ one, other }) => alike(one.norms, other.norms)),
        control: over(({ one, other }) => alike(one.norms, other.control)),
        dispersion: {
          a: over(({ one }) => dispersion(one.norms)),
          b: over(({ other }) => dispersion(other.norms)),
          control: over(({ other }) => dispersion(other.control)),
        },
      },
    ];
  });
}

function compareShared(a: readonly AxisNorms[], b: readonly AxisNorms[], seed: number): SharedAxis[] {
  const [inA, inB] = [correlationsOf(a, seed), correlationsOf(b, seed + 1)];
  return [...inA].flatMap(([key, one]) => {
    const other = inB.get(key);
    if (other === undefined) return [];
    return [
      {
        axis: one.axis,
        roles: one.roles,
        a: mean(one.values),
        b: mean(other.values),
        control: mean([...one.controls, ...other.controls]),
      },
    ];
  });
}

interface RolePair {
  readonly axis: AxisRole;
  readonly roles: readonly [string, string];
  readonly values: number[];
  readonly controls: number[];
}

/** Correlations along shared axes by pairs of roles; all axes but the hidden one belong to one layer. */
function correlationsOf(norms: readonly AxisNorms[], seed: number): Map<string, RolePair> {
  const found = new Map<string, RolePair>();
  const axisOf = ({ axis, layer }: AxisNorms): string => (axis === 'hidden' ? axis : `${axis} ${layer}`);
  for (const group of groupBy(norms, axisOf).values())
    group.forEach((one, i) =>
      group.slice(i + 1).forEach((other, j) => {
        if (one.norms.length !== other.norms.length) return;
        const roles = [one.role, other.role].sort() as [string, string];
        const key = `${one.axis} ${roles.join(' ')}`;
        const pair = found.get(key) ?? { axis: one.axis, roles, values: [], controls: [] };
        found.set(key, pair);
        pair.values.push(correlation(one.norms, other.norms));
        pair.controls.push(correlation(one.norms, shuffled(other.norms, seed, `${key} ${i} ${j}`)));
      }),
    );
  return found;
}
