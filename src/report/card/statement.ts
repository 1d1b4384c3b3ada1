import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { CHAIN_START, chainHash, readRun, recordsPath, sha256, type Run } from '../../records/index.js';
import { version } from '../../version.js';

const stageSchema = z.strictObject({
  stage: z.string(),
  tokens: z.number(),
  flopsExact: z.string(),
  /** How the FLOPs were counted. */
  formula: z.string(),
});

const statementSchema = z.strictObject({
  format: z.literal(1),
  kind: z.literal('strata-compute-statement'),
  run: z.string(),
  createdBy: z.string(),
  model: z.record(z.string(), z.unknown()).nullable(),
  parents: z.array(z.record(z.string(), z.unknown())),
  parentFlops: z.union([z.literal('unknown'), z.number(), z.null()]),
  stages: z.array(stageSchema),
  total: z.strictObject({ tokens: z.number(), flopsExact: z.string(), flops6nd: z.number().nullable() }),
  /** Seconds by the clock from the first record to the last, pauses included. */
  wallSeconds: z.number().nullable(),
  machine: z.record(z.string(), z.unknown()),
  versions: z.record(z.string(), z.unknown()),
  data: z.record(z.string(), z.unknown()),
  /** SHA-256 of the manifest of each checkpoint, by step. */
  checkpoints: z.record(z.string(), z.string()),
  runManifestHash: z.string(),
  records: z.strictObject({
    /** The statement is about this many bytes from the start of records.jsonl. */
    bytes: z.number(),
    count: z.number(),
    chainHead: z.string(),
    /** The records carry their hashes since they were written; otherwise they were chained for this statement. */
    chainedWhenWritten: z.boolean(),
  }),
  signature: z.strictObject({ algorithm: z.literal('Ed25519'), publicKey: z.string(), value: z.string() }).optional(),
});

/** A statement of what a training run has cost, that others can check. */
export type ComputeStatement = z.output<typeof statementSchema>;

/** Name of the count: matrix products and attention over the full square. */
export const EXACT_FORMULA = 'exact: 6 P_mat + 12 L h T per token, less where parts are frozen';

/** The statement about a run as it is now. */
export function makeStatement(folder: string): ComputeStatement {
  const run = readRun(folder);
  if (run.manifest === undefined) throw new InputError(`${folder} has no run.json, so there is nothing to state.`);
  const { manifest, records } = run;
  const { path, versions, machine, data } = { path: recordsPath(run.folder), ...manifest };
  const chain = chainRecords(path);
  if (chain.broken !== undefined)
    throw new InputError(`${path}: line ${chain.broken}: ${chain.reason}, so no statement is made.`);
  const stages = stageTotals(run);
  const last = stages.at(-1);
  const lastTrain = records.train.length - 1;
  const times = [...records.train.time].filter(Number.isFinite);
  return {
    format: 1,
    kind: 'strata-compute-statement',
    run: manifest.name,
    createdBy: `strata ${version}`,
    model: manifest.model ?? null,
    parents: manifest.parents,
    parentFlops: manifest.parentFlops ?? null,
    stages,
    total: {
      tokens: records.train.tokens[lastTrain] ?? 0,
      flopsExact: last === undefined ? '0' : sumExact(stages),
      flops6nd: finiteOrNull(records.train.flops6nd[lastTrain]),
    },
    wallSeconds: times.length < 2 ? null : (times.at(-1) ?? 0) - (times[0] ?? 0),
    machine,
    versions,
    data,
    checkpoints: checkpointHashes(run.folder),
    runManifestHash: sha256(readFileSync(join(run.folder, 'run.json'))),
    records: { bytes: chain.bytes, count: chain.count, chainHead: chain.head, chainedWhenWritten: chain.stored },
  };
}

