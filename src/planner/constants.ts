import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { parseBySchema } from '../architecture/index.js';
import { InputError } from '../errors.js';
import type { TimingConstants } from './timing.js';

const range = z.tuple([z.number().positive(), z.number().positive()]).readonly();

/** Schema of `growthTiming` in the file that `strata fit` writes. */
export const timingConstantsSchema = z.looseObject({
  a: z.number(),
  b: z.number(),
  c: z.number(),
  range: z.looseObject({ params: range, flops: range }),
});

const fitFile = z.looseObject({ format: z.literal(1), growthTiming: timingConstantsSchema.nullish() });

/** Reads growth timing constants from a file that `strata fit` wrote. Throws InputError naming the field. */
export function readTimingConstants(path: string): TimingConstants {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}.`, {
      cause: error,
    });
  }
  const { growthTiming } = parseBySchema(fitFile, value, path);
  if (growthTiming === undefined || growthTiming === null)
    throw new InputError(
      `${path}: field "growthTiming" is missing: the fit had no runs with different growth timings.`,
    );
  return { ...growthTiming, source: `fitted from your own runs (${path})` };
}
