import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import { readRunManifest, type RunManifest, writeRunManifest } from '../records/index.js';
import type { RunData } from './data.js';
import { machine, versions } from './environment.js';
import type { RunPlan } from './run-plan.js';

/** A checkpoint that a run starts from. */
export type Parent = RunManifest['parents'][number] & { readonly flopsKnown: boolean };

/** What is written into run.json once, before the first step. */
export interface RunIdentity {
  readonly plan: RunPlan;
  readonly sources: Readonly<Record<string, string>>;
  readonly data: RunData;
  readonly libtorch: string;
  readonly parent?: Parent;
  /** Sequences at a time, by stage: a part of what the bits depend on, chosen by the machine that began the run. */
  readonly microBatches: Readonly<Record<string, number>>;
}

const MAX_DIFFERENCES = 3;

/** Writes run.json of a new run. */
export function createRunManifest(folder: string, identity: RunIdentity): RunManifest {
  const { plan, sources, data, parent } = identity;
  const last = plan.stages.at(-1)!;
  const derived = Object.entries(plan.derived).map(([path, { from }]) => [path, `derived: ${from}`]);
  const manifest: RunManifest = {
    format: 1,
    name: plan.config.name,
    createdAt: new Date().toISOString(),
    config: JSON.parse(JSON.stringify(plan.config)) as Record<string, unknown>,
    sources: { ...sources, ...Object.fromEntries(derived) },
    derived: Object.fromEntries(Object.entries(plan.derived).map(([path, { value }]) => [path, value])),
    microBatches: identity.microBatches,
    versions: versions(identity.libtorch),
    machine: machine(),
    parents: parent === undefined ? [] : [parent],
    ...(parent !== undefined && !parent.flopsKnown ? { parentFlops: 'unknown' as const } : {}),
    data: {
      train: { path: data.train.folder, hash: data.train.identity },
      validation: { path: data.validation.folder, hash: data.validation.identity },
    },
    model: { ...last.model, parameters: last.counts.total, nonEmbeddingParameters: last.counts.nonEmbedding },
  };
  writeRunManifest(folder, manifest);
  return manifest;
}

/**
 * Reads run.json of a run that was begun before, or undefined where the folder is new.
 *
 * @throws InputError with the fields that differ where the run was begun with another config or other data.
 */
export function openRunManifest(folder: string, plan: RunPlan, data: RunData): RunManifest | undefined {
  if (!existsSync(join(folder, 'run.json'))) return undefined;
  const manifest = readRunManifest(folder);
  const before = { ...manifest.config, out: undefined };
  const now = { ...(JSON.parse(JSON.stringify(plan.config)) as Record<string, unknown>), out: undefined };
  const found = differences(before, now);
  for (const split of ['train', 'validation'] as const)
    if (manifest.data[split]?.hash !== data[split].identity)
      found.push(`the tokens in ${data[split].folder} are not those that the run began with`);
  if (found.length === 0) return manifest;
  const shown = found.slice(0, MAX_DIFFERENCES).join('; ');
  const more = found.length > MAX_DIFFERENCES ? ` and ${found.length - MAX_DIFFERENCES} more` : '';
  throw new InputError(
    `${folder} holds a run with another config (${shown}${more}): take another --out, or the config of ${folder}/run.json.`,
  );
}

/** Fields in which two configs differ, as `path is A there and B here`. */
export function differences(before: unknown, now: unknown, path = ''): string[] {
  if (isObject(before) && isObject(now)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
    return [...keys].flatMap((key) => differences(before[key], now[key], path === '' ? key : `${path}.${key}`));
  }
  if (Object.is(before, now)) return [];
  return [`${path} is ${shown(before)} there and ${shown(now)} here`];
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'not set';
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}
