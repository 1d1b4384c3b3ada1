import { existsSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { canonicalJson, sha256 } from '../../records/index.js';
import { differences, externalSchema, loadRecipe, optimizerSchema, runNameSchema } from '../../train/index.js';

const count = z.int().min(1);
const share = z.number().positive();
const fields = z.record(z.string(), z.unknown());
const budgets = z.array(share).min(1);
const oneOrMore = <T extends z.ZodType>(value: T) => z.union([value.transform((one) => [one]), z.array(value).min(1)]);

const arm = z.strictObject({
  name: runNameSchema.optional().describe('default: made of operator, base and growth share'),
  operator: oneOrMore(z.string()).describe('ids of growth operators; several make an arm each'),
  base: oneOrMore(fields).describe("fields of the base model that differ from the target's; several make an arm each"),
  growthShare: oneOrMore(z.number().positive().lt(1)).describe('d / D: tokens of the base by those of scratch at C'),
  optimizerState: oneOrMore(z.enum(['fresh', 'copy', 'grow-linear', 'pad-zero'])).default(['fresh']),
  options: fields.default({}),
  schedule: z.enum(['trunk', 'cosine']).default('trunk').describe('cosine: each budget is a run of its own'),
  lr: z.number().positive().optional().describe("peak rate of the target; default: tuned, or the optimizer's"),
  baseLr: z.number().positive().optional().describe("peak rate of the base; default: the target's"),
  budgets: budgets.optional(),
});

const controls = z.strictObject({
  sizes: z
    .array(z.strictObject({ model: fields, lr: z.number().positive().optional() }))
    .min(1)
    .describe('smaller models from scratch: the best of them at equal FLOPs is a baseline'),
  rewarm: z.boolean().default(true).describe('scratch that warms up again where the first arm grows'),
  untrained: z.boolean().default(true).describe('the first arm grown from an untrained base: d = 0'),
  again: z.array(z.int().min(0)).default([]).describe('other seeds of scratch, one for each seed: A/A'),
  cosine: z.boolean().default(true).describe('scratch along a cosine made for each budget'),
  budgets: budgets.optional().describe("default: the part's"),
  sizesBudgets: budgets.optional().describe("default: the part's"),
});

const tuning = z.strictObject({
  seed: z.int().min(0).describe('none of the seeds that are reported'),
  budget: share.describe('share of C that a trial takes'),
  rates: z.array(z.number().positive()).min(5, 'expected at least five rates').describe('ascending, by factors of 2'),
  refine: z.boolean().default(true).describe('then the neighbours by a factor of sqrt 2'),
});

const part = z.strictObject({
  name: runNameSchema,
  later: z.boolean().default(false).describe('only run where it is asked for by name'),
  model: fields.describe('the target'),
  batchTokens: count,
  precision: z.enum(['f32', 'bf16']).default('f32').describe("of all runs, as a run's own"),
  tokensPerParameter: share.describe('tokens of scratch at C for each non-embedding parameter of the target'),
  budgets: budgets.default([0.25, 0.5, 1]).describe('end points as shares of C'),
  scratchBudgets: budgets.default([0.25, 0.5, 1, 2]).describe("scratch's; more, so that they bracket the grown losses"),
  seeds: z.array(z.int().min(0)).min(1),
  optimizer: optimizerSchema.partial({ lr: true }),
  warmup: count.describe('steps'),
  cooldown: z.number().positive().lt(1).default(0.2).describe('share of a budget: 1 - sqrt to zero'),
  tuning: tuning.optional(),
  ratesFrom: z.string().optional().describe('another part, whose tuned rates hold here for models of the same name'),
  arms: z.array(arm).min(1),
  controls,
});

const studySchema = z.strictObject({
  name: runNameSchema,
  hypothesis: z.string().min(1),
  stopRule: z.string().min(1).describe('when no more runs are made, decided beforehand'),
  data: z.strictObject({
    train: z.string(),
    validation: z.string().optional().describe('what is reported'),
    selection: z.string().optional().describe('other texts on which rates are chosen'),
    sequenceLength: count,
    maxEpochs: z.number().positive().default(4),
  }),
  validationTokens: count.default(131072),
  trainer: externalSchema.optional().describe('trains every stage; default: Strata'),
  parts: z.array(part).min(1),
});

/** A study as it is written down before its runs. */
export type Study = z.output<typeof studySchema>;
export type StudyInput = z.input<typeof studySchema>;
export type StudyPart = Study['parts'][number];
export type StudyArm = StudyPart['arms'][number];

/** A study with the hash that every record carries. */
export interface LoadedStudy {
  readonly study: Study;
  /** SHA-256 of the canonical JSON of all its values. */
  readonly hash: string;
}

export const STUDY_FILE = 'study.json';

/** Reads a study from YAML, JSON or a recipe. Throws InputError naming the field that does not fit. */
export async function loadStudy(path: string): Promise<LoadedStudy> {
  const value = ['.ts', '.mts', '.js', '.mjs'].includes(extname(path)) ? await loadRecipe(path) : readYaml(path);
  return parseStudy(value, path);
}

export function parseStudy(value: unknown, source: string): LoadedStudy {
  const study = parseBySchema(studySchema, value, source);
  for (const { name, seeds, controls: control, tuning: tuned, ratesFrom, optimizer } of study.parts) {
    const fail = (problem: string): never => {
      throw new InputError(`${source}: part "${name}": ${problem}.`);
    };
    if (control.again.length > 0 && control.again.length !== seeds.length)
      fail(`controls.again: expected ${seeds.length} seeds, one for each of "seeds", found ${control.again.length}`);
    if (control.again.some((seed) => seeds.includes(seed))) fail('controls.again: expected other seeds than "seeds"');
    if (tuned !== undefined && seeds.includes(tuned.seed)) fail('tuning.seed: expected none of "seeds"');
    if (tuned === undefined && ratesFrom === undefined && optimizer.lr === undefined)
      fail('optimizer.lr is missing, and there is no "tuning"');
    if (ratesFrom !== undefined && !study.parts.some((other) => other.name === ratesFrom && other.tuning !== undefined))
      fail(`ratesFrom: expected the name of a part with "tuning", found "${ratesFrom}"`);
    if (tuned !== undefined && ratesFrom !== undefined) fail('expected "tuning" or "ratesFrom", found both');
  }
  if (new Set(study.parts.map((one) => one.name)).size < study.parts.length)
    throw new InputError(`${source}: parts need different names.`);
  return { study, hash: sha256(canonicalJson(JSON.parse(JSON.stringify(study)))) };
}

function readYaml(path: string): unknown {
  if (!existsSync(path)) throw new InputError(`${path} does not exist.`);
  try {
    return parse(readFileSync(path, 'utf8')) as unknown;
  } catch (error) {
    throw new InputError(`${path} cannot be read: ${(error as Error).message.split('\n')[0]}`, { cause: error });
  }
}

/**
 * Writes study.json of a new study, or checks that it is the one that the folder was begun with.
 *
 * @throws InputError naming what differs: a study is written down before its runs.
 */
export function settleStudy({ study, hash }: LoadedStudy, out: string): void {
  const path = join(out, STUDY_FILE);
  if (!existsSync(path)) return writeFileAtomic(path, `${JSON.stringify({ format: 1, hash, study }, null, 1)}\n`);
  const before = readStudyFile(out);
  if (before.hash === hash) return;
  const [first = 'its values'] = differences(before.study, JSON.parse(JSON.stringify(study)));
  throw new InputError(
    `${path} was written down before the runs and is another study (${first}): take another --out, or go on with "strata study continue ${out}".`,
  );
}

const fileSchema = z.looseObject({ format: z.literal(1), hash: z.string(), study: z.unknown() });

/** Reads the study that a folder was begun with. */
export function readStudyFile(out: string): LoadedStudy {
  const path = join(out, STUDY_FILE);
  if (!existsSync(path)) throw new InputError(`${out} is no study: it has no ${STUDY_FILE}.`);
  const value = parseBySchema(fileSchema, JSON.parse(readFileSync(path, 'utf8')) as unknown, path);
  const loaded = parseStudy(value.study, path);
  if (loaded.hash !== value.hash)
    throw new InputError(`${path}: its values are not those of its hash; it was changed.`);
  return loaded;
}
