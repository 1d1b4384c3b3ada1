import {
  type Family,
  familyOf,
  initialisation,
  type InitialisationScheme,
  type ModelConfig,
  type WeightRole,
  type WeightSpec,
} from '../architecture/index.js';
import type { Expression } from './expression.js';
import type { LayerSource } from './plan.js';

/** How layers that are no copies are made. */
export interface LayerRules {
  readonly seed: number;
  readonly scheme?: InitialisationScheme;
  /** Weights of a layer of kind `learned` or `transport`, by the specs of its weight in the two source layers. */
  readonly made?: (target: WeightSpec, from: readonly [WeightSpec, WeightSpec], layer: LayerRecipe) => Expression;
}

/** One made layer, for rules that need to look at other weights of the same layers. */
export interface LayerRecipe {
  readonly index: number;
  readonly source: LayerSource;
  /** Specs of a source layer by role, matrices only. */
  readonly matrix: (layer: number, role: WeightRole) => WeightSpec | undefined;
}

const outputRoles: ReadonlySet<WeightRole> = new Set(['attentionOutput', 'down', 'postAttentionNorm', 'postFfnNorm']);

/** Whether a layer adds nothing to the stream when its weights of this role are zero: the last of each branch. */
export function closesBranch(spec: WeightSpec, layer: readonly WeightSpec[]): boolean {
  if (!outputRoles.has(spec.role)) return false;
  // Where a norm stands behind a branch, zeroing its gain closes the branch exactly; a zero input would only be scaled up.
  const attention = spec.role === 'attentionOutput' || spec.role === 'postAttentionNorm';
  const norm = layer.some((other) => other.role === (attention ? 'postAttentionNorm' : 'postFfnNorm'));
  return norm ? spec.role.startsWith('post') : !spec.role.startsWith('post');
}

/** Weights of each layer in order; layers of one model have the same ones. */
export function byLayer(specs: readonly WeightSpec[]): Map<number | undefined, WeightSpec[]> {
  const layers = new Map<number | undefined, WeightSpec[]>();
  for (const spec of specs) {
    const list = layers.get(spec.layer);
    if (list === undefined) layers.set(spec.layer, [spec]);
    else list.push(spec);
  }
  return layers;
}

/**
 * The tensors of a model whose layers come from another's by a list. What lies outside the layers is copied.
 *
 * @param layers One source per target layer.
 */
export function depthTensors(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
  layers: readonly LayerSource[],
  rules: LayerRules,
): Record<string, Expression> {
  const sources = byLayer(family.weights(source));
  const targets = byLayer(family.weights(target));
  const tensors: Record<string, Expression> = {};
  for (const spec of family.weights(target)) {
    if (spec.tiedTo !== undefined) continue;
    const siblings = targets.get(spec.layer)!;
    const place = siblings.findIndex((other) => other.name === spec.name);
    const at = (layer: number | undefined): WeightSpec => sources.get(layer)![place]!;
    tensors[spec.name] =
      spec.layer === undefined
        ? { op: 'copy', of: at(undefined).name }
        : layerTensor(spec, siblings, target, layers[spec.layer]!, at, rules, sources);
  }
  return tensors;
}

function layerTensor(
  spec: WeightSpec,
  specs: readonly WeightSpec[],
  target: ModelConfig,
  layer: LayerSource,
  at: (layer: number) => WeightSpec,
  rules: LayerRules,
  sources: ReadonlyMap<number | undefined, readonly WeightSpec[]>,
): Expression {
  const copy = (from: number): Expression => ({ op: 'copy', of: at(from).name });
  switch (layer.kind) {
    case 'copy':
      return copy(layer.from);
    case 'zeroed':
      return closesBranch(spec, specs) ? closedLike(spec, target) : copy(layer.from);
    case 'draw':
      return freshTensor(spec, target, rules.seed, rules.scheme);
    case 'mean':
      return { op: 'mix', by: [0.5, 0.5], of: layer.from.map(copy) };
    case 'slerp':
      return { op: 'slerp', by: 0.5, of: [copy(layer.from[0]), copy(layer.from[1])] };
    case 'learned':
    case 'transport': {
      if (rules.made === undefined) throw new Error(`no rule for layers of kind ${layer.kind}`);
      const matrix = (from: number, role: WeightRole): WeightSpec | undefined =>
        sources.get(from)?.find((other) => other.role === role && other.axes.length > 1);
      return rules.made(spec, [at(layer.from[0]), at(layer.from[1])], { index: spec.layer!, source: layer, matrix });
    }
    default:
      return layer satisfies never;
  }
}

/** The shape of a logical weight. */
export const shapeOfSpec = (spec: WeightSpec): number[] => spec.axes.map((axis) => axis.size);

/** What makes a branch add nothing: zero, or the stored form of a gain of zero. */
export function closedLike(spec: WeightSpec, config: ModelConfig): Expression {
  const offset = spec.role.endsWith('Norm') && spec.kind === 'weight' ? (familyOf(config).normGainOffset ?? 0) : 0;
  return offset === 0 ? zeroLike(spec) : { op: 'constant', by: -offset, shape: shapeOfSpec(spec) };
}

export const zeroLike = (spec: WeightSpec): Expression => ({ op: 'zero', shape: shapeOfSpec(spec) });

/** A fresh weight of a model, drawn from the stream of its name. */
export function freshTensor(
  spec: WeightSpec,
  config: ModelConfig,
  seed: number,
  scheme: InitialisationScheme = 'paper',
): Expression {
  const fill = initialisation(spec, config, scheme);
  const shape = shapeOfSpec(spec);
  if (fill.kind === 'constant')
    return fill.value === 0 ? { op: 'zero', shape } : { op: 'constant', by: fill.value, shape };
  return { op: 'draw', by: fill.std, seed, name: spec.name, shape };
}
