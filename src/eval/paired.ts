import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError } from '../errors.js';
import { PythonRandom } from './data/python-random.js';
import { isNearChance, meanMetric } from './metrics.js';

/** What a document adds to a metric, which is the sum of values over that of weights. */
export interface Sample {
  readonly value: number;
  /** 1 where the metric is a mean over documents; of bits per byte the bytes. */
  readonly weight: number;
}

/** Per document what it adds to each metric, by the document's number. */
export interface TaskSamples {
  readonly task: string;
  readonly metrics: Readonly<Record<string, ReadonlyMap<number, Sample>>>;
  /** One over the number of answers to choose from; documents without a choice are left out. */
  readonly chance: ReadonlyMap<number, number>;
}

/** How much B differs from A in one metric of one task, over the documents that both have. */
export interface PairedComparison {
  readonly task: string;
  readonly metric: string;
  readonly documents: number;
  readonly a: number;
  readonly b: number;
  /** b - a. */
  readonly difference: number;
  /** 95 % interval of the difference: documents resampled in pairs. */
  readonly low: number;
  readonly high: number;
  /** Whether the interval leaves out zero. */
  readonly differs: boolean;
  /** Whether both are accuracies within two standard errors of chance: then neither ranks above the other. */
  readonly nearChance: boolean;
}

const RESAMPLES = 5_000;
const SEED = 1;
const TWO_TO_MINUS_32 = 2 ** -32;
const TAIL = 0.025;
const MAX_FILE_BYTES = 2 ** 30;
const SAMPLE_METRICS = ['acc', 'acc_norm', 'nats_per_byte', 'margin', 'bits_per_byte'];

/**
 * Compares two evaluations document by document, with intervals from a paired bootstrap.
 *
 * Both models answered the same documents, so what is resampled is the difference per document: shared difficulty cancels.
 * Source: Efron and Tibshirani 1993, chapter 8; Koehn 2004 for paired resampling. The seed is fixed.
 *
 * @throws InputError where the two have no task in common.
 */
export function comparePaired(a: readonly TaskSamples[], b: readonly TaskSamples[]): PairedComparison[] {
  const comparisons = a.flatMap((one) => {
    const other = b.find(({ task }) => task === one.task);
    return other === undefined ? [] : compareTask(one, other);
  });
  if (comparisons.length === 0)
    throw new InputError(
      `The two evaluations have no task in common: ${a.map(({ task }) => task).join(', ')} and ${b.map(({ task }) => task).join(', ')}.`,
    );
  return comparisons;
}

function compareTask(a: TaskSamples, b: TaskSamples): PairedComparison[] {
  return Object.entries(a.metrics).flatMap(([metric, values]) => {
    const others = b.metrics[metric];
    const shared = others === undefined ? [] : [...values.keys()].filter((document) => others.has(document));
    if (others === undefined || shared.length === 0) return [];
    const column = (of: ReadonlyMap<number, Sample>, field: keyof Sample): Float64Array =>
      Float64Array.from(shared, (document) => of.get(document)?.[field] ?? NaN);
    // Both read the same documents, so their weights are the same.
    const weights = column(values, 'weight');
    const [ours, theirs] = [column(values, 'value'), column(others, 'value')];
    const differences = ours.map((value, i) => (theirs[i] ?? NaN) - value);
    const { low, high } = bootstrapInterval(differences, weights);
    const chances = shared.flatMap((document) => a.chance.get(document) ?? []);
    const nearChance =
      metric.startsWith('acc') &&
      chances.length === shared.length &&
      [ours, theirs].every((of) => isNearChance(meanMetric([...of]), meanMetric(chances).value));
    return {
      ...{ task: a.task, metric, documents: shared.length, a: ratio(ours, weights), b: ratio(theirs, weights) },
      ...{ difference: ratio(differences, weights), low, high, differs: low > 0 || high < 0, nearChance },
    };
  });
}

