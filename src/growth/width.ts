import { type Family, familyOf, initialisation, type ModelConfig, type WeightSpec } from '../architecture/index.js';
import { shapeOfSpec } from './depth.js';
import type { Expression } from './expression.js';
import { countUses, mapOf } from './moments.js';
import type { IndexMap, PlanDraft, WidthMaps } from './plan.js';
import { isIdentity } from './width-maps.js';

/** How an operator that copies units treats what its maps leave open. */
export interface CopyRules {
  readonly maps: WidthMaps;
  readonly seed: number;
  /** What copies of one input share: equally, by uneven random weights, by a factor for all, or the inverse of its growth. */
  readonly columns:
    | { readonly kind: 'even' }
    | { readonly kind: 'uneven' }
    | { readonly kind: 'factor'; readonly of: (from: number, to: number) => number };
  /** Signal-to-noise ratio of paired noise in dB; none where left out. */
  readonly pairedNoiseDb?: number;
  /** Factor of norm gains, with which fillers (zeros in the stream) change no norm's output. */
  readonly gain?: number;
  /** Columns that meet fillers are drawn instead of zero. */
  readonly drawFillers?: boolean;
  /** Relative level of plain noise, in units of a fresh initialisation; not function-preserving. */
  readonly noiseLevel?: number;
}

/** A weight's axes with the maps that change them. */
interface MappedAxis {
  readonly axis: 0 | 1;
  readonly index: IndexMap;
  readonly unit: { readonly unit?: number };
  readonly sourceSize: number;
}

/** Maps of a weight's axes that are not identities. */
export function changedAxes(spec: WeightSpec, source: WeightSpec, maps: WidthMaps): MappedAxis[] {
  return spec.axes.flatMap((axis, place) => {
    const index = mapOf({ maps }, axis, spec.layer);
    const sourceSize = source.axes[place]!.size / axis.unit;
    if (index === undefined || isIdentity(index, sourceSize)) return [];
    return [{ axis: place as 0 | 1, index, unit: axis.unit === 1 ? {} : { unit: axis.unit }, sourceSize }];
  });
}

/** An axis that a weight reads from; the others it writes to. Tables are looked up, so their hidden axis is written. */
export const isInput = (spec: WeightSpec, axis: 0 | 1): boolean =>
  axis === 1 && spec.role !== 'embedding' && spec.role !== 'positionEmbedding';

/** Source and target weights side by side: width growth keeps their order. */
export function pairedSpecs(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
): { spec: WeightSpec; source: WeightSpec }[] {
  const sources = family.weights(source);
  return family
    .weights(target)
    .map((spec, i) => ({ spec, source: sources[i]! }))
    .filter(({ spec }) => spec.tiedTo === undefined);
}

/** The tensors of a model whose units are copies of another's, by maps. */
export function copyWidth(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
  rules: CopyRules,
): Record<string, Expression> {
  const tensors: Record<string, Expression> = {};
  for (const { spec, source: from } of pairedSpecs(family, source, target))
    tensors[spec.name] = copiedTensor(spec, from, target, rules);
  if (target.tie_word_embeddings) foldHeadIntoFinalNorm(family, source, target, rules, tensors);
  return tensors;
}

function copiedTensor(spec: WeightSpec, from: WeightSpec, target: ModelConfig, rules: CopyRules): Expression {
  let expression: Expression = { op: 'copy', of: from.name };
  const changed = changedAxes(spec, from, rules.maps);
  for (const { axis, index, unit } of changed) {
    if (isInput(spec, axis)) continue;
    expression = { op: 'take', axis, index, ...unit, of: expression };
  }
  const isGain = spec.axes.length === 1 && spec.kind === 'weight' && spec.axes[0]!.role === 'hidden';
  const family = familyOf(target);
  if (isGain) return gainTensor(expression, changed[0], rules.gain ?? 1, family.normGainOffset ?? 0);
  if (spec.role === 'embedding')
    return scaleBy(expression, embeddingFactor(family, rules.maps.hidden.length, hiddenOf(from)));
  const inputs = changed.find(({ axis }) => isInput(spec, axis));
  if (inputs !== undefined) expression = inputColumns(expression, spec, inputs, target, rules);
  if (rules.noiseLevel && changed.length > 0) expression = plainNoise(expression, spec, target, rules);
  return expression;
}

const hiddenOf = (embedding: WeightSpec): number => embedding.axes[1]!.size;

