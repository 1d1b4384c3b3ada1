import { type Axis, familyOf, type WeightSpec } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { byLayer, zeroLike } from './depth.js';
import type { Expression } from './expression.js';
import type { IndexMap, OptimizerStateTreatment, Plan, WidthMaps } from './plan.js';
import { diagonalCopies } from './width-maps.js';

/** Target layers that growth adds: all but the first plain copy of each source layer. */
export function addedLayers(plan: Pick<Plan, 'layers'>): number[] {
  const seen = new Set<number>();
  return (plan.layers ?? []).flatMap((layer, i) => {
    if (layer.kind !== 'copy' || seen.has(layer.from)) return [i];
    seen.add(layer.from);
    return [];
  });
}

/** The index map of an axis in a plan, or undefined where the axis does not grow. */
export function mapOf(plan: Pick<Plan, 'maps'>, axis: Axis, layer: number | undefined): IndexMap | undefined {
  if (plan.maps === undefined) return undefined;
  switch (axis.role) {
    case 'hidden':
      return plan.maps.hidden;
    case 'ffn':
      return plan.maps.ffn[layer!];
    case 'heads':
      return plan.maps.heads[layer!];
    case 'kvHeads':
      return plan.maps.kvHeads[layer!];
    default:
      return undefined;
  }
}

/** How often each source unit is used by a map. */
export function countUses(map: IndexMap): Map<number, number> {
  const counts = new Map<number, number>();
  for (const from of map) if (from >= 0) counts.set(from, (counts.get(from) ?? 0) + 1);
  return counts;
}

/** A map in which only the first copy of each source unit is left; -1 elsewhere. */
export function firstCopies(map: IndexMap): IndexMap {
  const seen = new Set<number>();
  return map.map((from) => {
    if (from < 0 || seen.has(from)) return -1;
    seen.add(from);
    return from;
  });
}

/**
 * How the optimizer's moments of the grown model come from those of the source, or undefined where they start fresh.
 *
 * `copy` duplicates with the layers (depth only). `grow-linear` follows the gradient: where a unit is shared by c copies each
 * gets 1/c of the first moment and 1/c² of the second (staged training, arXiv 2203.06211, code). `pad-zero` keeps the moments
 * of old entries; new ones start at zero (Masked Structural Growth, arXiv 2305.02869, code).
 *
 * @param moment Which moment of Adam; Muon's momentum is a first moment.
 * @throws InputError where the treatment is not defined for the plan.
 */
export function momentTensors(
  plan: Pick<Plan, 'operator' | 'source' | 'target' | 'layers' | 'maps' | 'tensors' | 'optimizerState'>,
  moment: 'first' | 'second',
): Record<string, Expression> | undefined {
  const treatment = plan.optimizerState;
  if (treatment === 'fresh') return undefined;
  if (plan.layers === undefined && plan.maps === undefined)
    throw new InputError(
      `Operator ${plan.operator} mixes weights, so the optimizer's state cannot be taken over by "${treatment}"; use fresh.`,
    );
  if (treatment === 'copy' && plan.maps !== undefined)
    throw new InputError(
      `Optimizer state "copy" is for depth only; operator ${plan.operator} grows width: use grow-linear, pad-zero or fresh.`,
    );
  const sources = byLayer(familyOf(plan.source).weights(plan.source));
  const added = new Set(addedLayers(plan));
  const tensors: Record<string, Expression> = {};
  for (const [layer, specs] of byLayer(familyOf(plan.target).weights(plan.target)))
    for (const [place, spec] of specs.entries()) {
      if (spec.tiedTo !== undefined) continue;
      const from = sourceLayerOf(plan, layer);
      const lost = from === null || (treatment === 'pad-zero' && layer !== undefined && added.has(layer));
      const isZeroed =
        layer !== undefined && plan.layers?.[layer]?.kind === 'zeroed' && plan.tensors[spec.name]?.op === 'zero';
      const source = lost || isZeroed ? undefined : sources.get(from ?? undefined)?.[place];
      tensors[spec.name] = source === undefined ? zeroLike(spec) : momentOf(plan, spec, source, treatment, moment);
    }
  return tensors;
}

/** The source layer of a target layer: undefined outside the layers, null where there is none. */
function sourceLayerOf(plan: Pick<Plan, 'layers'>, layer: number | undefined): number | undefined | null {
  if (layer === undefined || plan.layers === undefined) return layer;
  const source = plan.layers[layer]!;
  return source.kind === 'copy' || source.kind === 'zeroed' ? source.from : null;
}

function momentOf(
  plan: Pick<Plan, 'maps' | 'source'>,
  spec: WeightSpec,
  source: WeightSpec,
  treatment: OptimizerStateTreatment,
  moment: 'first' | 'second',
): Expression {
  let expression: Expression = { op: 'copy', of: source.name };
  if (plan.maps?.diagonal === true && treatment === 'grow-linear')
    return diagonalMoment(plan.maps, spec, source, moment);
  for (const [place, axis] of spec.axes.entries()) {
    const map = mapOf(plan, axis, spec.layer);
    if (map === undefined) continue;
    const index = treatment === 'pad-zero' ? firstCopies(map) : map;
    const unit = axis.unit === 1 ? {} : { unit: axis.unit };
    const at = place as 0 | 1;
    expression = { op: 'take', axis: at, index, ...unit, of: expression };
    if (treatment !== 'grow-linear' || !sharesGradient(spec, at, plan.source.tie_word_embeddings)) continue;
    const counts = countUses(map);
    const by = map.map((from) => (from < 0 ? 1 : (1 / counts.get(from)!) ** (moment === 'first' ? 1 : 2)));
    if (by.some((factor) => factor !== 1)) expression = { op: 'scale', axis: at, by, ...unit, of: expression };
  }
  return expression;
}

/** Moments of independent copies have the weights' block structure, though gradients do not (staged training, code). */
function diagonalMoment(maps: WidthMaps, spec: WeightSpec, source: WeightSpec, moment: 'first' | 'second'): Expression {
  const changed = spec.axes.flatMap((axis, place) => {
    const index = mapOf({ maps }, axis, spec.layer);
    const sourceSize = source.axes[place]!.size / axis.unit;
    const unit = axis.unit === 1 ? {} : { unit: axis.unit };
    return index === undefined || index.length === sourceSize
      ? []
      : [{ axis: place as 0 | 1, index, unit, sourceSize }];
  });
  const copy: Expression = { op: 'copy', of: source.name };
  if (changed.length === 0) return copy;
  const { index, sourceSize } = changed[0]!;
  const count = index.length / sourceSize;
  const isTable = spec.role === 'embedding' || spec.role === 'head' || spec.axes.length === 1;
  const grown = isTable
    ? changed.reduce<Expression>(
        (of, { axis, index: at, unit }) => ({ op: 'take', axis, index: at, ...unit, of }),
        copy,
      )
    : diagonalCopies(copy, changed, count);
  const share = spec.role === 'finalNorm' ? 1 : (1 / count) ** (moment === 'first' ? 1 : 2);
  return share === 1 ? grown : { op: 'scale', by: share, of: grown };
}

/** Whether copies along this axis share one gradient: outputs do; inputs are equal, so each sees it whole. */
function sharesGradient(spec: WeightSpec, axis: 0 | 1, tied: boolean): boolean {
  if (spec.role === 'embedding' || spec.role === 'positionEmbedding') return axis === 1;
  if (spec.role === 'head') return false;
  // With a tied head the division by c sits in the final norm's gain, so its gradient stays whole.
  if (spec.role === 'finalNorm') return !tied;
  return axis === 0;
}
