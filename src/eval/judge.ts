import type { TaskDocument } from './data/documents.js';
import {
  argmax,
  bitsPerByte,
  codePoints,
  meanMetric,
  perplexityMetric,
  weightedPerplexity,
  type Metric,
} from './metrics.js';
import type { Score } from './scorer.js';

/** What a document counts for in each metric, beside the scores it comes from. */
export interface JudgedDocument {
  readonly document: TaskDocument;
  /** In the order of the document's requests. */
  readonly scores: readonly Score[];
  readonly metrics: Readonly<Record<string, number>>;
}

/** Metrics of a task by name, in the order in which they are printed. */
export type TaskMetrics = Readonly<Record<string, Metric>>;

/**
 * Judges one document.
 *
 * For questions also `nats_per_byte` (of the right answer: smaller is better) and `margin` (nats per byte by which the right answer beats the best wrong
 * one): small models are at chance long after these two have begun to move.
 */
export function judge(document: TaskDocument, scores: readonly Score[]): JudgedDocument {
  const logLikelihoods = scores.map(({ logLikelihood }) => logLikelihood);
  const [first = NaN] = logLikelihoods;
  switch (document.kind) {
    case 'choice':
      return { document, scores, metrics: judgeChoice(document, logLikelihoods) };
    case 'lastWord': {
      const bytes = Buffer.byteLength(document.request.continuation);
      const acc = scores[0]?.greedy === true ? 1 : 0;
      return { document, scores, metrics: { perplexity: first, acc, nats_per_byte: -first / bytes } };
    }
    case 'page':
      return { document, scores, metrics: { word_perplexity: first, byte_perplexity: first, bits_per_byte: first } };
    default:
      return document satisfies never;
  }
}

function judgeChoice(
  { choices, gold, requests }: Extract<TaskDocument, { kind: 'choice' }>,
  logLikelihoods: readonly number[],
): Record<string, number> {
  const normalised = logLikelihoods.map((value, i) => value / codePoints(choices[i] ?? ''));
  const perByte = logLikelihoods.map((value, i) => value / Buffer.byteLength(requests[i]?.continuation ?? ''));
  const right = perByte[gold] ?? NaN;
  const wrong = perByte.filter((_, i) => i !== gold);
  return {
    acc: argmax(logLikelihoods) === gold ? 1 : 0,
    acc_norm: argmax(normalised) === gold ? 1 : 0,
    nats_per_byte: -right,
    margin: right - Math.max(...wrong),
  };
}

/** Metrics over all documents of a task. Chance is the mean over questions of one over the number of answers. */
export function summarize(judged: readonly JudgedDocument[], names: readonly string[]): TaskMetrics {
  const of = (name: string): number[] => judged.map(({ metrics }) => metrics[name] ?? NaN);
  const [first] = judged;
  if (first?.document.kind === 'page') return summarizePages(judged);
  const extra = ['nats_per_byte', 'margin'].filter((name) => first?.metrics[name] !== undefined);
  return Object.fromEntries(
    [...names, ...extra].map((name) => [
      name,
      name === 'perplexity' ? perplexityMetric(of(name)) : meanMetric(of(name)),
    ]),
  );
}

function summarizePages(judged: readonly JudgedDocument[]): TaskMetrics {
  const logLikelihoods = judged.map(({ metrics }) => metrics['word_perplexity'] ?? NaN);
  const pages = judged.flatMap(({ document }) => (document.kind === 'page' ? [document] : []));
  const bytes = pages.map((page) => page.bytes);
  return {
    word_perplexity: weightedPerplexity(
      logLikelihoods,
      pages.map((page) => page.words),
    ),
    byte_perplexity: weightedPerplexity(logLikelihoods, bytes),
    bits_per_byte: bitsPerByte(logLikelihoods, bytes),
  };
}

/** Accuracy of guessing; undefined where a task is no choice. */
export function chanceOf(documents: readonly TaskDocument[]): number | undefined {
  const choices = documents.flatMap((document) => (document.kind === 'choice' ? [1 / document.choices.length] : []));
  return choices.length === 0 ? undefined : choices.reduce((sum, share) => sum + share, 0) / choices.length;
}
