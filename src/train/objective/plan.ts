import type { ModelConfig } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { readModelConfig, resolveCheckpoint } from '../../interop/index.js';
import type { ExcessWeightsAttributes } from '../../ops/index.js';
import { type FlopsPerToken, forwardFlopsPerToken } from '../../planner/index.js';
import type { ExcessObjectiveConfig } from '../config/objective.js';
import { type ReferencePlace, referencePlace } from './reference.js';
import { readScoresIndex, scoringCost } from './scores.js';

/** What weighing by excess loss asks of a stage. */
export interface ObjectivePlan {
  readonly config: ExcessObjectiveConfig;
  readonly attributes: ExcessWeightsAttributes;
  readonly place: ReferencePlace;
  /** The reference that runs beside; undefined where its losses are stored. */
  readonly runs: ModelConfig | undefined;
  /** FLOPs of each token beside training: the reference's forward pass, and a second product with the head, as weights need the losses first. */
  readonly perToken: FlopsPerToken;
  /** What the stored losses cost. */
  readonly once: FlopsPerToken | undefined;
}

/** What an objective is planned for. */
export interface ObjectiveFacts {
  readonly model: ModelConfig;
  readonly sequenceLength: number;
  readonly vocabSize: number | undefined;
  /** The checkpoint that the run starts from, and its model. */
  readonly from: string | undefined;
  readonly parent: ModelConfig | undefined;
  /** The model at the end of an earlier train stage of the run. */
  readonly modelOfStage: (stage: string) => ModelConfig | undefined;
}

/**
 * Derives what an objective costs.
 *
 * @throws InputError where the reference is not there, or reads other tokens or shorter sequences; the sentence begins behind the place.
 */
export function planObjective(config: ExcessObjectiveConfig, facts: ObjectiveFacts): ObjectivePlan {
  const place = referencePlace(config, facts.from);
  if (place === undefined) throw new InputError('"from" needs a checkpoint that the run starts from');
  const reference = referenceModel(place, config, facts);
  const { vocabSize, sequenceLength, model } = facts;
  if (vocabSize !== undefined && reference.vocab_size < vocabSize)
    throw new InputError(`expected a model of at least ${vocabSize} tokens, found ${reference.vocab_size}`);
  if (reference.max_position_embeddings < sequenceLength)
    throw new InputError(
      `expected a model of at least data.sequenceLength ${sequenceLength}, found max_position_embeddings ${reference.max_position_embeddings}`,
    );
  const stored = config.scores === undefined ? undefined : scoringCost(readScoresIndex(config.scores));
  const beside = stored === undefined ? forwardFlopsPerToken(reference, sequenceLength) : NOTHING;
  return {
    config,
    place,
    attributes: {
      kind: config.kind === 'kl-dro' ? 'kl' : 'cvar',
      group: config.per === 'token' ? 1 : sequenceLength,
      clip: config.clip,
      alpha: config.kind === 'kl-dro' ? 1 : config.alpha,
    },
    runs: stored === undefined ? reference : undefined,
    perToken: addWork(beside, headWork(model)),
    once: stored,
  };
}

/** The sum of two costs. */
export const addWork = (a: FlopsPerToken, b: FlopsPerToken): FlopsPerToken => ({
  flops: a.flops + b.flops,
  flops6nd: a.flops6nd + b.flops6nd,
  flopsNonEmbedding: a.flopsNonEmbedding + b.flopsNonEmbedding,
});

const NOTHING: FlopsPerToken = { flops: 0n, flops6nd: 0n, flopsNonEmbedding: 0n };

function referenceModel(
  place: ReferencePlace,
  { reference }: ExcessObjectiveConfig,
  { parent, modelOfStage }: ObjectiveFacts,
): ModelConfig {
  if (place.kind === 'stage') {
    const model = modelOfStage(place.stage);
    if (model === undefined) throw new InputError(`expected an earlier train stage, found "${place.stage}"`);
    return model;
  }
  if (reference === 'from' && parent !== undefined) return parent;
  return readModelConfig(resolveCheckpoint(place.path));
}

/** One product with the head: 2 hidden vocabulary. */
function headWork(model: ModelConfig): FlopsPerToken {
  const work = BigInt(2 * model.hidden_size * model.vocab_size);
  return { flops: work, flops6nd: work, flopsNonEmbedding: 0n };
}
