import { z } from 'zod';
import { objectiveSchema } from './objective.js';
import { routingSchema } from './routing.js';
import { quantity, stepsOrShare, wholeQuantity } from './quantity.js';

const count = z.int('expected a whole number').min(1);
const share = z.number().min(0).max(1);

/** When a train stage ends: at the first of the limits that is reached. */
export const untilSchema = z
  .strictObject({
    tokens: quantity.optional().describe('tokens that this stage consumes'),
    steps: wholeQuantity.optional().describe('optimizer steps of this stage'),
    flops: quantity.optional().describe('exact FLOPs of the whole run so far, what was paid for the base included'),
    loss: z.number().positive().optional().describe('validation loss at or below which the stage ends'),
  })
  .refine((until) => Object.values(until).some((limit) => limit !== undefined), {
    message: 'expected at least one of tokens, steps, flops, loss',
  });

const warmup = stepsOrShare.default('5%').describe('steps of linear warm-up, or a share of the stage');
const horizon = wholeQuantity
  .optional()
  .describe('steps that the schedule is made for; default: the steps of the stage. Longer ones are cut off');

/** Learning rate over a stage, as a function of the steps that the stage has done. */
export const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('cosine'),
    warmup,
    floor: share.default(0.1).describe('final rate as a share of lr'),
    horizon,
  }),
  z.strictObject({ kind: z.literal('linear'), warmup, floor: share.default(0), horizon }),
  z.strictObject({ kind: z.literal('constant'), warmup }),
  z.strictObject({
    kind: z.literal('wsd'),
    warmup,
    cooldown: stepsOrShare.default('20%').describe('steps of the 1 - sqrt cooldown, or a share of the stage'),
    floor: share.default(0),
    horizon,
  }),
  z
    .strictObject({
      kind: z.literal('continue'),
      warmup: stepsOrShare.default(0).describe('steps over which the rate rises to the schedule again after a growth'),
    })
    .describe('the schedule of the train stage before goes on: one schedule over both; that stage names its horizon'),
]);

/** A learning rate of their own for entries that the growth before the stage added (SPARKLING, arXiv 2602.02472, section 4). */
const newEntries = z.strictObject({
  peak: z.number().positive().default(1.3).describe("peak of the new entries' rate, in units of the rate at growth"),
  warmup: z.int().min(0).default(250).describe('steps in which it rises there'),
});

/** Muon for the matrices inside layers, AdamW for the rest. */
const muonOptions = z.strictObject({
  momentum: z.number().min(0).lt(1).default(0.95),
  scale: z
    .enum(['moonshot', 'keller'])
    .default('moonshot')
    .describe(
      "size of an update: that of AdamW's, so that one lr serves all, or Jordan's own sqrt(max(1, rows / columns))",
    ),
});

/** AdamW with decoupled decay on matrices and tables (not on vectors) and clipping by the global norm; or Muon beside it. */
export const optimizerSchema = z.strictObject({
  kind: z.enum(['adamw', 'muon']).default('adamw').describe('muon: matrices inside layers by Muon, the rest by AdamW'),
  lr: z.number().positive().describe('peak learning rate'),
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.95]),
  eps: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.1),
  clip: z.number().positive().nullable().default(1).describe('largest global gradient norm; null does not clip'),
  muon: muonOptions.optional().describe('with kind: muon'),
  newEntries: newEntries.optional().describe('with schedule: continue, and kind: adamw'),
  widthFactor: z
    .number()
    .min(1)
    .optional()
    .describe(
      'k: rate / k and decay * k for matrices, eps / k for all but the head, as mup-width asks for behind a growth by k; with kind: adamw',
    ),
});

/** Which weights a stage trains, chosen by the model's weight map. */
export const trainableSchema = z.union(
  [
    z.literal('all'),
    z.literal('added').describe('only layers that the last growth added'),
    z.strictObject({ lastLayers: count.describe('the last layers, the final norm and the head') }),
    z.strictObject({ roles: z.array(z.string()).min(1).describe('weights of these roles, such as query or gate') }),
  ],
  { error: 'expected all, added, {lastLayers: n} or {roles: [...]}' },
);

/** Names of runs and stages: they become names of files. */
export const runNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'expected a name of letters, digits, "-", "_" and "."');
const name = runNameSchema;
const modelFields = z.record(z.string(), z.unknown());

/** A stage of another trainer: it gets a folder, and a folder comes back. */
export const externalSchema = z.strictObject({
  command: z
    .string()
    .min(1)
    .describe('how the trainer is started here, such as "torchrun --nproc-per-node 8 {adapter} {input} {output}"'),
  adapter: z.string().optional().describe('the program that reads {input} and writes {output}; fills in {adapter}'),
  where: z
    .enum(['here', 'elsewhere'])
    .default('here')
    .describe('here: Strata runs the command; elsewhere: it prints the command and stops until the output is there'),
  data: z
    .enum(['tokens', 'range'])
    .default('tokens')
    .describe(
      'tokens: the sequences are written out in order; range: only which ones, for trainers with data of their own',
    ),
});

const trainStage = z.strictObject({
  name,
  kind: z.literal('train'),
  model: modelFields
    .optional()
    .describe("fields that differ from the run's model; only in the first stage, later models come from growth"),
  until: untilSchema,
  repeat: count.default(1).describe('run the stage this many times, each with its own schedule'),
  optimizer: optimizerSchema,
  schedule: scheduleSchema.prefault({ kind: 'cosine' }),
  trainable: trainableSchema.default('all'),
  objective: objectiveSchema
    .default('plain')
    .describe('next-token cross-entropy, or the same weighed by loss in excess of a reference model'),
  routing: routingSchema.optional().describe('how routers are trained; for model_type llama_dlo'),
  release: z.boolean().default(false).describe('keep the checkpoint at the end of the stage for good'),
  external: externalSchema.optional().describe('another trainer runs the stage'),
});

