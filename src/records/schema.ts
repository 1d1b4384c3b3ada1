import { z } from 'zod';

/** A number that JSON may have lost: NaN and infinities are written as null and read back as NaN. */
const real = z.union([z.number(), z.null().transform(() => NaN)]);
const count = z.number().int().nonnegative();

/** Seconds since the Unix epoch; ISO 8601 text, which other tools write, is accepted too. */
const time = z.union([
  z.number(),
  z.string().transform((text, context) => {
    const milliseconds = Date.parse(text);
    if (Number.isNaN(milliseconds)) context.addIssue({ code: 'custom', message: 'expected a time' });
    return milliseconds / 1000;
  }),
]);

const base = { time: time.optional(), hash: z.string().optional() };
const position = { step: count, tokens: real, flops: real };
const counted = {
  ...position,
  /** `flops` as a decimal string, exact beyond 2^53. */
  flopsExact: z.string().optional(),
  /** 6 N D with all parameters. */
  flops6nd: real.optional(),
  /** 6 N D with non-embedding parameters. */
  flopsNonEmbedding: real.optional(),
};

const train = z.looseObject({
  ...base,
  ...counted,
  kind: z.literal('train'),
  stage: z.string(),
  stageStep: count.optional(),
  loss: real,
  lr: real.optional(),
  gradNorm: real.optional(),
  tokensPerSecond: real.optional(),
});

const validation = z.looseObject({
  ...base,
  ...counted,
  kind: z.literal('validation'),
  stage: z.string(),
  loss: real,
  bytesPerToken: real.optional(),
});

const growth = z.looseObject({
  ...base,
  ...counted,
  kind: z.literal('growth'),
  stage: z.string(),
  operator: z.string(),
  planHash: z.string().optional(),
  lossBefore: real.optional(),
  lossAfter: real.optional(),
  sourceParameters: count.optional(),
  targetParameters: count.optional(),
});

const evaluation = z.looseObject({
  ...base,
  ...counted,
  kind: z.literal('eval'),
  task: z.string(),
  metric: z.string(),
  value: real,
  stderr: real.optional(),
});

/** What a measurement inside the model found; its own fields are free. */
const measurement = <K extends 'twinDistance' | 'agreement'>(kind: K) =>
  z.looseObject({ ...base, kind: z.literal(kind), step: count });

const event = z.looseObject({ ...base, kind: z.literal('event'), name: z.string() });

/** The schema of every record kind. All allow more fields than they name. */
export const recordSchemas = {
  train,
  validation,
  growth,
  eval: evaluation,
  twinDistance: measurement('twinDistance'),
  agreement: measurement('agreement'),
  event,
} as const;

/** Kinds of record that Strata writes. */
export type RecordKind = keyof typeof recordSchemas;
export type TrainRecord = z.output<typeof train>;
export type ValidationRecord = z.output<typeof validation>;
export type GrowthRecord = z.output<typeof growth>;
export type EvalRecord = z.output<typeof evaluation>;
export type EventRecord = z.output<typeof event>;
export type MeasurementRecord = z.output<(typeof recordSchemas)['twinDistance' | 'agreement']>;

/** One line of records.jsonl. `loss` is in nats per token; `tokens` and `flops` count from the start of the whole run. */
export type RunRecord = TrainRecord | ValidationRecord | GrowthRecord | EvalRecord | MeasurementRecord | EventRecord;

/** Whether a text names a kind that Strata knows. */
export const isRecordKind = (kind: unknown): kind is RecordKind =>
  typeof kind === 'string' && Object.hasOwn(recordSchemas, kind);
