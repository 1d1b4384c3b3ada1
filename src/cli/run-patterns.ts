import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import { isRunFolder } from '../records/index.js';

/**
 * Run folders that a path or a pattern with `*` and `?` names, sorted.
 *
 * Patterns are for quoted arguments: the shell expands the others itself. Of what a pattern matches only run folders are taken.
 *
 * @throws InputError where nothing matches.
 */
export function expandRunPattern(pattern: string): string[] {
  if (!/[*?]/.test(pattern)) return [pattern];
  let paths = [pattern.startsWith('/') ? '/' : ''];
  for (const segment of pattern.split('/').filter((part) => part !== '')) {
    paths = paths.flatMap((folder) =>
      namesIn(folder, segment)
        .map((name) => (folder === '' ? name : join(folder, name)))
        .filter((path) => existsSync(path)),
    );
  }
  const runs = paths.filter((path) => statSync(path).isDirectory() && isRunFolder(path)).sort();
  if (runs.length === 0) throw new InputError(`No run folder matches "${pattern}".`);
  return runs;
}

function namesIn(folder: string, segment: string): string[] {
  if (!/[*?]/.test(segment)) return [segment];
  const escaped = segment
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  const expression = new RegExp(`^${escaped}$`);
  const inside = folder === '' ? '.' : folder;
  if (!existsSync(inside) || !statSync(inside).isDirectory()) return [];
  return readdirSync(inside).filter((name) => expression.test(name) && !name.startsWith('.'));
}
