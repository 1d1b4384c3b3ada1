import { relative } from 'node:path';
import { stringify } from 'yaml';
import type { FitFile } from '../planner/index.js';
import type { Run } from '../records/index.js';
import { readNotes } from './notes.js';
import type { PageStudy } from './study-data.js';
import type { PageTune } from './tune-data.js';
import { thin, type CurvePoint } from './thin.js';

export type { CurvePoint } from './thin.js';

/** What the page knows of a run. Plain data: it travels as JSON. */
export interface PageRun {
  readonly id: number;
  readonly label: string;
  readonly folder: string;
  readonly color: string;
  /** SVG dash pattern; empty for a full line. */
  readonly dash: string;
  readonly train: readonly CurvePoint[];
  /** Train records behind each point of `train`, about. */
  readonly recordsPerPoint: number;
  readonly validation: readonly CurvePoint[];
  readonly growth: readonly {
    readonly flops: number;
    readonly tokens: number;
    readonly loss: number;
    readonly operator: string;
    /** Target parameters over source parameters; NaN where the records do not say. */
    readonly factor: number;
  }[];
  readonly evals: readonly {
    readonly task: string;
    readonly metric: string;
    readonly flops: number;
    readonly tokens: number;
    readonly value: number;
    readonly stderr: number;
    /** NaN where there is nothing to guess from. */
    readonly chance: number;
    readonly nearChance: boolean;
  }[];
  readonly finalLoss: number | null;
  readonly parameters: number | null;
  readonly flops: number;
  readonly tokens: number;
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly config: string;
  /** The config's values by dotted path, as text. */
  readonly configValues: Readonly<Record<string, string>>;
  /** What the reader wrote about the run. */
  readonly notes: string;
  readonly problems: readonly string[];
}

/** What the page shows of a comparison; `strata compare --json` has these fields and more. */
export interface PageComparison {
  readonly baseline: string;
  readonly mode: string;
  readonly runs: readonly {
    readonly run: string;
    readonly finalLoss: number | null;
    readonly flops: number;
    readonly annealed: boolean;
    readonly atEqualLoss: {
      readonly loss: number;
      readonly baselineFlops: number;
      readonly runFlops: number;
      readonly speedup: number;
      readonly saved: number;
    } | null;
    readonly reason?: string;
    readonly curve: readonly {
      readonly loss: number;
      readonly baselineFlops: number;
      readonly runFlops: number;
      readonly speedup: number;
    }[];
  }[];
  readonly groups?: {
    readonly seeds: readonly number[];
    readonly speedup: { readonly mean: number; readonly low: number; readonly high: number } | null;
  };
  readonly arms?: readonly {
    readonly arm: string;
    readonly runs: number;
    readonly mean: number | null;
    readonly speedup: { readonly low: number; readonly high: number } | null;
    readonly leftOut: readonly { readonly reason: string }[];
  }[];
  readonly ranking?: readonly {
    readonly better: string;
    readonly worse: string;
    readonly p: number;
    readonly tie: boolean;
  }[];
  readonly conventions: readonly {
    readonly run: string;
    readonly exact: number | null;
    readonly sixND: number | null;
    readonly sixNDNonEmbedding: number | null;
    readonly verdict: string;
  }[];
  readonly notes: readonly string[];
}

/** All that the charts of a page draw. */
export interface PageData {
  readonly runs: readonly PageRun[];
  readonly comparison: PageComparison | null;
  readonly fit: FitFile | null;
  /** What a study found, on the page of a study. */
  readonly study?: PageStudy;
  /** What a search over hyper-parameters found, on the page of one. */
  readonly tune?: PageTune;
}

/**
 * Line colours that stay apart for colour-blind readers and on light and dark ground.
 *
 * Okabe and Ito 2008, without black, white and yellow.
 */
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c8c8c'];
const DASHES = ['', '6 3', '2 2', '8 3 2 3'];

const MAX_POINTS = 24_000;
const MIN_POINTS_PER_RUN = 60;
const MAX_POINTS_PER_RUN = 600;

/** Train records worth reading for each run of a report: more than it draws, so that its points are means. */
export const trainRecordsPerRun = (numRuns: number): number => 5 * pointsPerRun(numRuns);

const pointsPerRun = (numRuns: number): number =>
  Math.round(Math.max(MIN_POINTS_PER_RUN, Math.min(MAX_POINTS_PER_RUN, MAX_POINTS / numRuns)));

/** Turns runs into what the page draws. */
export function pageRuns(runs: readonly Run[]): PageRun[] {
  const labels = shortLabels(runs.map(({ name }) => name));
  const points = pointsPerRun(runs.length);
  return runs.map((run, id) => pageRun(run, id, labels[id] ?? run.name, points));
}

