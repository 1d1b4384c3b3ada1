import { familyOf } from './registry.js';
import type { ModelConfig, WeightRole, WeightSpec } from './types.js';

/** Exact numbers of parameters of a model. Tied weights count once, except in `matmul`. */
export interface ParameterCounts {
  readonly total: number;
  /** All but embeddings, learned positions and the head: the N of growth factors. */
  readonly nonEmbedding: number;
  /** Parameters in matrix products, the head included even where it is tied: the P_mat of the FLOP ledger. */
  readonly matmul: number;
  readonly byRole: Readonly<Partial<Record<WeightRole, number>>>;
}

/** Numbers in one weight. */
export const weightSize = (spec: WeightSpec): number => spec.axes.reduce((product, axis) => product * axis.size, 1);

const embeddingRoles: ReadonlySet<WeightRole> = new Set(['embedding', 'positionEmbedding', 'head']);
const lookupRoles: ReadonlySet<WeightRole> = new Set(['embedding', 'positionEmbedding']);

/** Counts a model's parameters from its weight map. */
export function countParameters(config: ModelConfig): ParameterCounts {
  const counts = { total: 0, nonEmbedding: 0, matmul: 0 };
  const byRole: Partial<Record<WeightRole, number>> = {};
  for (const spec of familyOf(config).weights(config)) {
    const size = weightSize(spec);
    if (spec.axes.length > 1 && !lookupRoles.has(spec.role)) counts.matmul += size;
    if (spec.tiedTo !== undefined) continue;
    counts.total += size;
    if (!embeddingRoles.has(spec.role)) counts.nonEmbedding += size;
    byRole[spec.role] = (byRole[spec.role] ?? 0) + size;
  }
  return { ...counts, byRole };
}

/** The growth factor g of G_stack's paper: non-embedding parameters of the target over those of the source. */
export const growthFactor = (source: ModelConfig, target: ModelConfig): number =>
  countParameters(target).nonEmbedding / countParameters(source).nonEmbedding;
