import type { WeightRole, WeightSpec } from '../architecture/index.js';
import { concat, type Context, type Destination, type Value } from '../ops/index.js';
import type { ArenaLayout, ArenaRange } from './arena.js';

/** The weights of a model, as its forward asks for them. */
export interface Parameters {
  /** A weight by its role; undefined where this model has none (a bias that is switched off). */
  find(role: WeightRole, layer?: number, kind?: 'weight' | 'bias'): Value | undefined;
  /** The same, for weights that every model of the family has. */
  get(role: WeightRole, layer?: number, kind?: 'weight' | 'bias'): Value;
  /** Several weights one below the other, as one matrix (or vector), so that one product serves them. */
  group(roles: readonly WeightRole[], layer: number, kind?: 'weight' | 'bias'): Value | undefined;
}

/** Asked for each trained range: asks for its gradient. */
export type TrackRange = (value: Value, range: { offset: number; shape: readonly number[] }) => void;

/**
 * Parameters that lie in a flat arena.
 *
 * Neighbours become one view; what does not lie side by side is concatenated by a recorded op.
 *
 * @param track Called once for each value with trained weights that the forward uses.
 */
export function arenaParameters(
  context: Context,
  arena: Value,
  layout: ArenaLayout,
  weights: readonly WeightSpec[],
  track?: TrackRange,
): Parameters {
  const byRole = new Map(weights.map((spec) => [roleKey(spec.role, spec.layer, spec.kind), spec]));
  const made = new Map<string, Value>();
  const view = (ranges: readonly ArenaRange[]): Value => {
    const first = ranges[0] as ArenaRange;
    const key = `${first.offset}+${ranges.length}`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const rows = ranges.reduce((sum, range) => sum + (range.shape[0] as number), 0);
    const shape = [rows, ...first.shape.slice(1)];
    const value = context.view(arena, first.offset, shape);
    if (first.trained) track?.(value, { offset: first.offset, shape });
    made.set(key, value);
    return value;
  };
  const rangeOf = (role: WeightRole, layer?: number, kind: 'weight' | 'bias' = 'weight'): ArenaRange | undefined => {
    const spec = byRole.get(roleKey(role, layer, kind));
    return spec && layout.ranges.get(spec.tiedTo ?? spec.name);
  };
  const find: Parameters['find'] = (role, layer, kind) => {
    const range = rangeOf(role, layer, kind);
    return range && view([range]);
  };
  return {
    find,
    get(role, layer, kind) {
      const value = find(role, layer, kind);
      if (value === undefined)
        throw new TypeError(`the weight map has no ${role}${layer === undefined ? '' : ` in layer ${layer}`}`);
      return value;
    },
    group(roles, layer, kind) {
      const ranges = roles.map((role) => rangeOf(role, layer, kind)).filter((range) => range !== undefined);
      if (ranges.length < roles.length) return undefined;
      return areNeighbours(ranges)
        ? view(ranges)
        : concat(
            context,
            ranges.map((range) => view([range])),
          );
    },
  };
}

const roleKey = (role: WeightRole, layer: number | undefined, kind: string): string => `${role}/${layer ?? ''}/${kind}`;

const areNeighbours = (ranges: readonly ArenaRange[]): boolean =>
  ranges.every((range, i) => {
    const before = ranges[i - 1];
    return before === undefined || (before.offset + before.size === range.offset && before.trained === range.trained);
  });

/** Tracks trained ranges on a tape; their gradients go to the same place in a gradient arena, on top of what is there if asked. */
export const trackInto =
  (
    tape: Context & { track(value: Value, destination: Destination): void },
    gradients: Value,
    accumulate: boolean,
  ): TrackRange =>
  (value, { offset, shape }) => {
    const place = tape.view(gradients, offset, shape);
    tape.track(value, accumulate ? { onto: place, into: place } : { into: place });
  };
