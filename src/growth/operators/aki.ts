import { z } from 'zod';
import type { Family, ModelConfig, WeightSpec } from '../../architecture/index.js';
import { byLayer } from '../depth.js';
import type { Expression } from '../expression.js';
import { firstCopies } from '../moments.js';
import { defineOperator } from '../operator.js';
import type { PlanDraft, WidthMaps } from '../plan.js';
import { changedAxes, copyWidth, DEFAULT_NOISE_DB, isInput } from '../width.js';
import { isIdentity, widerConfig, widthMaps } from '../width-maps.js';
import type { TargetSizes } from '../target.js';

export const akiOptions = {
  map: z
    .enum(['circular', 'random'])
    .default('circular')
    .describe('which units new ones are taken from: in order, or drawn'),
  axes: z
    .enum(['all', 'inner'])
    .default('all')
    .describe('all: new rows of every matrix come from the next layer; inner: only those of heads and ffn'),
  snrDb: z
    .number()
    .default(DEFAULT_NOISE_DB)
    .describe('paired noise, dB below the weights, which parts the copies of the last layer'),
  faithful: z.boolean().default(false).describe("the authors' version: no noise, random map"),
};

interface AkiOptions {
  readonly map: 'circular' | 'random';
  readonly axes: 'all' | 'inner';
  readonly snrDb: number;
  readonly faithful: boolean;
}

/**
 * Advanced knowledge initialisation: new rows come from the next layer's matrix, after both were widened on the input side.
 *
 * The last layer has no next one and is widened as FPI does.
 */
export function planAki(
  id: string,
  family: Family,
  source: ModelConfig,
  sizes: TargetSizes,
  widthFactor: number | undefined,
  { map, axes, snrDb, faithful }: AkiOptions,
  seed: number,
): PlanDraft {
  const target = widerConfig(id, family, source, sizes, widthFactor);
  const maps = widthMaps(source, target, faithful ? 'random' : map, seed);
  // Heads and kv heads of neighbouring layers must be copied alike, or a row would meet another head's keys.
  const alike: WidthMaps = {
    hidden: maps.hidden,
    ffn: maps.ffn.map(() => maps.ffn[0]!),
    heads: maps.heads.map(() => maps.heads[0]!),
    kvHeads: maps.kvHeads.map(() => maps.kvHeads[0]!),
  };
  const copied = copyWidth(family, source, target, {
    maps: alike,
    seed,
    columns: { kind: 'even' },
    ...(faithful ? {} : { pairedNoiseDb: snrDb }),
  });
  const sources = byLayer(family.weights(source));
  const tensors = { ...copied };
  for (const [layer, specs] of byLayer(family.weights(target)))
    for (const [place, spec] of specs.entries()) {
      const next = layer === undefined ? undefined : sources.get(layer + 1)?.[place];
      const rows = next === undefined ? undefined : newRows(spec, sources.get(layer)![place]!, alike, axes);
      if (next === undefined || rows === undefined) continue;
      tensors[spec.name] = withRowsOfNext(copied[spec.name]!, copied[next.name]!, rows);
    }
  const unchanged = isIdentity(alike.hidden, source.hidden_size) && specsUnchanged(source, target);
  return {
    target,
    maps: alike,
    tensors,
    ...(unchanged ? { preservesFunction: { claimed: true, condition: 'nothing changes' } } : {}),
  };
}

const specsUnchanged = (source: ModelConfig, target: ModelConfig): boolean =>
  JSON.stringify(source) === JSON.stringify(target);

/** Target rows that stay, and those that are new, of a matrix or bias; undefined where no row is new. */
function newRows(
  spec: WeightSpec,
  source: WeightSpec,
  maps: WidthMaps,
  axes: 'all' | 'inner',
): { index: readonly number[]; unit?: number } | undefined {
  const isNorm = spec.axes.length === 1 && spec.kind === 'weight';
  if (isNorm || (axes === 'inner' && spec.axes[0]!.role === 'hidden')) return undefined;
  const changed = changedAxes(spec, source, maps).find(({ axis }) => !isInput(spec, axis));
  if (changed === undefined) return undefined;
  const kept = firstCopies(changed.index).map((from, i) => (from < 0 ? -1 : i));
  return { index: kept, ...changed.unit };
}

function withRowsOfNext(
  own: Expression,
  next: Expression,
  rows: { index: readonly number[]; unit?: number },
): Expression {
  return { op: 'block', rows, of: [[own], [next]] };
}

/** bert2BERT's advanced knowledge initialisation. */
export const aki = defineOperator({
  id: 'aki',
  title: 'AKI: new units from the next layer',
  paper: 'Chen et al. 2021, arXiv 2110.07143 (bert2BERT)',
  direction: 'width',
  size: 'larger',
  summary:
    'Widens inputs as FPI does; new rows come from the next layer, so that old and new units differ from the start.',
  options: z.strictObject(akiOptions),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: false, condition: 'the loss starts higher than with fpi' },
  drawing: `layer 0   [ 1 ]  ->  [ 1 ]        layer 1   [ 5 ]  ->  [ 5 ]
                     [ 5 ]                             [ 5 ]        (the last layer: as FPI)`,
  plan({ family, source, sizes, widthFactor, options, seed }) {
    return planAki('aki', family, source, sizes, widthFactor, options, seed);
  },
});
