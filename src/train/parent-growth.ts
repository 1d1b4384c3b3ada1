import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseBySchema } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { GROWTH_FILE, type MaskRamp } from '../growth/index.js';

const index = z.int().min(0);
const schema = z.looseObject({
  growth: z
    .looseObject({
      addedLayers: z.array(index).default([]),
      masks: z
        .array(
          z.object({
            kind: z.enum(['random', 'msg']),
            axis: z.enum(['hidden', 'ffn', 'heads', 'layers']),
            old: index,
            size: index,
            newEntries: z.array(index).optional(),
            start: z.number(),
            end: z.number(),
            value: z.number().min(0).max(1).default(0),
          }),
        )
        .default([]),
    })
    .optional(),
});

/** What a grown checkpoint says of its growth: layers that are new, and masks that have still to rise. */
export interface ParentGrowth {
  readonly addedLayers: readonly number[];
  readonly masks: readonly MaskRamp[];
}

/**
 * Reads a checkpoint's strata.json.
 *
 * @throws InputError where it is damaged, or where its masks have begun to rise: then only its own run can go on with them.
 */
export function parentGrowth(folder: string): ParentGrowth | undefined {
  const path = join(folder, GROWTH_FILE);
  if (!existsSync(path)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  const { growth } = parseBySchema(schema, value, path);
  if (growth === undefined) return undefined;
  if (growth.masks.some(({ value: reached }) => reached > 0))
    throw new InputError(
      `${path}: its masks stand between 0 and 1; repeat the command of the run that wrote it, or take its checkpoint from the end of the ramp.`,
    );
  const masks = growth.masks.map(({ value: _, newEntries, ...mask }) => ({
    ...mask,
    ...(newEntries === undefined ? {} : { newEntries }),
  }));
  return { addedLayers: growth.addedLayers, masks };
}