function pageRun(run: Run, id: number, label: string, points: number): PageRun {
  const { train, validation, growth, evals, trainStride } = run.records;
  const color = COLORS[id % COLORS.length] ?? '#8c8c8c';
  const dash = DASHES[Math.floor(id / COLORS.length) % DASHES.length] ?? '';
  const thinned = thin(train, points);
  const last = train.length - 1;
  return {
    id,
    label,
    folder: run.name,
    color,
    dash,
    train: thinned,
    recordsPerPoint: Math.max(1, Math.round((train.length * trainStride) / Math.max(1, thinned.length))),
    validation: validation
      .filter(({ loss, flops }) => Number.isFinite(loss) && flops > 0)
      .map(({ flops, tokens, loss }) => [flops, tokens, loss]),
    growth: growth.map(({ flops, tokens, lossAfter, lossBefore, operator, sourceParameters, targetParameters }) => ({
      flops,
      tokens,
      loss: lossAfter ?? lossBefore ?? lossNear(thinned, flops),
      operator,
      factor: (targetParameters ?? NaN) / (sourceParameters ?? NaN),
    })),
    evals: evals.map(({ task, metric, flops, tokens, value, stderr = NaN, chance, nearChance }) => ({
      task,
      metric,
      flops,
      tokens,
      value,
      stderr,
      chance: typeof chance === 'number' ? chance : NaN,
      nearChance: nearChance === true,
    })),
    finalLoss: validation.at(-1)?.loss ?? null,
    parameters: run.manifest?.model?.parameters ?? null,
    flops: Math.max(0, train.flops[last] ?? 0, validation.at(-1)?.flops ?? 0),
    tokens: Math.max(0, train.tokens[last] ?? 0, validation.at(-1)?.tokens ?? 0),
    facts: facts(run),
    config: run.manifest === undefined ? '' : stringify(run.manifest.config),
    configValues: Object.fromEntries(flatten(run.manifest?.config ?? {})),
    notes: readNotes(run.folder),
    problems: problems(run),
  };
}

/** The leaves of a config with their dotted paths. */
function flatten(value: unknown, path = ''): [string, string][] {
  if (value === null || typeof value !== 'object') return [[path, String(value)]];
  return Object.entries(value).flatMap(([key, inner]) => flatten(inner, path === '' ? key : `${path}.${key}`));
}

const lossNear = (points: readonly CurvePoint[], flops: number): number =>
  points.find(([at]) => at >= flops)?.[2] ?? points.at(-1)?.[2] ?? NaN;

/** Folder names without what they have in common in front. */
export function shortLabels(names: readonly string[]): string[] {
  const parts = names.map((name) => name.split('/'));
  const shortest = Math.min(...parts.map(({ length }) => length));
  let common = 0;
  while (common < shortest - 1 && parts.every((path) => path[common] === parts[0]?.[common])) common++;
  return parts.map((path) => path.slice(common).join('/'));
}

function facts(run: Run): [string, string][] {
  const { manifest } = run;
  if (manifest === undefined) return [['run.json', 'missing']];
  const list: [string, unknown][] = [
    ['Name', manifest.name],
    ['Created', manifest.createdAt],
    ['Parameters', manifest.model?.parameters],
    ['Non-embedding parameters', manifest.model?.nonEmbeddingParameters],
    ['CPU', manifest.machine.cpu],
    ['Cores', manifest.machine.cores],
    [
      'Memory',
      manifest.machine.memoryBytes === undefined
        ? undefined
        : `${(manifest.machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
    ],
    ['CPU features', manifest.machine.features?.join(' ')],
    ...Object.entries(manifest.versions).map(([name, version]): [string, unknown] => [`Version of ${name}`, version]),
    ['Train data', manifest.data.train?.path],
    ['Validation data', manifest.data.validation?.path],
    ['Validation data hash', manifest.data.validation?.hash],
    ...manifest.parents.map(({ path }): [string, unknown] => ['Parent', relative(process.cwd(), path) || path]),
  ];
  return list.flatMap(([name, value]): [string, string][] =>
    value === undefined || value === null ? [] : [[name, String(value)]],
  );
}

function problems(run: Run): string[] {
  const { problems: found } = run.records;
  const counted: [number, string][] = [
    [found.invalid, `damaged record(s), the first at ${found.first ?? ''}`],
    [found.foreign, 'record(s) of a kind that Strata does not know'],
    [found.nonFinite, 'record(s) with a loss that is not finite'],
    [found.clockBackwards, 'record(s) stamped earlier than the one before'],
    [found.truncated ? 1 : 0, 'unfinished last line'],
  ];
  return counted.filter(([count]) => count > 0).map(([count, text]) => `${count} ${text}`);
}
