import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { declareFamily, type Family } from '../../architecture/index.js';
import { InputError } from '../../errors.js';

/** A file beside config.json that describes the weights of a model_type that Strata does not know. */
export const ARCHITECTURE_FILES = ['strata-architecture.yaml', 'strata-architecture.yml', 'strata-architecture.json'];

const MAX_BYTES = 1 << 20;

/**
 * Makes the family that a folder's architecture file describes known; undefined where there is no such file.
 *
 * @throws InputError naming file and field.
 */
export function readArchitectureFile(folder: string): Family | undefined {
  const path = ARCHITECTURE_FILES.map((name) => join(folder, name)).find((file) => existsSync(file));
  if (path === undefined) return undefined;
  const { size } = statSync(path);
  if (size > MAX_BYTES) throw new InputError(`${path}: has ${size} bytes, at most ${MAX_BYTES} are read.`);
  let definition: unknown;
  try {
    definition = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path}: is no YAML or JSON: ${(error as Error).message.split('\n', 1)[0]}`);
  }
  return declareFamily(definition, path);
}