/** What the embedding is multiplied by where the forward multiplies it by sqrt(hidden size): the stream must stay as it was. */
export const embeddingFactor = (family: Family, hidden: number, sourceHidden: number): number =>
  family.embeddingTimesSqrtHidden === true ? Math.sqrt(sourceHidden / hidden) : 1;

/** Norm gains: copied, fillers 1 (they meet zeros), all old ones times `gain`. */
function gainTensor(copied: Expression, changed: MappedAxis | undefined, gain: number, offset: number): Expression {
  if (changed === undefined) return copied;
  const { index, sourceSize } = changed;
  if (!index.includes(-1)) return scaleGain(copied, gain, offset, index.length);
  const inner = copied.op === 'take' ? copied.of : copied;
  const old = scaleGain(inner, gain, offset, sourceSize);
  return { op: 'block', rows: { index }, of: [[old], [{ op: 'constant', by: 1 - offset, shape: [index.length] }]] };
}

/** Norm gains times a factor, or one factor each, also where they are stored less `offset`: f (w + offset) - offset. */
export function scaleGain(of: Expression, by: number | readonly number[], offset: number, size: number): Expression {
  const isEqual = typeof by === 'number' || by.every((factor) => factor === by[0]);
  const factors = typeof by !== 'number' && isEqual ? (by[0] ?? 1) : by;
  if (factors === 1) return of;
  const times = (inner: Expression, f: number | readonly number[]): Expression =>
    typeof f === 'number' ? { op: 'scale', by: f, of: inner } : { op: 'scale', axis: 0, by: f, of: inner };
  if (offset === 0) return times(of, factors);
  const less = typeof factors === 'number' ? factors - 1 : factors.map((factor) => factor - 1);
  return {
    op: 'mix',
    by: [1, 1],
    of: [times(of, factors), times({ op: 'constant', by: offset, shape: [size] }, less)],
  };
}

function inputColumns(
  of: Expression,
  spec: WeightSpec,
  { index, unit, sourceSize }: MappedAxis,
  target: ModelConfig,
  rules: CopyRules,
): Expression {
  const axis = 1;
  const { columns, seed, pairedNoiseDb } = rules;
  const counts = countUses(index);
  const taken: Expression = { op: 'take', axis, index, ...unit, of };
  let expression: Expression;
  if (columns.kind === 'factor') expression = scaleBy(taken, columns.of(sourceSize, index.length));
  else if (columns.kind === 'uneven' && [...counts.values()].some((count) => count > 1)) {
    const std = 1 / (Math.sqrt(spec.axes[1]!.size) * Math.max(1, target.num_hidden_layers));
    expression = { op: 'unevenSplit', index, ...unit, by: std, seed, name: spec.name, of };
  } else {
    const by = index.map((from) => 1 / (counts.get(from) ?? 1));
    const equal = by.every((factor) => factor === by[0]);
    expression = equal ? scaleBy(taken, by[0]!) : { op: 'scale', axis, by, ...unit, of: taken };
  }
  const pairs = pairedNoiseDb === undefined ? [] : copyPairs(index);
  if (pairs.length > 0)
    expression = { op: 'pairedNoise', pairs, ...unit, snrDb: pairedNoiseDb!, seed, name: spec.name, of: expression };
  if (rules.drawFillers && index.includes(-1)) {
    const fresh: Expression = {
      op: 'draw',
      by: freshStd(spec, target),
      seed,
      name: spec.name,
      shape: shapeOfSpec(spec),
    };
    const kept = index.map((from, i) => (from < 0 ? -1 : i));
    expression = { op: 'block', columns: { index: kept, ...unit }, of: [[expression, fresh]] };
  }
  return expression;
}

const scaleBy = (of: Expression, by: number): Expression => (by === 1 ? of : { op: 'scale', by, of });

/** Copies of one unit, two by two; of an odd number the last stays alone. */
export function copyPairs(index: IndexMap): [number, number][] {
  const waiting = new Map<number, number>();
  const pairs: [number, number][] = [];
  index.forEach((from, i) => {
    if (from < 0) return;
    const other = waiting.get(from);
    if (other === undefined) waiting.set(from, i);
    else {
      pairs.push([other, i]);
      waiting.delete(from);
    }
  });
  return pairs;
}

function plainNoise(of: Expression, spec: WeightSpec, target: ModelConfig, rules: CopyRules): Expression {
  if (spec.axes.length < 2) return of;
  const std = freshStd(spec, target) * rules.noiseLevel!;
  const noise: Expression = {
    op: 'draw',
    by: std,
    seed: rules.seed,
    name: `${spec.name} level`,
    shape: shapeOfSpec(spec),
  };
  return { op: 'mix', by: [1, 1], of: [of, noise] };
}