const growStage = z.strictObject({
  name,
  kind: z.literal('grow'),
  operator: z.string().describe('id of a growth operator; "strata operators" lists them'),
  factor: z
    .union([z.number().positive(), z.tuple([z.number().positive(), z.number().positive()])])
    .optional()
    .describe('what the operator grows is multiplied by this; [depth, width] for operators of both directions'),
  model: modelFields
    .optional()
    .describe(
      "fields of the target that differ from the source; without factor and model the target is the run's model",
    ),
  options: z.record(z.string(), z.unknown()).default({}),
  optimizerState: z.enum(['fresh', 'copy', 'grow-linear', 'pad-zero']).default('fresh'),
});

/** What people may write first; the message says what it is called. */
const externalStage = z.looseObject({
  name,
  kind: z.literal('external').refine(() => false, {
    message: 'a stage of another trainer is {kind: train, external: {command, adapter}}',
  }),
});

/** A run's config, as files and recipes give it. Model fields carry Hugging Face's names. */
export const runSchema = z.strictObject({
  name,
  seed: z.int().min(0).default(1).describe('seed of the data order and of drawn weights'),
  out: z.string().optional().describe('run folder; default: runs/NAME'),
  from: z.string().optional().describe('a checkpoint to start from, instead of drawing weights'),
  optimizerState: z
    .enum(['fresh', 'copy'])
    .optional()
    .describe('state of the optimizer where the run goes on from a checkpoint without growing it; default: fresh'),
  study: z.string().optional().describe('hash of the study that the run belongs to; written into every record'),
  model: z
    .union([z.string(), modelFields], { error: 'expected model fields or the name of a preset' })
    .optional()
    .describe('fields of the model config, or a preset, or {preset: NAME, field: value}'),
  initialisation: z.enum(['paper', 'huggingface']).default('paper').describe('how weights are drawn'),
  data: z.strictObject({
    train: z.string().describe('folder of token shards that "strata data build" made'),
    validation: z.string().optional().describe('folder of token shards; default: the validation split of train'),
    sequenceLength: count,
    batchTokens: wholeQuantity.describe('tokens of one optimizer step, a multiple of sequenceLength'),
    maxEpochs: z.number().positive().default(4).describe('more passes over the training data than this are refused'),
    crossDocumentAttention: z
      .boolean()
      .default(true)
      .describe('whether tokens see documents packed before their own; in training and in validation'),
  }),
  precision: z
    .enum(['f32', 'bf16'])
    .default('f32')
    .describe(
      'bf16: matrix products take operands rounded to bf16; weights, moments, norms, softmax and losses stay in f32',
    ),
  microBatch: z
    .union([z.literal('auto'), count])
    .default('auto')
    .describe('sequences in one forward and backward pass; auto: as many as fit into half of the memory'),
  recompute: z.boolean().default(false).describe('recompute activations in the backward pass to save memory'),
  validation: z
    .strictObject({
      every: count.default(100).describe('steps between validations; each stage also ends with one'),
      tokens: wholeQuantity.default(65536).describe('tokens of each validation, the same every time'),
    })
    .prefault({}),
  evaluation: z
    .strictObject({
      tasks: z.string().describe('benchmarks separated by commas, or "paper" for all eight'),
      data: z.string().describe("folder with the benchmarks' published files"),
      every: count.default(1000).describe('steps between evaluations; each stage also ends with one'),
      limit: count.optional().describe('only the first documents of each benchmark'),
      anyData: z.boolean().default(false).describe('take data files that are not the recorded ones'),
      addBos: z
        .union([z.literal('auto'), z.boolean()])
        .default('auto')
        .describe('special tokens before each prompt'),
      maxLength: count.optional().describe('tokens that the model reads at most; its own number where left out'),
    })
    .optional()
    .describe('benchmarks scored while training; none where it is left out'),
  agreement: wholeQuantity
    .optional()
    .describe('held-out tokens on which each released model is compared with the one released before it'),
  records: z.strictObject({ every: count.default(1).describe('steps between train records') }).prefault({}),
  checkpoints: z
    .strictObject({
      every: count.default(500).describe('steps between checkpoints; each stage also ends with one'),
      keepLast: count.default(2).describe('how many of the newest checkpoints are kept'),
      keepEvery: count.optional().describe('checkpoints at multiples of this many steps are kept for good'),
    })
    .prefault({}),
  nonFinite: z
    .enum(['stop', 'skip', 'log'])
    .default('stop')
    .describe('what a loss or gradient that is not finite does: stop the run, skip the update, or only log it'),
  stages: z
    .array(z.discriminatedUnion('kind', [trainStage, growStage, externalStage]))
    .min(1)
    .refine((stages) => stages.at(-1)?.kind !== 'grow', {
      message: 'the last stage must train; "strata grow" grows a checkpoint without training it',
    })
    .refine((stages) => new Set(stages.map((stage) => stage.name)).size === stages.length, {
      message: 'stages need different names',
    }),
});

/** A run's config as people write it: defaults may be left out. */
export type RunConfigInput = z.input<typeof runSchema>;
/** A run's config with every default filled in. */
export type RunConfig = z.output<typeof runSchema>;
export type TrainStageConfig = z.output<typeof trainStage>;
export type GrowStageConfig = z.output<typeof growStage>;
export type ScheduleConfig = z.output<typeof scheduleSchema>;
export type OptimizerConfig = z.output<typeof optimizerSchema>;
export type Trainable = z.output<typeof trainableSchema>;
export type ExternalConfig = z.output<typeof externalSchema>;
export type Until = z.output<typeof untilSchema>;