/** Reads a statement. Throws InputError naming the field that does not fit. */
export function readStatement(path: string): ComputeStatement {
  if (!existsSync(path)) throw new InputError(`${path} does not exist: "strata card RUN" makes it.`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} is no JSON: ${error instanceof Error ? error.message : String(error)}.`, {
      cause: error,
    });
  }
  return parseBySchema(statementSchema, value, path);
}

/** Tokens and exact FLOPs of each stage: differences of what the records have at its end and before it. */
export function stageTotals(run: Run): ComputeStatement['stages'] {
  const ends = new Map<string, { tokens: number; exact: bigint }>();
  for (const { stage, tokens, flopsExact, flops } of exactRecords(run.folder))
    ends.set(stage, { tokens, exact: flopsExact === undefined ? BigInt(Math.round(flops)) : BigInt(flopsExact) });
  let before = { tokens: 0, exact: 0n };
  const parent = run.manifest?.parents[0];
  const stages = [...ends].map(([stage, end]) => {
    const entry = {
      stage,
      tokens: end.tokens - before.tokens,
      flopsExact: String(end.exact - before.exact),
      formula:
        before.exact === 0n && parent?.flops !== undefined ? `${EXACT_FORMULA}; parents included` : EXACT_FORMULA,
    };
    before = end;
    return entry;
  });
  return stages;
}

interface ExactRecord {
  readonly stage: string;
  readonly tokens: number;
  readonly flops: number;
  readonly flopsExact?: string | undefined;
}

/** The last train, validation or growth record of each stretch of a stage is what counts, so all are read in order. */
function* exactRecords(folder: string): Generator<ExactRecord> {
  for (const line of readFileSync(recordsPath(folder), 'utf8').split('\n')) {
    const record = parseLine(line);
    if (record === undefined || (record['kind'] !== 'train' && record['kind'] !== 'validation')) continue;
    const { stage, tokens, flops, flopsExact } = record;
    if (typeof stage === 'string' && typeof tokens === 'number' && typeof flops === 'number')
      yield {
        stage,
        tokens,
        flops,
        ...(typeof flopsExact === 'string' && /^\d+$/.test(flopsExact) ? { flopsExact } : {}),
      };
  }
}

/** What the hash chain over a records file says. */
export interface Chain {
  readonly head: string;
  readonly count: number;
  readonly bytes: number;
  /** Every record carries its hash. */
  readonly stored: boolean;
  /** Line, from 1, at which a stored hash does not fit. */
  readonly broken?: number;
  readonly reason?: string;
}

/** Chains the records in the first `bytes` bytes of a file (default: all complete lines), checking the hashes that they carry. */
export function chainRecords(path: string, bytes?: number): Chain {
  const text = readStart(path, bytes);
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  let head = CHAIN_START;
  let count = 0;
  let stored = true;
  for (const line of complete.split('\n').slice(0, -1)) {
    count++;
    const record = parseLine(line);
    if (record === undefined) return { head, count, bytes: 0, stored, broken: count, reason: 'no JSON object' };
    head = chainHash(head, record);
    if (record['hash'] === undefined) stored = false;
    else if (record['hash'] !== head)
      return { head, count, bytes: 0, stored, broken: count, reason: 'its hash does not fit what stands before it' };
  }
  return { head, count, bytes: Buffer.byteLength(complete), stored: stored && count > 0 };
}

function readStart(path: string, bytes: number | undefined): string {
  if (bytes === undefined) return readFileSync(path, 'utf8');
  const buffer = Buffer.alloc(bytes);
  const descriptor = openSync(path, 'r');
  try {
    return buffer.toString('utf8', 0, readSync(descriptor, buffer, 0, bytes, 0));
  } finally {
    closeSync(descriptor);
  }
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 of each checkpoint's manifest, which in turn holds the checksums of its files. */
export function checkpointHashes(folder: string): Record<string, string> {
  const root = join(folder, 'checkpoints');
  if (!existsSync(root)) return {};
  const steps = readdirSync(root).filter((name) => /^\d+$/.test(name) && existsSync(join(root, name, 'manifest.json')));
  return Object.fromEntries(steps.map((step) => [step, sha256(readFileSync(join(root, step, 'manifest.json')))]));
}

const sumExact = (stages: ComputeStatement['stages']): string =>
  String(stages.reduce((sum, { flopsExact }) => sum + BigInt(flopsExact), 0n));

const finiteOrNull = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;
