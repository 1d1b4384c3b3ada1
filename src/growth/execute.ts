import { familyOf, type Floats, type ModelConfig, type WeightSpec } from '../architecture/index.js';
import { compile, type TensorSource, wholeTensor } from './evaluate.js';
import type { Expression } from './expression.js';
import type { Plan } from './plan.js';

/** Where a grown tensor goes. */
export type TensorSink = (spec: WeightSpec, values: Float32Array) => void;

/** Logical weights of a model by name, tied ones left out. */
export const storedSpecs = (config: ModelConfig): WeightSpec[] =>
  familyOf(config)
    .weights(config)
    .filter((spec) => spec.tiedTo === undefined);

/**
 * Tensors in memory as the source of a plan.
 *
 * @param config Config of the model they belong to.
 * @param read Gives a weight's numbers, row-major.
 */
export function memorySource(
  config: ModelConfig,
  read: (name: string) => Floats,
  learned?: (name: string) => Floats,
): TensorSource {
  const shapes = new Map(storedSpecs(config).map((spec) => [spec.name, spec.axes.map((axis) => axis.size)]));
  return {
    shape: (name) => shapes.get(name)!,
    readRows(name, start, out) {
      const columns = shapes.get(name)![1] ?? 1;
      out.set(read(name).subarray(start * columns, start * columns + out.length));
    },
    ...(learned === undefined ? {} : { learned }),
  };
}

/**
 * Computes every target tensor of a plan in canonical order and hands it to the sink, one at a time.
 *
 * @param source Source tensors: an open checkpoint, or `memorySource`.
 * @param tensors Other expressions than the plan's own, for example those of optimizer moments.
 */
export function executePlan(
  plan: Pick<Plan, 'target' | 'tensors'>,
  source: TensorSource,
  sink: TensorSink,
  tensors: Readonly<Record<string, Expression>> = plan.tensors,
): void {
  for (const spec of storedSpecs(plan.target)) {
    const size = spec.axes.reduce((product, axis) => product * axis.size, 1);
    const values = new Float32Array(size);
    wholeTensor(compile(tensors[spec.name]!, source, values), values);
    sink(spec, values);
  }
}
