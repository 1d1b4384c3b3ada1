import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { readJsonObject } from '../json.js';

/**
 * Checks that a checkpoint's weights alone are the model.
 *
 * @throws InputError where its strata.json says that masks still fade new parts in: without them the weights compute something else.
 */
export function requireEndedMasks(folder: string): void {
  const path = join(folder, 'strata.json');
  if (!existsSync(path)) return;
  const { growth } = readJsonObject(path) as { growth?: { masks?: readonly unknown[] } };
  if ((growth?.masks?.length ?? 0) === 0) return;
  throw new InputError(
    `${folder}: masks still fade new parts of this model in; train until they reach 1, or grow with --opt mask=1.`,
  );
}
