import { InputError } from '../errors.js';
import { depthTensors, type LayerRules } from './depth.js';
import type { OperatorRequest } from './operator.js';
import type { LayerSource, PlanDraft } from './plan.js';
import { requestedLayers, resizedConfig } from './target.js';

/** A plan that makes each target layer as a list says. */
export function planLayers(
  request: Pick<OperatorRequest<unknown>, 'family' | 'source' | 'seed'>,
  layers: readonly LayerSource[],
  rules: Omit<LayerRules, 'seed'> = {},
): PlanDraft {
  const { family, source, seed } = request;
  const patternOf = (i: number): number => {
    const layer = layers[i]!;
    if (layer.kind === 'draw') return i % Math.max(1, source.num_hidden_layers);
    return typeof layer.from === 'number' ? layer.from : layer.from[0];
  };
  const target = resizedConfig(family, source, { num_hidden_layers: layers.length }, patternOf);
  const unchanged =
    layers.length === source.num_hidden_layers && layers.every((layer, i) => layer.kind === 'copy' && layer.from === i);
  return {
    target,
    layers,
    tensors: depthTensors(family, source, target, layers, { seed, ...rules }),
    ...(unchanged ? { preservesFunction: { claimed: true, condition: 'nothing changes' } } : {}),
  };
}

/** Plain copies of the layers named. */
export const copies = (from: readonly number[]): LayerSource[] => from.map((layer) => ({ kind: 'copy', from: layer }));

/**
 * The number of target layers of a growing depth operator.
 *
 * @param fallback What the operator does where neither factor nor layers are given.
 * @throws InputError where there is none, or where it is below the source's.
 */
export function growingLayers(
  id: string,
  { source, sizes, depthFactor }: Pick<OperatorRequest<unknown>, 'source' | 'sizes' | 'depthFactor'>,
  fallback?: number,
): number {
  const count = source.num_hidden_layers;
  const target = requestedLayers(source, sizes, depthFactor) ?? fallback;
  if (target === undefined) throw new InputError(`Operator ${id} needs --factor or --layers.`);
  if (count === 0) throw new InputError(`Operator ${id} needs a source with layers, found none; use expand.`);
  if (target < count)
    throw new InputError(`Operator ${id} grows: it cannot make ${target} layers out of ${count}; use inherit.`);
  return target;
}

/** Gaps between neighbouring layers that get a new one: gap i lies between layers i and i + 1. */
export function chooseGaps(id: string, layers: number, added: number, where: 'upper' | 'spread'): number[] {
  const gaps = layers - 1;
  if (added > gaps)
    throw new InputError(
      `Operator ${id} puts one layer into a gap between two: it reaches ${layers} to ${layers + gaps} layers, found ${layers + added}.`,
    );
  if (where === 'upper') return Array.from({ length: added }, (_, i) => gaps - added + i);
  return Array.from({ length: added }, (_, i) => Math.floor(((i + 0.5) * gaps) / added));
}

/** The source's layers with one made of its two neighbours in each gap. */
export function fillGaps(
  layers: number,
  gaps: readonly number[],
  kind: 'mean' | 'slerp' | 'learned' | 'transport',
): LayerSource[] {
  const filled = new Set(gaps);
  return Array.from({ length: layers }, (_, i): LayerSource[] => {
    const layer: LayerSource = { kind: 'copy', from: i };
    return filled.has(i) ? [layer, { kind, from: [i, i + 1] }] : [layer];
  }).flat();
}