/** 95 % percentile interval of the sum of values over the sum of weights, from resamples of the documents. */
export function bootstrapInterval(values: Float64Array, weights: Float64Array): { low: number; high: number } {
  const count = values.length;
  const random = new PythonRandom(SEED);
  const means = Float64Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    let weight = 0;
    for (let i = 0; i < count; i++) {
      const drawn = Math.floor(random.next() * TWO_TO_MINUS_32 * count);
      sum += values[drawn] as number;
      weight += weights[drawn] as number;
    }
    return sum / weight;
  }).sort();
  const quantile = (share: number): number => means[Math.round(share * (RESAMPLES - 1))] as number;
  return { low: quantile(TAIL), high: quantile(1 - TAIL) };
}

const ratio = (values: Float64Array, weights: Float64Array): number => sum(values) / sum(weights);

const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);

/**
 * Reads the per-document files of an evaluation: those of `strata eval --samples`, or of lm-evaluation-harness.
 *
 * @param path The result file, or the folder that holds its `samples_TASK.jsonl`.
 * @throws InputError where there are none.
 */
export function readSamples(path: string): TaskSamples[] {
  if (!existsSync(path)) throw new InputError(`${path}: there is no such file or folder.`);
  const folder = folderOf(path);
  const files = readdirSync(folder).filter((name) => /^samples_.+\.jsonl$/.test(name));
  if (files.length === 0)
    throw new InputError(
      `${folder}: has no samples_TASK.jsonl; evaluate with --samples and --out to compare by document.`,
    );
  return files.map((name) => readTaskSamples(join(folder, name), taskOf(name)));
}

/**
 * Reads the samples of two evaluations that are to be compared.
 *
 * @throws InputError where both lie in one folder: samples are named after the task alone, so they would be the same files.
 */
export function readPair(a: string, b: string): [TaskSamples[], TaskSamples[]] {
  const pair: [TaskSamples[], TaskSamples[]] = [readSamples(a), readSamples(b)];
  if (realpathSync(folderOf(a)) === realpathSync(folderOf(b)))
    throw new InputError(`${a} and ${b} lie in one folder, which has the samples of one evaluation only.`);
  return pair;
}

const folderOf = (path: string): string => (statSync(path).isDirectory() ? path : dirname(path));

/** The harness appends a time to the task's name. */
const taskOf = (file: string): string =>
  file.replace(/^samples_/, '').replace(/(_\d{4}-\d{2}-\d{2}T[\d.-]+)?\.jsonl$/, '');

function readTaskSamples(path: string, task: string): TaskSamples {
  if (statSync(path).size > MAX_FILE_BYTES)
    throw new InputError(`${path}: ${statSync(path).size} bytes, at most ${MAX_FILE_BYTES} are read.`);
  const metrics: Record<string, Map<number, Sample>> = {};
  const chance = new Map<number, number>();
  readFileSync(path, 'utf8')
    .split('\n')
    .forEach((line, i) => {
      if (line === '') return;
      const sample = parseSample(path, i, line);
      const answers = Object.keys(sample['arguments'] ?? {}).length;
      if (answers > 1) chance.set(sample.doc_id, 1 / answers);
      for (const metric of SAMPLE_METRICS) {
        const value = sampleOf(sample[metric]);
        if (value !== undefined) (metrics[metric] ??= new Map()).set(sample.doc_id, value);
      }
    });
  return { task, metrics, chance };
}

/** A number, or of a page its log-likelihood in nats and its bytes, which are told as bits. */
function sampleOf(value: unknown): Sample | undefined {
  if (typeof value === 'number') return { value, weight: 1 };
  const [logLikelihood, bytes] = Array.isArray(value) ? (value as unknown[]) : [];
  return typeof logLikelihood === 'number' && typeof bytes === 'number'
    ? { value: -logLikelihood / Math.LN2, weight: bytes }
    : undefined;
}

function parseSample(path: string, index: number, line: string): Record<string, unknown> & { doc_id: number } {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && 'doc_id' in value && typeof value.doc_id === 'number')
      return { ...value, doc_id: value.doc_id };
  } catch {
    // Said below.
  }
  throw new InputError(`${path}, line ${index + 1}: expected a JSON object with "doc_id".`);
}
