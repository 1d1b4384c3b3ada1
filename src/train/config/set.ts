import { parse } from 'yaml';
import { suggestion } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import type { Path } from './validate.js';

type Tree = Record<string | number, unknown>;

/**
 * Applies `path=value` to a config that is not yet validated, in place.
 *
 * A path leads through fields, array indices and names of stages: `stages.target.optimizer.lr=1e-3`. Values are YAML.
 *
 * @returns The path that was set, with indices in place of names.
 */
export function applySetting(config: unknown, setting: string): Path {
  const equals = setting.indexOf('=');
  if (equals < 1)
    throw new InputError(`--set ${setting}: expected path=value, such as stages.target.optimizer.lr=1e-3.`);
  const keys = setting.slice(0, equals).split('.');
  const path: (string | number)[] = [];
  let at = config as Tree;
  keys.forEach((key, depth) => {
    const resolved = Array.isArray(at) ? indexIn(at, key, setting) : key;
    if (key === '' || key === '__proto__') throw new InputError(`--set ${setting}: "${key}" is no field name.`);
    path.push(resolved);
    if (depth === keys.length - 1) {
      at[resolved] = valueOf(setting.slice(equals + 1), setting);
      return;
    }
    const child = Object.hasOwn(at, resolved) ? at[resolved] : (at[resolved] = {});
    if (typeof child !== 'object' || child === null)
      throw new InputError(`--set ${setting}: "${path.join('.')}" is ${JSON.stringify(child)} and has no fields.`);
    at = child as Tree;
  });
  return path;
}

/** Index of an array's element from its number or its name. */
function indexIn(list: readonly unknown[], key: string, setting: string): number {
  const names = list.map((item) => (item as { name?: unknown } | null)?.name);
  const named = names.indexOf(key);
  if (named >= 0) return named;
  const index = Number(key);
  if (key !== '' && Number.isSafeInteger(index) && index >= 0 && index < list.length) return index;
  const known = names.filter((name) => typeof name === 'string');
  throw new InputError(
    `--set ${setting}: there is no element "${key}"${suggestion(key, known)}; there are ${list.length}: ${known.join(', ')}.`,
  );
}

function valueOf(text: string, setting: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new InputError(`--set ${setting}: the value is no YAML (${(error as Error).message.split('\n')[0]}).`);
  }
}
