import { countParameters, familyOf } from '../architecture/index.js';
import type { Plan } from '../growth/index.js';
import type { FlopsPerToken } from '../planner/index.js';
import { programFlops } from '../program/index.js';
import { canonicalJson, sha256 } from '../records/index.js';
import type { Learning } from './learned-folder.js';
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
  /** Whether attention stays within documents; then batches say where these start. */
  readonly withinDocuments?: boolean;
  readonly batches: (step: number) => Iterable<MicroBatch>;
}

const expansionShape = (plan: Plan, data: Omit<PrepareData, 'batches'>): ExpansionShape => ({
  plan,
  family: familyOf(plan.target),
  parameters: plan.prepare!.parameters,
  sequenceLength: data.sequenceLength,
  sequences: data.microBatchSequences,
  withinDocuments: data.withinDocuments === true,
});

/** The seed of what a plan draws. */
const seedOf = ({ options }: Plan): number => (typeof options['seed'] === 'number' ? options['seed'] : 0);

/**
 * What a plan's `prepare` phase costs in all, from shapes alone: matrix products of the expansion and of forward and backward exactly; by the
 * conventions 6 N' for every token that it sees. LESA sees no tokens: its predictors learn from the weights, at full rank at most.
 */
export function prepareCost(plan: Plan, data: Omit<PrepareData, 'batches'>): FlopsPerToken {
  const { sequenceLength, batchSequences, microBatchSequences } = data;
  const { steps, kind, options } = plan.prepare!;
  if (kind === 'lesa')
    return { flops: layersCost(plan.source, options as unknown as LesaOptions), flops6nd: 0n, flopsNonEmbedding: 0n };
  const shape = expansionShape(plan, data);
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

/** What a phase depends on beside its data: the key of what it keeps. */
export const learningKey = ({ planHash, prepare, options }: Plan, data: Readonly<Record<string, unknown>>): string =>
  sha256(canonicalJson({ planHash, prepare, options, data }));

/** Runs a plan's `prepare` phase: trains what its `learned` tensors are made of. Needs the engine to be loaded. */
export function prepareGrowth(
  plan: Plan,
  source: (name: string) => Floats,
  data: PrepareData,
  learning: Learning = {},
): Promise<Learned> {
  const { prepare } = plan;
  if (prepare === undefined) throw new RangeError(`operator ${plan.operator} has nothing to learn`);
  if (prepare.kind === 'lesa')
    return learnLayers(plan, prepare.options as unknown as LesaOptions, seedOf(plan), source, learning);
  const { learningRate, warmupSteps } = prepare.options as { learningRate: number; warmupSteps: number };
  const schedule = { steps: prepare.steps, learningRate, warmupSteps };
  return learnExpansion(plan, expansionShape(plan, data), schedule, seedOf(plan), source, data.batches, learning);
}
