import { readFileSync, statSync } from 'node:fs';
import { InputError } from '../errors.js';

const MAX_JSON_BYTES = 200_000_000;

/**
 * Reads a JSON file that must hold an object.
 *
 * @throws InputError naming the file.
 */
export function readJsonObject(path: string): Record<string, unknown> {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_JSON_BYTES)
      throw new InputError(`${path}: ${size} bytes of JSON, at most ${MAX_JSON_BYTES} are read.`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof InputError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    throw new InputError(code === 'ENOENT' ? `${path}: there is no such file.` : `${path}: cannot be read (${code}).`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new InputError(`${path}: not valid JSON.`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new InputError(`${path}: expected a JSON object.`);
  return json as Record<string, unknown>;
}
