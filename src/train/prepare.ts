import { countParameters, familyOf } from '../architecture/index.js';
import type { Plan } from '../growth/index.js';
import type { FlopsPerToken } from '../planner/index.js';
import { programFlops } from '../program/index.js';
import { layersCost, learnLayers, type LesaOptions } from './lesa.js';
import { type Learned, learnExpansion } from './ligo.js';
import { expansionLayout, type ExpansionShape, recordExpansion, Selections } from './ligo-program.js';
import type { MicroBatch } from './session.js';
import type { Floats } from './weights.js';

/** What a learned operator trains on. */
export interface PrepareData {
  readonly sequenceLength: number;
  /** Sequences of a step, a multiple of those that pass through the model at a time. */
  readonly batchSequences: number;
  readonly microBatchSequences: number;
  readonly batches: (step: number) => Iterable<MicroBatch>;
}

const expansionShape = (plan: Plan, sequenceLength: number, sequences: number): ExpansionShape => ({
  plan,
  family: familyOf(plan.target),
  parameters: plan.prepare!.parameters,
  sequenceLength,
  sequences,
});

/** The seed of what a plan draws. */
const seedOf = ({ options }: Plan): number => (typeof options['seed'] === 'number' ? options['seed'] : 0);

/**
 * What a plan's `prepare` phase costs in all, from shapes alone: matrix products of the expansion and of forward and backward exactly; by the
 * conventions 6 N' for every token that it sees. LESA sees no tokens: its predictors learn from the weights, at full rank at most.
 */
export function prepareCost(
  plan: Plan,
  { sequenceLength, batchSequences, microBatchSequences }: Omit<PrepareData, 'batches'>,
): FlopsPerToken {
  const { steps, kind, options } = plan.prepare!;
  if (kind === 'lesa')
    return { flops: layersCost(plan.source, options as unknown as LesaOptions), flops6nd: 0n, flopsNonEmbedding: 0n };
  const shape = expansionShape(plan, sequenceLength, microBatchSequences);
  const program = recordExpansion(shape, expansionLayout(shape), new Selections(), false);
  const microBatches = BigInt(steps) * BigInt(batchSequences / microBatchSequences);
  const tokens = BigInt(steps) * BigInt(batchSequences * sequenceLength);
  const { total, nonEmbedding } = countParameters(plan.target);
  return {
    flops: BigInt(programFlops(program)) * microBatches,
    flops6nd: 6n * BigInt(total) * tokens,
    flopsNonEmbedding: 6n * BigInt(nonEmbedding) * tokens,
  };
}

/** Runs a plan's `prepare` phase: trains what its `learned` tensors are made of. Needs the engine to be loaded. */
export function prepareGrowth(plan: Plan, source: (name: string) => Floats, data: PrepareData): Learned {
  const { prepare } = plan;
  if (prepare === undefined) throw new RangeError(`operator ${plan.operator} has nothing to learn`);
  if (prepare.kind === 'lesa')
    return learnLayers(plan, prepare.options as unknown as LesaOptions, seedOf(plan), source);
  const { learningRate, warmupSteps } = prepare.options as { learningRate: number; warmupSteps: number };
  return learnExpansion(
    plan,
    expansionShape(plan, data.sequenceLength, data.microBatchSequences),
    { steps: prepare.steps, learningRate, warmupSteps },
    seedOf(plan),
    source,
    data.batches,
  );
}
