import { readFileSync, statSync } from 'node:fs';
import { InputError } from '../errors.js';

const MAX_JSON_BYTES = 64_000_000;
const MAX_JSON_DEPTH = 64;

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
  if (isDeeperThan(text, MAX_JSON_DEPTH)) throw new InputError(`${path}: nested too deeply.`);
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

/** Whether brackets are nested deeper than that; recursive code would run out of stack on such a text. */
export function isDeeperThan(json: string, most: number): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > most) return true;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return false;
}
