import { z } from 'zod';

/** What every objective with a reference model has. */
const reference = {
  reference: z
    .union([z.string().min(1), z.strictObject({ stage: z.string() })], {
      error: 'expected a checkpoint, "from", or {stage: NAME}',
    })
    .describe(
      'the reference model: a checkpoint, "from" (the one that the run starts from), or the end of an earlier train stage of the run',
    ),
  scores: z
    .string()
    .optional()
    .describe('folder that "strata data score" made: the losses of the reference, so that it need not run beside'),
  per: z.enum(['sequence', 'token']).default('sequence').describe('what is weighed: whole sequences, or each token'),
  clip: z.number().positive().default(5).describe('excess losses count as at most this far from 0, in nats'),
};

/** Larger exponents leave float32 when weights of a step meet a normaliser of the step before. */
export const MOST_CLIPPED_EXPONENT = 20;

const klDro = z
  .strictObject({
    kind: z.literal('kl-dro'),
    ...reference,
    tau: z
      .number()
      .positive()
      .default(1)
      .describe('temperature in nats: large is ordinary training, small the worst case'),
    gamma: z
      .number()
      .positive()
      .max(1)
      .default(1)
      .describe('share of the present step in the moving normaliser: 1 gives every step the mean weight one'),
    relaxFrom: z
      .number()
      .positive()
      .optional()
      .describe(
        'mean excess in nats below which tau rises in inverse proportion, without limit at 0; fixed where it is left out',
      ),
  })
  .refine(({ clip, tau }) => clip / tau <= MOST_CLIPPED_EXPONENT, {
    message: `expected clip of at most ${MOST_CLIPPED_EXPONENT} tau`,
    path: ['clip'],
  });

const cvarDro = z.strictObject({
  kind: z.literal('cvar-dro'),
  ...reference,
  alpha: z.number().positive().max(1).default(0.6).describe('share of the items of a micro-batch that is trained on'),
});

/** What a train stage minimises. */
export const objectiveSchema = z.union([z.literal('plain'), z.discriminatedUnion('kind', [klDro, cvarDro])], {
  error: 'expected plain, {kind: kl-dro, reference: ...} or {kind: cvar-dro, reference: ...}',
});

export type ObjectiveConfig = z.output<typeof objectiveSchema>;
/** An objective that weighs by excess loss. */
export type ExcessObjectiveConfig = Exclude<ObjectiveConfig, 'plain'>;
