import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { findRunFolders, isRunFolder, readRun, recordsPath, type Run } from '../../records/index.js';

const summarySchema = z.object({
  folder: z.string(),
  /** Changes whenever the run's files do. */
  stamp: z.string(),
  name: z.string(),
  createdAt: z.string().nullable(),
  seed: z.number().nullable(),
  parameters: z.number().nullable(),
  step: z.number(),
  tokens: z.number(),
  flops: z.number(),
  finalLoss: z.number().nullable(),
  growth: z.array(z.string()),
  state: z.enum(['ended', 'unfinished']),
  tags: z.array(z.string()),
});

/** What a list shows of a run. */
export type RunSummary = z.output<typeof summarySchema>;

const indexSchema = z.object({ format: z.literal(1), runs: z.array(summarySchema) });
const INDEX = '.strata-runs.json';
const TAGS = 'tags.json';

/**
 * Summaries of all runs under a folder.
 *
 * They are kept in an index beside the runs, which is only a memory: entries whose run has changed are read again, and a missing or damaged index
 * is made anew.
 */
export function listRuns(root: string): RunSummary[] {
  const known = new Map(readIndex(root).map((summary) => [summary.folder, summary]));
  const folders = findRunFolders([root]).filter((folder) => existsSync(recordsPath(folder)));
  const runs = folders.map((folder) => {
    const summary = known.get(folder);
    return summary !== undefined && summary.stamp === stampOf(folder) ? summary : summarise(folder);
  });
  const changed = runs.length !== known.size || runs.some((run) => known.get(run.folder) !== run);
  // A folder that cannot be written to can still be listed.
  if (changed) tryWrite(join(root, INDEX), JSON.stringify({ format: 1, runs }));
  return runs;
}

/** Reads what a list shows of one run. */
export function summarise(folder: string): RunSummary {
  const run = readRun(folder, { maxTrainRecords: 1 });
  const { train, validation, growth, events } = run.records;
  const last = train.length - 1;
  return {
    folder,
    stamp: stampOf(folder),
    name: run.manifest?.name ?? folder,
    createdAt: run.manifest?.createdAt ?? null,
    seed: seedOf(run),
    parameters: run.manifest?.model?.parameters ?? null,
    step: train.step[last] ?? 0,
    tokens: train.tokens[last] ?? 0,
    flops: train.flops[last] ?? 0,
    finalLoss: validation.at(-1)?.loss ?? null,
    growth: growth.map(({ operator }) => operator),
    state: events.some(({ name }) => name === 'end') ? 'ended' : 'unfinished',
    tags: readTags(folder),
  };
}

/** The tags of a run, which lie in its folder. */
export function readTags(folder: string): string[] {
  const path = join(folder, TAGS);
  if (!existsSync(path)) return [];
  const result = z.array(z.string()).safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!result.success) throw new InputError(`${path}: expected a list of texts.`);
  return result.data;
}

/** Adds and removes tags; returns those that the run then has, sorted. */
export function changeTags(folder: string, add: readonly string[], remove: readonly string[] = []): string[] {
  if (!isRunFolder(folder)) throw new InputError(`${folder} is no run folder.`);
  const tags = [...new Set([...readTags(folder), ...add])].filter((tag) => !remove.includes(tag)).sort();
  writeFileAtomic(join(folder, TAGS), `${JSON.stringify(tags)}\n`);
  return tags;
}

/** Removes a run for good: renamed first, so that a removal that is cut off leaves no half run behind. */
export function removeRun(folder: string): void {
  if (!isRunFolder(folder)) throw new InputError(`${folder} is no run folder, so it is not removed.`);
  const doomed = `${folder.replace(/\/+$/, '')}.removed-${process.pid}`;
  renameSync(folder, doomed);
  rmSync(doomed, { recursive: true });
}

/** Config values in which two runs differ, by dotted path. */
export function diffRuns(a: Run, b: Run): { path: string; a: unknown; b: unknown }[] {
  const left = new Map(leaves(a.manifest?.config ?? {}));
  const right = new Map(leaves(b.manifest?.config ?? {}));
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((path) => left.get(path) !== right.get(path))
    .map((path) => ({ path, a: left.get(path) ?? null, b: right.get(path) ?? null }));
}

function leaves(value: unknown, path = ''): [string, unknown][] {
  if (value === null || typeof value !== 'object') return [[path, value]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === '' ? key : `${path}.${key}`));
}

function readIndex(root: string): RunSummary[] {
  const path = join(root, INDEX);
  if (!existsSync(path)) return [];
  const result = indexSchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  return result.success ? result.data.runs : [];
}

function stampOf(folder: string): string {
  return [recordsPath(folder), join(folder, 'run.json'), join(folder, TAGS)]
    .map((path) => statSync(path, { throwIfNoEntry: false }))
    .map((stat) => (stat === undefined ? '-' : `${stat.size}:${stat.mtimeMs}`))
    .join(' ');
}

function tryWrite(path: string, text: string): void {
  try {
    writeFileAtomic(path, text);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function seedOf(run: Run): number | null {
  const seed = run.manifest?.config['seed'];
  return typeof seed === 'number' ? seed : null;
}
