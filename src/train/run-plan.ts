import type { Family, ModelConfig, ParameterCounts, WeightSpec } from '../architecture/index.js';
import type { MaskRamp } from '../growth/index.js';
import type { FlopLedger, FlopsPerToken } from '../planner/index.js';
import type { GrowStageConfig, Locate, RoutingConfig, RunConfig, TrainStageConfig } from './config/index.js';
import type { RunGrowth } from './growth.js';
import type { ObjectivePlan } from './objective/index.js';
import type { ParentGrowth } from './parent-growth.js';

/** What planning needs to know of data and parent; both can be missing for a dry run. */
export interface RunFacts {
  /** Vocabulary of the tokenizer that made the data. */
  readonly vocabSize?: number;
  /** The token between documents, which is also what stands before each of them. */
  readonly eosId?: number;
  /** The training or validation shards that have a mask of tokens to train on, as conversations do. */
  readonly maskedData?: string;
  /** Sequences in one epoch of the training data. */
  readonly sequencesPerEpoch?: number;
  /** The checkpoint that `from` names. */
  readonly parent?: {
    readonly config: ModelConfig;
    readonly ledger: FlopLedger;
    readonly flopsKnown: boolean;
    readonly growth?: ParentGrowth;
  };
}

/** What all stages have. */
export interface StageBase {
  readonly index: number;
  readonly name: string;
  readonly specs: readonly WeightSpec[];
  readonly counts: ParameterCounts;
}

/** A train stage with every number that follows from the config. */
export interface TrainStage extends StageBase {
  readonly kind: 'train';
  readonly config: TrainStageConfig;
  readonly model: ModelConfig;
  readonly family: Family;
  readonly isTrained: (spec: WeightSpec) => boolean;
  /** Cost of each token, an objective's included. */
  readonly perToken: FlopsPerToken;
  /** How tokens are weighed, where it is not plainly. */
  readonly objective: ObjectivePlan | undefined;
  /** How routers are trained; there where the model's layers are routed. */
  readonly routing: RoutingConfig | undefined;
  /** FLOPs of each update: matrix products of the optimizer. */
  readonly updateFlops: bigint;
  /** Masks that rise from 0 to 1 during the stage. */
  readonly masks: readonly MaskRamp[];
  /** The growth that made the stage's model, where one came right before it. */
  readonly growth: RunGrowth | undefined;
  /** The stage whose schedule this one follows: its own, or one before that it goes on with. */
  readonly scheduleFrom: TrainStageConfig;
  /** Steps that the schedule had behind it when the stage began, where limits tell. */
  readonly scheduleOffset: number | undefined;
  /** Steps, if nothing but the config decides: undefined where only a loss ends the stage. */
  readonly steps: number | undefined;
  /** Tokens and FLOPs of the whole run when the stage begins, as far as limits tell. */
  readonly begins: FlopLedger;
}

/** A growth between two train stages; `model` is the target. */
export interface GrowStage extends StageBase {
  readonly kind: 'grow';
  readonly config: GrowStageConfig;
  readonly model: ModelConfig;
  readonly sourceCounts: ParameterCounts;
  readonly growth: RunGrowth;
  /** What training the growth itself costs in all, where it learns. */
  readonly prepareCost: FlopsPerToken | undefined;
}

export type Stage = TrainStage | GrowStage;

/** A run as it will be done: pure numbers, made without libtorch. */
export interface RunPlan {
  readonly config: RunConfig;
  readonly locate: Locate;
  readonly stages: readonly Stage[];
  readonly batchSequences: number;
  readonly tokensPerStep: number;
  /** What the config's values do not say themselves, by dotted path, and where it came from. */
  readonly derived: Readonly<Record<string, { readonly value: unknown; readonly from: string }>>;
  /** Totals at the end, where every stage has a limit that tells. */
  readonly totals: { readonly steps: number; readonly ledger: FlopLedger } | undefined;
  readonly facts: RunFacts;
}
