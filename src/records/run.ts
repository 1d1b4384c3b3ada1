import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { readRecords, type ReadOptions, type RunRecords } from './reader.js';

const dataset = z.looseObject({
  path: z.string(),
  /** Identity of the token sequence: the checksum of the index, which holds the checksums of the shards. */
  hash: z.string().optional(),
});

/** Schema of run.json. */
export const runManifestSchema = z.looseObject({
  format: z.literal(1),
  name: z.string(),
  createdAt: z.string().optional(),
  /** The resolved config: every default filled in. */
  config: z.record(z.string(), z.unknown()),
  /** Where each value of the config came from, by dotted path. */
  sources: z.record(z.string(), z.string()).default({}),
  versions: z
    .looseObject({
      strata: z.string().optional(),
      node: z.string().optional(),
      libtorch: z.string().optional(),
      commit: z.string().optional(),
    })
    .default({}),
  machine: z
    .looseObject({
      cpu: z.string().optional(),
      cores: z.number().optional(),
      memoryBytes: z.number().optional(),
      features: z.array(z.string()).optional(),
    })
    .default({}),
  /** Checkpoints that the run started from. */
  parents: z
    .array(
      z.looseObject({
        path: z.string(),
        manifestHash: z.string().optional(),
        flops: z.number().optional(),
        tokens: z.number().optional(),
      }),
    )
    .default([]),
  /** "unknown" where the run continues a checkpoint that does not say what its training cost. */
  parentFlops: z.union([z.literal('unknown'), z.number()]).optional(),
  data: z.looseObject({ train: dataset.optional(), validation: dataset.optional() }).default({}),
  /** The model that the last stage trains, with its exact counts where they are known. */
  model: z.looseObject({ parameters: z.number().optional(), nonEmbeddingParameters: z.number().optional() }).optional(),
});

/** What run.json holds. */
export type RunManifest = z.output<typeof runManifestSchema>;

const MANIFEST = 'run.json';
const RECORDS = 'records.jsonl';

/** Path of a run's records file. */
export const recordsPath = (folder: string): string => join(folder, RECORDS);

/** Whether a folder is a run folder. */
export const isRunFolder = (folder: string): boolean =>
  existsSync(join(folder, MANIFEST)) || existsSync(join(folder, RECORDS));

/** Reads run.json. Throws InputError naming the field that does not fit. */
export function readRunManifest(folder: string): RunManifest {
  const path = join(folder, MANIFEST);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}.`, {
      cause: error,
    });
  }
  const result = runManifestSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new InputError(
    `${path}: ${issue === undefined ? 'invalid' : `${z.core.toDotPath(issue.path)}: ${issue.message}`}.`,
  );
}

/** Writes run.json, atomically. */
export function writeRunManifest(folder: string, manifest: RunManifest): void {
  writeFileAtomic(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** A run read from its folder. */
export interface Run {
  readonly folder: string;
  /** The folder's name as given, without a trailing slash: how people tell runs apart. */
  readonly name: string;
  /** Left out where the folder has records only, as another trainer may leave it. */
  readonly manifest?: RunManifest;
  readonly records: RunRecords;
}

/** Reads a run folder. Throws InputError where it has no records. */
export function readRun(folder: string, options: ReadOptions = {}): Run {
  const trimmed = folder.length > 1 ? folder.replace(/\/+$/, '') : folder;
  if (!existsSync(trimmed) || !statSync(trimmed).isDirectory())
    throw new InputError(`${folder} is no run folder: there is no such folder.`);
  const path = recordsPath(trimmed);
  if (!existsSync(path)) throw new InputError(`${folder} is no run folder: it has no ${RECORDS}.`);
  const hasManifest = existsSync(join(trimmed, MANIFEST));
  return {
    folder: trimmed,
    name: trimmed === '.' ? basename(process.cwd()) : trimmed,
    ...(hasManifest ? { manifest: readRunManifest(trimmed) } : {}),
    records: readRecords(path, options),
  };
}

/** Whether the run took over a checkpoint whose training cost nobody knows; its FLOPs are then a lower bound. */
export function hasUnknownParentFlops(run: Run): boolean {
  return (
    run.manifest?.parentFlops === 'unknown' || run.records.events.some((event) => event['parentFlops'] === 'unknown')
  );
}
