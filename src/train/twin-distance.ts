import { countUses, type IndexMap, mapOf, type Plan, storedSpecs } from '../growth/index.js';
import type { Weights } from './weights.js';

/** How far copies of one unit have come apart. */
export interface TwinDistance {
  /** Pairs of a unit's first copy and a further one. */
  readonly pairs: number;
  /** max |a - b| over all that belongs to two copies, of the pair that is furthest apart. */
  readonly value: number;
  /** The same of the pair that is nearest. */
  readonly nearest: number;
  /** Pairs that are equal in every entry: in a deterministic engine they stay so. */
  readonly locked: number;
}

/** Steps of a stage after a growth at which twins are measured, and its last one. */
export const TWIN_STEPS: ReadonlySet<number> = new Set([0, 1, 10, 100]);

/** Pairs of copies of a map: the first of each unit with every further one. */
function pairsOf(map: IndexMap): [number, number][] {
  const first = new Map<number, number>();
  return map.flatMap((from, i): [number, number][] => {
    if (from < 0) return [];
    const twin = first.get(from);
    if (twin === undefined) first.set(from, i);
    return twin === undefined ? [] : [[twin, i]];
  });
}

/**
 * Measures the twins of a width growth: max |a - b| over the rows that make and the columns that read two copies of a unit (RELATED lesson:
 * copies with equal gradients and equal state stay equal for ever).
 *
 * @returns undefined where the plan copies no unit.
 */
export function twinDistance(
  plan: Pick<Plan, 'maps' | 'target'>,
  weights: Pick<Weights, 'parameter'>,
): TwinDistance | undefined {
  const distances = new Map<string, Float64Array>();
  const pairsByAxis = new Map<IndexMap, [number, number][]>();
  for (const spec of storedSpecs(plan.target)) {
    const columns = spec.axes[1]?.size ?? 1;
    for (const [place, axis] of spec.axes.entries()) {
      const map = mapOf(plan, axis, spec.layer);
      if (map === undefined || countUses(map).size === map.length) continue;
      const pairs = pairsByAxis.get(map) ?? pairsOf(map);
      pairsByAxis.set(map, pairs);
      // The hidden axis is one for the whole model; the others belong to their layers.
      const key = axis.role === 'hidden' ? axis.role : `${axis.role} ${spec.layer}`;
      const known = distances.get(key) ?? new Float64Array(pairs.length);
      distances.set(key, known);
      const values = weights.parameter(spec.name);
      pairs.forEach(([a, b], i) => {
        const [from, to] = [a * axis.unit, b * axis.unit];
        const apart =
          place === 0
            ? rowsApart(values, columns, from, to, axis.unit)
            : columnsApart(values, columns, from, to, axis.unit);
        known[i] = Math.max(known[i]!, apart);
      });
    }
  }
  const all = [...distances.values()].flatMap((list) => [...list]);
  if (all.length === 0) return undefined;
  return {
    pairs: all.length,
    value: all.reduce((most, x) => Math.max(most, x), 0),
    nearest: all.reduce((least, x) => Math.min(least, x), Infinity),
    locked: all.filter((x) => x === 0).length,
  };
}

function rowsApart(values: ArrayLike<number>, columns: number, a: number, b: number, rows: number): number {
  let most = 0;
  for (let i = 0; i < rows * columns; i++)
    most = Math.max(most, Math.abs(values[a * columns + i]! - values[b * columns + i]!));
  return most;
}

function columnsApart(values: ArrayLike<number>, columns: number, a: number, b: number, width: number): number {
  let most = 0;
  for (let row = 0; row < values.length; row += columns)
    for (let k = 0; k < width; k++) most = Math.max(most, Math.abs(values[row + a + k]! - values[row + b + k]!));
  return most;
}
