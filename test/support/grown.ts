import { type ModelConfig, RandomStream, weightSize } from '../../src/architecture/index.js';
import {
  compile,
  type GrowthRequest,
  memorySource,
  type Plan,
  planGrowth,
  storedSpecs,
  wholeTensor,
} from '../../src/growth/index.js';
import { type ReferenceMasks, referenceLogits } from './reference-llama.js';

export type Weights = ReadonlyMap<string, Float64Array>;

/** Weights of which no two numbers are alike, gains near 1. */
export function randomWeights(config: ModelConfig, seed = 1, std = 0.3): Weights {
  return new Map(
    storedSpecs(config).map((spec) => {
      const values = new Float64Array(weightSize(spec));
      new RandomStream(seed, spec.name).fillNormal(
        values,
        std,
        spec.axes.length === 1 && spec.kind === 'weight' ? 1 : 0,
      );
      return [spec.name, values];
    }),
  );
}

/** A plan's tensors in float64. */
export function grownWeights(plan: Plan, source: Weights, learned?: (name: string) => Float64Array): Weights {
  const from = memorySource(plan.source, (name) => source.get(name)!, learned);
  return new Map(
    storedSpecs(plan.target).map((spec) => {
      const rows = compile(plan.tensors[spec.name]!, from, new Float64Array(0));
      if (rows.rows * rows.columns !== weightSize(spec))
        throw new Error(`${spec.name} has another shape than its plan`);
      return [spec.name, wholeTensor(rows, new Float64Array(weightSize(spec)))];
    }),
  );
}

const tokens = [3, 1, 4, 1, 5];

export const logitsOf = (config: ModelConfig, weights: Weights, masks?: ReferenceMasks): number[][] =>
  referenceLogits(config, (name) => weights.get(name)!, tokens, masks);

export const difference = (a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number =>
  Math.max(...a.flatMap((row, t) => row.map((value, i) => Math.abs(value - b[t]![i]!))));

/** Grows random weights and says how far the logits move. */
export function logitChange(
  request: GrowthRequest,
  source = randomWeights(request.source),
): { plan: Plan; change: number } {
  const plan = planGrowth(request);
  const change = difference(logitsOf(request.source, source), logitsOf(plan.target, grownWeights(plan, source)));
  return { plan, change };
}
