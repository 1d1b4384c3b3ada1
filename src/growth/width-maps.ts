import { type Family, type ModelConfig, RandomStream } from '../architecture/index.js';
import { InputError } from '../errors.js';
import type { Expression } from './expression.js';
import type { IndexMap, WidthMaps } from './plan.js';
import { requestedWidths, resizedConfig, type TargetSizes } from './target.js';

/** How the units of a longer axis are chosen among those of a shorter one. */
export type MapKind = 'circular' | 'random' | 'sampled' | 'blocked';

/** 0, 1, ..., size - 1. */
export const identityMap = (size: number): number[] => Array.from({ length: size }, (_, i) => i);

/** The source's units first, then new ones. */
export const paddedMap = (source: number, target: number): number[] =>
  Array.from({ length: target }, (_, i) => (i < source ? i : -1));

/**
 * A map of one axis.
 *
 * `circular`: i mod size. `random`: all units once, then uniform draws (bert2BERT). `sampled`: uniform draws only (mean-field).
 * `blocked`: i div factor, copies side by side.
 *
 * @param name Names the random stream.
 */
export function chooseMap(kind: MapKind, source: number, target: number, seed: number, name: string): number[] {
  switch (kind) {
    case 'circular':
      return Array.from({ length: target }, (_, i) => i % source);
    case 'blocked':
      return Array.from({ length: target }, (_, i) => Math.floor((i * source) / target));
    case 'random':
      return [
        ...identityMap(Math.min(source, target)),
        ...new RandomStream(seed, `${name} map`).integers(Math.max(0, target - source), source),
      ];
    case 'sampled':
      return target === source
        ? identityMap(source)
        : new RandomStream(seed, `${name} map`).integers(target, source).sort((a, b) => a - b);
    default:
      return kind satisfies never;
  }
}

export const isIdentity = (map: IndexMap, size: number): boolean =>
  map.length === size && map.every((from, i) => from === i);

/** Query heads and kv heads of a grown attention. */
export interface HeadMaps {
  readonly heads: IndexMap;
  readonly kvHeads: IndexMap;
}

/** Heads, kv heads and query heads per group of a config. */
function groups(config: ModelConfig): { heads: number; kvHeads: number; perGroup: number } {
  const { num_attention_heads: heads, num_key_value_heads: kvHeads } = config;
  return { heads, kvHeads, perGroup: heads / kvHeads };
}

/**
 * Maps of heads that keep every query head with its own keys and values.
 *
 * @param choose Chooses a map of one axis.
 * @throws InputError naming heads and kv heads, and what would work.
 */
export function headMaps(
  source: ModelConfig,
  target: ModelConfig,
  choose: (from: number, to: number, name: string) => IndexMap,
): HeadMaps {
  const [from, to] = [groups(source), groups(target)];
  if (to.perGroup < from.perGroup) {
    // More kv heads for the same query heads: each group is divided, its keys and values copied.
    const parts = from.perGroup / to.perGroup;
    if (to.heads === from.heads && Number.isInteger(parts))
      return {
        heads: identityMap(to.heads),
        kvHeads: Array.from({ length: to.kvHeads }, (_, g) => Math.floor(g / parts)),
      };
    throw new InputError(
      `target: num_attention_heads ${to.heads} with num_key_value_heads ${to.kvHeads} has ${to.perGroup} query heads per group, ` +
        `the source has ${from.perGroup}; a group can only grow: use at most ${to.heads / from.perGroup} key-value heads.`,
    );
  }
  const kvHeads = choose(from.kvHeads, to.kvHeads, 'kvHeads');
  const heads = kvHeads.flatMap((group, i) => {
    const within = choose(from.perGroup, to.perGroup, `group ${i}`);
    return within.map((head) => (group < 0 || head < 0 ? -1 : group * from.perGroup + head));
  });
  return { heads, kvHeads };
}

/**
 * The target of a width operator: other hidden size, heads and ffn, the same head size.
 *
 * @throws InputError where nothing is asked for, where a size shrinks, or where the head size would change.
 */
export function widerConfig(
  id: string,
  family: Family,
  source: ModelConfig,
  sizes: TargetSizes,
  factor: number | undefined,
  allowSmaller = false,
): ModelConfig {
  const widths = requestedWidths(source, sizes, factor);
  if (widths === undefined)
    throw new InputError(`Operator ${id} needs --factor or a target size (--hidden, --heads, --kv-heads, --ffn).`);
  if (sizes.head_dim !== undefined && sizes.head_dim !== source.head_dim)
    throw new InputError(
      `target: head_dim stays ${source.head_dim}, found ${sizes.head_dim}: ` +
        `${family.rotary ? 'another size changes every rotary frequency' : 'heads are moved whole'}; grow num_attention_heads instead.`,
    );
  const target = resizedConfig(family, source, widths);
  if (!allowSmaller)
    for (const field of ['hidden_size', 'num_attention_heads', 'num_key_value_heads', 'intermediate_size'] as const)
      if (target[field] < source[field])
        throw new InputError(
          `Operator ${id} grows: ${field} is ${source[field]} in the source, found ${target[field]}.`,
        );
  return target;
}

/** Maps of all axes, chosen alike; every layer draws its own. */
export function widthMaps(
  source: ModelConfig,
  target: ModelConfig,
  kind: MapKind,
  seed: number,
  { hiddenPadded = false, padded = false }: { hiddenPadded?: boolean; padded?: boolean } = {},
): WidthMaps {
  const choose = (from: number, to: number, name: string): IndexMap =>
    padded ? paddedMap(from, to) : chooseMap(kind, from, to, seed, name);
  const layers = identityMap(target.num_hidden_layers);
  const ofHeads = layers.map((layer) =>
    headMaps(source, target, (from, to, name) => choose(from, to, `layer ${layer} ${name}`)),
  );
  return {
    hidden: hiddenPadded
      ? fillerMap(source.hidden_size, target.hidden_size)
      : choose(source.hidden_size, target.hidden_size, 'hidden'),
    ffn: layers.map((layer) => choose(source.intermediate_size, target.intermediate_size, `layer ${layer} ffn`)),
    heads: ofHeads.map((maps) => maps.heads),
    kvHeads: ofHeads.map((maps) => maps.kvHeads),
  };
}

/** As many whole copies as fit, then fillers (-1). */
export function fillerMap(source: number, target: number): number[] {
  const whole = Math.floor(target / source) * source;
  return Array.from({ length: target }, (_, i) => (i < whole ? i % source : -1));
}

/** Copies of a matrix on the diagonal of a larger one, zero elsewhere. */
export function diagonalCopies(
  of: Expression,
  axes: readonly {
    readonly axis: 0 | 1;
    readonly index: IndexMap;
    readonly unit: { readonly unit?: number };
    readonly sourceSize: number;
  }[],
  count: number,
): Expression {
  const blocks = Array.from({ length: count }, (_, which) =>
    axes.reduce<Expression>(
      (inner, { axis, index, unit, sourceSize }) => ({
        op: 'take',
        axis,
        index: index.map((place, i) => (Math.floor(i / sourceSize) === which ? place : -1)),
        ...unit,
        of: inner,
      }),
      of,
    ),
  );
  return { op: 'mix', by: blocks.map(() => 1), of: blocks };
}
