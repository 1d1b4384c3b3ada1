import { readFileSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';
import { type Document, LineCounter, parseDocument } from 'yaml';
import { InputError } from '../../errors.js';
import { type RunConfig, type RunConfigInput, runSchema } from './schema.js';
import { applySetting } from './set.js';
import { dotPath, type Locate, type Path, validate } from './validate.js';

/** A validated config, and where its values came from. */
export interface LoadedConfig {
  readonly config: RunConfig;
  /** Where each value came from, by dotted path: `run.yaml:12`, `--set`, `default`. */
  readonly sources: Readonly<Record<string, string>>;
  /** Names the place of a field in messages. */
  readonly locate: Locate;
}

/** Value read from a file, with the line of each field where the format has lines. */
interface RawConfig {
  readonly value: unknown;
  readonly source: string;
  readonly lineOf?: (path: Path) => number | undefined;
}

const MAX_FILE_BYTES = 16 << 20;
const RECIPES = new Set(['.ts', '.mts', '.js', '.mjs']);

/**
 * Reads a run's config from a YAML or JSON file, or from a recipe (a TypeScript or JavaScript module whose default export is the config
 * or a function that returns it).
 *
 * @param settings `path=value` overrides, applied in order.
 * @throws InputError naming file, line and field.
 */
export async function loadConfig(path: string, settings: readonly string[] = []): Promise<LoadedConfig> {
  return finish(RECIPES.has(extname(path)) ? await readRecipe(path) : readYaml(path), settings);
}

/** Validates a config that is a value already, such as what a recipe function returns. */
export function parseConfig(config: RunConfigInput, settings: readonly string[] = [], source = 'config'): LoadedConfig {
  return finish({ value: structuredClone(config), source }, settings);
}

function finish(raw: RawConfig, settings: readonly string[]): LoadedConfig {
  if (typeof raw.value !== 'object' || raw.value === null || Array.isArray(raw.value))
    throw new InputError(
      `${raw.source}: expected the fields of a run's config, found ${JSON.stringify(raw.value)?.slice(0, 60)}.`,
    );
  const set = settings.map((setting) => dotPath(applySetting(raw.value, setting)));
  const isSet = (path: string): boolean => set.some((prefix) => path === prefix || path.startsWith(`${prefix}.`));
  const locate: Locate = (path) => {
    if (isSet(dotPath(path))) return `--set ${dotPath(path)}`;
    const line = raw.lineOf?.(path);
    return line === undefined ? raw.source : `${raw.source}:${line}`;
  };
  const config = validate(runSchema, raw.value, locate);
  const sources: Record<string, string> = {};
  for (const path of leaves(config)) {
    const name = dotPath(path);
    sources[name] = isSet(name) ? '--set' : isGiven(raw.value, path) ? locate(path) : 'default';
  }
  return { config, sources, locate };
}

function readYaml(path: string): RawConfig {
  const text = readText(path);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const [message] = problem.message.split(/ at line |\n/);
    throw new InputError(`${path}:${problem.linePos?.[0].line ?? 1}: ${message}.`);
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    throw new InputError(`${path}: ${(error as Error).message}.`);
  }
  return { value, source: path, lineOf: (at) => lineIn(document, lineCounter, at) };
}

function readText(path: string): string {
  try {
    const bytes = readFileSync(path);
    if (bytes.length > MAX_FILE_BYTES)
      throw new InputError(`${path} has ${bytes.length} bytes; that is no run config.`);
    return bytes.toString('utf8');
  } catch (error) {
    if (error instanceof InputError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new InputError(`${path} ${missing ? 'does not exist' : `cannot be read: ${(error as Error).message}`}.`);
  }
}

/** Line of a field, or of the nearest field around it that the file has. */
function lineIn(document: Document, lineCounter: LineCounter, path: Path): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return lineCounter.linePos(node.range[0]).line;
  }
  return undefined;
}

async function readRecipe(path: string): Promise<RawConfig> {
  return { value: await loadRecipe(path), source: path };
}

/**
 * Runs a recipe: the default export of a TypeScript or JavaScript module, called where it is a function.
 *
 * @throws InputError where the module cannot be read or run.
 */
export async function loadRecipe(path: string): Promise<unknown> {
  readText(path);
  // A recipe imports the library by its name wherever it lies.
  const library = fileURLToPath(new URL(`../../index${extname(import.meta.url)}`, import.meta.url));
  const jiti = createJiti(import.meta.url, { alias: { 'strata-lm': library } });
  let exported: unknown;
  try {
    exported = await jiti.import(resolve(path), { default: true });
    if (typeof exported === 'function') exported = await (exported as () => unknown)();
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(
      `${path} cannot be run: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}.`,
      {
        cause: error,
      },
    );
  }
  return typeof exported === 'object' ? structuredClone(exported) : exported;
}

/** Paths of all values that are no objects; empty objects and arrays count as values. */
function* leaves(value: unknown, path: Path = []): Generator<Path> {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) {
    if (value !== undefined) yield path;
    return;
  }
  for (const [key, child] of Object.entries(value))
    yield* leaves(child, [...path, Array.isArray(value) ? Number(key) : key]);
}

function isGiven(raw: unknown, path: Path): boolean {
  let at = raw;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as Record<string | number, unknown>)[key];
  }
  return true;
}
