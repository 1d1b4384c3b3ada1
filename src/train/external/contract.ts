import { z } from 'zod';

/** What an external stage's folders hold: `input` is Strata's, `output` the other trainer's. */
export const STAGE_FILE = 'stage.json';
export const MODEL_FOLDER = 'model';
export const TOKENS_FILE = 'tokens.bin';
export const PROBE_FILE = 'probe.bin';
/** Written last by the trainer: it says that the rest is whole. */
export const RESULT_FILE = 'result.json';

const count = z.int().min(0);

/** Where rows of token ids lie: little-endian, each row `sequenceLength + 1` long, so that targets are the inputs one token on. */
export interface TokenFile {
  readonly file: string;
  readonly dtype: 'uint16' | 'uint32';
  readonly rows: number;
}

/** What stage.json says: everything that a trainer needs beside the weights. */
export interface StageContract {
  readonly format: 1;
  readonly run: string;
  readonly stage: string;
  readonly seed: number;
  /** Tokens, optimizer steps and tokens of each step of this stage. */
  readonly tokens: number;
  readonly steps: number;
  readonly batchTokens: number;
  readonly sequenceLength: number;
  readonly data: {
    /** Identity of the token shards. */
    readonly identity: string;
    /** The stage reads sequences `firstSequence` to `firstSequence + numSequences - 1` of the order of the seed. */
    readonly firstSequence: number;
    readonly numSequences: number;
    /** Whether tokens see documents that were packed before their own. */
    readonly crossDocumentAttention: boolean;
    /** The sequences themselves, in order; left out where the trainer reads its own copy of the data. */
    readonly tokens?: TokenFile;
    /** Held-out sequences on which the trainer measures the loss of the weights that it loaded. */
    readonly probe: TokenFile;
  };
  readonly optimizer: Readonly<Record<string, unknown>>;
  /** Names of the weights that are trained, and of those whose weights decay. */
  readonly trainable: readonly string[];
  readonly decayed: readonly string[];
  /** State by parameter name, with the updates that it has seen; null begins with fresh state. */
  readonly optimizerState: { readonly file: string; readonly steps: number } | null;
  readonly schedule: {
    readonly kind: string;
    /** The rate of each of the stage's updates: what the schedule comes to. */
    readonly learningRates: readonly number[];
  };
}

/** What result.json has to say. */
export const resultSchema = z.looseObject({
  format: z.literal(1),
  /** Name and version of what trained. */
  trainer: z.string(),
  steps: count,
  tokens: count,
  batchTokens: count,
  data: z.looseObject({
    firstSequence: count,
    numSequences: count,
    /** Sum of the ids of all input tokens that were read, in any order: it tells which sequences they were. */
    tokenSum: z.number().min(0).optional(),
  }),
  /** Mean loss in nats per token over probe.bin of the weights as they were loaded. */
  lossAtLoad: z.number(),
  /** Updates that the returned optimizer state has seen; left out where none is returned. */
  optimizerSteps: count.optional(),
});
export type StageResult = z.output<typeof resultSchema>;

/** One line of the trainer's records.jsonl. `tokens` counts this stage's tokens, the step's own included; `lr` is the rate of its update. */
export const stepSchema = z.looseObject({
  tokens: count,
  loss: z.number(),
  lr: z.number().min(0),
  gradNorm: z.number().optional(),
  tokensPerSecond: z.number().optional(),
});
export type StepLine = z.output<typeof stepSchema>;
