import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseModelConfig, type ModelConfig } from '../../architecture/index.js';
import { trainingFlopsPerToken } from '../../planner/index.js';
import { canonicalJson, readRun, recordsPath, sha256, type Run } from '../../records/index.js';
import { signatureFits } from './signature.js';
import { chainRecords, checkpointHashes, stageTotals, type ComputeStatement } from './statement.js';

/** One thing that was checked; `ok` is null where it could not be. */
export interface Check {
  readonly name: string;
  readonly ok: boolean | null;
  readonly detail: string;
}

/** Printed with every verification: consistency is not proof. */
export const LIMITS =
  'This proves that statement, records and manifests fit together, and with a signature who made the statement. ' +
  'It does not prove that the computation happened; training a segment again (--replay A..B) shows that for the segment.';

/** Checks a statement against the run folder that it is about. */
export function verifyStatement(statement: ComputeStatement, folder: string): Check[] {
  const run = readRun(folder);
  return [
    checkSignature(statement),
    checkChain(statement, run),
    checkManifest(statement, run),
    checkCheckpoints(statement, run),
    checkTotals(statement, run),
    ...checkFlops(statement, run),
    checkPlausible(statement),
  ];
}

function checkSignature(statement: ComputeStatement): Check {
  const fits = signatureFits(statement);
  if (fits === undefined) return { name: 'signature', ok: null, detail: 'not signed' };
  const key = statement.signature?.publicKey ?? '';
  return { name: 'signature', ok: fits, detail: fits ? `by the Ed25519 key ${key}` : 'does not fit the statement' };
}

function checkChain({ records }: ComputeStatement, run: Run): Check {
  const path = recordsPath(run.folder);
  const name = 'records';
  const { size } = statSync(path);
  if (size < records.bytes)
    return { name, ok: false, detail: `${path} has ${size} bytes, ${records.bytes} were stated: records are missing` };
  const chain = chainRecords(path, records.bytes);
  if (chain.broken !== undefined) return { name, ok: false, detail: `line ${chain.broken}: ${chain.reason}` };
  const ok = chain.head === records.chainHead && chain.count === records.count;
  const since = records.chainedWhenWritten ? 'when they were written' : 'for the statement';
  return {
    name,
    ok,
    detail: ok ? `${chain.count} records, chained ${since}` : 'were changed after the statement was made',
  };
}

function checkManifest(statement: ComputeStatement, run: Run): Check {
  const hash = sha256(readFileSync(join(run.folder, 'run.json')));
  const ok = hash === statement.runManifestHash && canonicalJson(run.manifest?.data) === canonicalJson(statement.data);
  return { name: 'run.json', ok, detail: ok ? 'as stated' : 'was changed after the statement was made' };
}

function checkCheckpoints(statement: ComputeStatement, run: Run): Check {
  const found = checkpointHashes(run.folder);
  const stated = Object.entries(statement.checkpoints);
  const changed = stated
    .filter(([step, hash]) => found[step] !== undefined && found[step] !== hash)
    .map(([step]) => step);
  const missing = stated.filter(([step]) => found[step] === undefined).map(([step]) => step);
  if (changed.length > 0) return { name: 'checkpoints', ok: false, detail: `changed: ${changed.join(', ')}` };
  if (stated.length === 0 || missing.length === stated.length)
    return { name: 'checkpoints', ok: null, detail: 'none is there to be checked' };
  return {
    name: 'checkpoints',
    ok: true,
    detail: `${stated.length - missing.length} of ${stated.length} there, as stated`,
  };
}

function checkTotals(statement: ComputeStatement, run: Run): Check {
  const sum = statement.stages.reduce((total, { flopsExact }) => total + BigInt(flopsExact), 0n);
  const ok =
    String(sum) === statement.total.flopsExact && canonicalJson(stageTotals(run)) === canonicalJson(statement.stages);
  return {
    name: 'totals',
    ok,
    detail: ok
      ? `${statement.total.flopsExact} FLOPs in ${statement.stages.length} stages`
      : 'do not follow from the records',
  };
}

/** Counts the FLOPs of each train stage again from its architecture and its tokens, where run.json determines both. */
function checkFlops(statement: ComputeStatement, run: Run): Check[] {
  return statement.stages.map(({ stage, tokens, flopsExact }, i) => {
    const name = `FLOPs of ${stage}`;
    const model = stageModel(run, stage, i === statement.stages.length - 1);
    const length = sequenceLengthOf(run);
    if (model === undefined || length === undefined || statement.parents.length > 0)
      return { name, ok: null, detail: 'run.json does not determine the architecture or what it started from' };
    const expected = trainingFlopsPerToken(model, length).flops * BigInt(tokens);
    const ok = String(expected) === flopsExact;
    return {
      name,
      ok,
      detail: ok ? `${flopsExact}, counted again` : `${flopsExact} stated, ${String(expected)} counted again`,
    };
  });
}

/** The model of a stage that trains all of it: the first as configured, the last as run.json has it. */
function stageModel(run: Run, name: string, isLast: boolean): ModelConfig | undefined {
  const stages = run.manifest?.config['stages'];
  if (!Array.isArray(stages)) return undefined;
  const stage = (stages as unknown[]).filter(isObject).find((candidate) => candidate['name'] === name);
  const { trainable = 'all', objective = 'plain' } = stage ?? {};
  if (stage === undefined || trainable !== 'all' || objective !== 'plain') return undefined;
  const fields = isLast ? modelFields(run.manifest?.model) : firstModel(run, stages as unknown[], stage);
  if (fields === undefined) return undefined;
  try {
    return parseModelConfig(fields, 'run.json');
  } catch {
    return undefined;
  }
}

/** The first stage trains the final model with the fields that it changes; what later stages start from is not in run.json. */
function firstModel(
  run: Run,
  stages: readonly unknown[],
  stage: Record<string, unknown>,
): Record<string, unknown> | undefined {
  const final = modelFields(run.manifest?.model);
  if (stages[0] !== stage || final === undefined || !isObject(stage['model'] ?? {})) return undefined;
  return { ...final, ...((stage['model'] ?? {}) as Record<string, unknown>) };
}

function modelFields(model: Record<string, unknown> | undefined): Record<string, unknown> | undefined {
  if (model === undefined) return undefined;
  const { parameters: _, nonEmbeddingParameters: __, ...fields } = model;
  return fields;
}

function sequenceLengthOf(run: Run): number | undefined {
  const data = run.manifest?.config['data'];
  const length = isObject(data) ? data['sequenceLength'] : undefined;
  return typeof length === 'number' ? length : undefined;
}

/** FLOPs of one core in a second that no CPU of today passes in float32: 64 a cycle (two AVX-512 units) at 6 GHz. */
const MOST_PER_CORE = 64 * 6e9;

function checkPlausible({ wallSeconds, machine, total }: ComputeStatement): Check {
  const name = 'plausible speed';
  const cores = machine['cores'];
  if (wallSeconds === null || !(wallSeconds > 0) || typeof cores !== 'number' || machine['gpu'] !== undefined)
    return { name, ok: null, detail: 'time or device unknown' };
  const share = Number(total.flopsExact) / wallSeconds / (cores * MOST_PER_CORE);
  return {
    name,
    ok: share <= 1,
    detail: `${(100 * share).toPrecision(2)} % of what ${cores} cores could do at the very most`,
  };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);
