import { type ModelConfig, weightSize } from '../architecture/index.js';
import { InputError } from '../errors.js';
import {
  addedLayers,
  compile,
  type Expression,
  memorySource,
  momentTensors,
  type Plan,
  planGrowth,
  sourcesOf,
  storedSpecs,
  wholeTensor,
} from '../growth/index.js';
import type { GrowStageConfig } from './config/index.js';
import { unmaskedAxis } from './masks.js';
import type { Floats, Weights } from './weights.js';

/** A growth inside a run. */
export interface RunGrowth {
  readonly plan: Plan;
  /** Layers of the target that are new or further copies. */
  readonly addedLayers: readonly number[];
}

/**
 * Plans a grow stage.
 *
 * @param target Fields of the target, where the stage names them.
 * @param where What the stage is, for messages.
 * @throws InputError where the operator does not reach the target, or needs a phase that runs do not have.
 */
export function planStageGrowth(
  config: GrowStageConfig,
  source: ModelConfig,
  target: Record<string, unknown> | undefined,
  seed: number,
  where: string,
): RunGrowth {
  try {
    const plan = planGrowth({
      operator: config.operator,
      source,
      options: { seed, ...config.options },
      optimizerState: config.optimizerState,
      ...(config.factor === undefined ? {} : { factor: config.factor }),
      ...(target === undefined ? {} : { target }),
    });
    const unknown = unmaskedAxis(plan.masks ?? [], plan.target);
    if (unknown !== undefined)
      throw new InputError(
        `Operator ${config.operator} fades in new ${unknown} by a mask, which models of model_type "${plan.target.model_type}" cannot follow; ` +
          'options: {mask: 1} makes the plain model.',
      );
    return { plan, addedLayers: addedLayers(plan) };
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${where}: stage "${config.name}": ${error.message}`);
    throw error;
  }
}

/**
 * The grown model's weights and optimizer state, computed one by one from the source's as they are asked for, so that a growth takes no
 * more memory than both models.
 *
 * @param learned What the plan's `prepare` phase has learned, by name.
 */
export function grownWeights({ plan }: RunGrowth, source: Weights, learned?: (name: string) => Floats): Weights {
  const sizes = new Map(storedSpecs(plan.target).map((spec) => [spec.name, weightSize(spec)]));
  const sourceSizes = new Map(storedSpecs(plan.source).map((spec) => [spec.name, weightSize(spec)]));
  const moments = { first: momentTensors(plan, 'first'), second: momentTensors(plan, 'second') };
  const compute = (name: string, expression: Expression, read: (name: string) => Floats): Float32Array => {
    const values = new Float32Array(sizes.get(name)!);
    return wholeTensor(compile(expression, memorySource(plan.source, read, learned), values), values);
  };
  // Weights that were frozen have no moments; those of their copies begin at zero.
  const readMoment = (which: 'first' | 'second') => (name: string) =>
    source.moments(name)?.[which] ?? new Float32Array(sourceSizes.get(name)!);
  return {
    parameter: (name) => compute(name, plan.tensors[name]!, (of) => source.parameter(of)),
    moments(name) {
      if (moments.first === undefined || moments.second === undefined) return undefined;
      const [from] = sourcesOf(moments.first[name]!);
      const before = from === undefined ? undefined : source.moments(from);
      const hasBoth = before === undefined || before.second !== undefined;
      return {
        first: compute(name, moments.first[name]!, readMoment('first')),
        second: hasBoth ? compute(name, moments.second[name]!, readMoment('second')) : undefined,
      };
    },
  };
}

/** Which entries of a grown weight are new: 1, or 0 for what an old entry became. An entry is new if its row or its column is. */
export function newEntriesOf({ plan }: RunGrowth): (name: string) => Float32Array {
  const sizes = new Map(storedSpecs(plan.target).map((spec) => [spec.name, weightSize(spec)]));
  const sourceSizes = new Map(storedSpecs(plan.source).map((spec) => [spec.name, weightSize(spec)]));
  // Old entries are those that keep their state when it is padded with zeros.
  const kept = momentTensors({ ...plan, optimizerState: 'pad-zero' }, 'first')!;
  const ones = memorySource(plan.source, (name) => new Float32Array(sourceSizes.get(name)!).fill(1));
  return (name) => {
    const values = new Float32Array(sizes.get(name)!);
    return wholeTensor(compile(kept[name]!, ones, values), values).map((old) => 1 - old);
  };
}
