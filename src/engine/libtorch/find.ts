import { execFileSync, type StdioOptions } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { InputError } from '../../errors.js';

/** Oldest libtorch whose stable C interface has what Strata needs. */
export const MINIMUM_VERSION = '2.10';

/** The libtorch that `strata engine install` gets; also the newest interface that Strata asks for. */
export const PINNED_VERSION = '2.13.0';

/** A libtorch on this machine. */
export interface LibtorchPlace {
  /** The folder that holds libtorch_cpu. */
  readonly folder: string;
  /** Such as `2.13.0+cpu`, or `unknown`. */
  readonly version: string;
  readonly source: 'STRATA_LIBTORCH' | 'python' | 'cache';
}

/** Name of a shared library on this system: `libtorch_cpu.so`, or `.dylib` on macOS. */
export const libraryFile = (name: string): string => `lib${name}.${process.platform === 'darwin' ? 'dylib' : 'so'}`;

/** Strata's cache of things that can be made or fetched again. */
export const cacheFolder = (): string => join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'strata');

/** Where `strata engine install` puts a version. */
export const installFolder = (version: string): string =>
  join(cacheFolder(), 'libtorch', `${version}-${process.platform}-${process.arch}`);

/**
 * Finds libtorch: `STRATA_LIBTORCH`, then the `torch` of the active Python, then Strata's cache.
 *
 * A torch older than Strata needs is passed over where it is only the Python's.
 * @throws InputError where `STRATA_LIBTORCH` names a folder without libtorch.
 */
export function findLibtorch(): LibtorchPlace | undefined {
  return fromVariable() ?? fromPython() ?? fromCache();
}

function fromVariable(): LibtorchPlace | undefined {
  const named = process.env['STRATA_LIBTORCH'];
  if (!named) return undefined;
  for (const folder of [named, join(named, 'lib'), join(named, 'torch', 'lib')])
    if (hasLibtorch(folder)) return { folder, version: versionIn(folder), source: 'STRATA_LIBTORCH' };
  throw new InputError(
    `STRATA_LIBTORCH: expected a folder with ${libraryFile('torch_cpu')} or a torch folder, found ${named}.`,
  );
}

function fromPython(): LibtorchPlace | undefined {
  const found = pythonTorch();
  if (found === undefined || !isRecentEnough(found.version)) return undefined;
  return found;
}

/** The torch of the active Python, whatever its version; found without importing it, which would take seconds. */
export function pythonTorch(): LibtorchPlace | undefined {
  const program =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")';
  try {
    const options = { encoding: 'utf8' as const, timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] as StdioOptions };
    const package_ = execFileSync(pythonCommand(), ['-c', program], options).trim();
    const folder = join(package_, 'lib');
    return package_ !== '' && hasLibtorch(folder)
      ? { folder, version: versionIn(folder), source: 'python' }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The Python of the active virtual environment, or the first one on the path. */
export function pythonCommand(): string {
  const environment = process.env['VIRTUAL_ENV'];
  const inEnvironment = environment ? join(environment, 'bin', 'python3') : '';
  return inEnvironment !== '' && existsSync(inEnvironment) ? inEnvironment : 'python3';
}

function fromCache(): LibtorchPlace | undefined {
  const parent = join(cacheFolder(), 'libtorch');
  if (!existsSync(parent)) return undefined;
  const suffix = `-${process.platform}-${process.arch}`;
  const newest = readdirSync(parent)
    .filter((name) => name.endsWith(suffix) && hasLibtorch(join(parent, name, 'torch', 'lib')))
    .sort((a, b) => compareVersions(b, a))[0];
  return newest === undefined ? undefined : placeInstalled(join(parent, newest));
}

/** The libtorch in a folder that `strata engine install` made; it keeps the layout of the wheel. */
export function placeInstalled(root: string): LibtorchPlace {
  const folder = join(root, 'torch', 'lib');
  return { folder, version: versionIn(folder), source: 'cache' };
}

/** Whether a folder holds libtorch_cpu. */
export const hasLibtorch = (folder: string): boolean => existsSync(join(folder, libraryFile('torch_cpu')));

function versionIn(folder: string): string {
  const file = join(dirname(folder), 'version.py');
  if (basename(folder) !== 'lib' || !existsSync(file)) return 'unknown';
  return /^__version__ = '([^']+)'/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 'unknown';
}

/** Whether a version is one that Strata can use; an unknown one is for the load to judge. */
export const isRecentEnough = (version: string): boolean =>
  version === 'unknown' || compareVersions(version, MINIMUM_VERSION) >= 0;

/** Orders versions by their numbers, as far as both have them: 2.9 before 2.13. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => (/^\d+(\.\d+)*/.exec(text)?.[0] ?? '0').split('.').map(Number));
  for (let i = 0; i < Math.max(left?.length ?? 0, right?.length ?? 0); i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