/** Standard deviation of a fresh weight. */
export function freshStd(spec: WeightSpec, config: ModelConfig): number {
  const fill = initialisation(spec, config);
  return fill.kind === 'normal' ? fill.std : 0;
}

/**
 * A tied matrix cannot be copied for the embedding and divided for the head: the division goes into the final norm's gain.
 * Exact for copies, since the head sees gain * x; see staged training (arXiv 2203.06211, code), which halves it.
 */
function foldHeadIntoFinalNorm(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
  { maps, columns }: CopyRules,
  tensors: Record<string, Expression>,
): void {
  if (isIdentity(maps.hidden, source.hidden_size)) return;
  const counts = countUses(maps.hidden);
  // The tied table is as small as the embedding asks for; what the head lacks by that goes into the gain, too.
  const table = embeddingFactor(family, target.hidden_size, source.hidden_size);
  const by = maps.hidden.map((from) =>
    columns.kind === 'factor'
      ? columns.of(source.hidden_size, target.hidden_size) / table
      : 1 / (counts.get(from) ?? 1) / table,
  );
  for (const spec of family.weights(target).filter(({ role, kind }) => role === 'finalNorm' && kind === 'weight'))
    tensors[spec.name] = scaleGain(tensors[spec.name]!, by, family.normGainOffset ?? 0, target.hidden_size);
  for (const spec of family.weights(target).filter(({ role, kind }) => role === 'finalNorm' && kind === 'bias'))
    tensors[spec.name] = { op: 'scale', axis: 0, by, of: tensors[spec.name]! };
}

/** Whether every unit is copied equally often, none missing and nothing new: then norms see the same mean square. */
export function isBalanced(map: IndexMap, size: number): boolean {
  const counts = countUses(map);
  return !map.includes(-1) && counts.size === size && new Set(counts.values()).size === 1;
}

export const isComplete = (map: IndexMap, size: number): boolean => countUses(map).size === size;

/** How a copying plan preserves the function: the hidden axis decides through the norms. */
export function copyPreserves(
  source: ModelConfig,
  maps: WidthMaps,
  exactColumns: boolean,
): NonNullable<PlanDraft['preservesFunction']> {
  if (!exactColumns) return { claimed: false, condition: 'copies do not share their input by weights that sum to 1' };
  if (!maps.ffn.every((map) => isComplete(map, source.intermediate_size)))
    return { claimed: false, condition: 'some ffn units are missing' };
  if (!headNormsKept(source, maps)) return { claimed: false, condition: headNormCondition };
  if (!maps.heads.every((map) => isComplete(map, source.num_attention_heads)))
    return { claimed: false, condition: 'some heads are missing' };
  if (!isBalanced(maps.hidden, source.hidden_size))
    return {
      claimed: false,
      condition: 'hidden units are copied unequally often, which changes the mean square that the norms divide by',
    };
  return { claimed: true, condition: 'exactly, up to rounding: every unit is copied equally often' };
}

/** What is said where copies would stay equal for ever. */
export const twinWarning =
  'without noise, copies get equal gradients and stay equal for ever, unless the optimizer state grows by pad-zero';

/** What paired noise is by default, in dB below the weights. */
export const DEFAULT_NOISE_DB = 10;

/** Whether norms over all heads (OLMo-2's on queries and keys) see the same mean square: all heads copied equally often. */
export function headNormsKept(source: ModelConfig, maps: WidthMaps): boolean {
  const spans = familyOf(source)
    .weights(source)
    .some(({ role, axes }) => (role === 'queryNorm' || role === 'keyNorm') && axes[0]!.role !== 'headDim');
  return (
    !spans ||
    (maps.heads.every((map) => isBalanced(map, source.num_attention_heads)) &&
      maps.kvHeads.every((map) => isBalanced(map, source.num_key_value_heads)))
  );
}

/**
 * Whether scaling the config's one epsilon, as fillers and zeros in the stream ask for, is right for every norm: those on queries
 * and keys do not see the stream.
 */
export const epsilonIsShared = (source: ModelConfig): boolean =>
  familyOf(source)
    .weights(source)
    .some(({ role }) => role === 'queryNorm' || role === 'keyNorm');

export const epsilonCondition = 'up to the epsilon, which the norms of queries and keys share with those of the stream';

export const headNormCondition =
  'query and key norms span all heads, whose mean square changes unless all are copied equally often';
