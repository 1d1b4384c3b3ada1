import { createHash } from 'node:crypto';
import type { Page, Task } from './tasks/types.js';
import { version } from '../version.js';
import type { AddBos } from './encode.js';
import type { TaskResult } from './evaluate.js';
import type { JudgedDocument } from './judge.js';

/** What an evaluation was asked to do, for its result file. */
export interface EvaluationFacts {
  readonly model: string;
  readonly addBos: AddBos;
  readonly maxLength: number;
  readonly parameters?: number;
  /** Documents per task at most. */
  readonly limit?: number | undefined;
}

/** The seven accuracies whose mean the paper reports. */
export const PAPER_TASKS = [
  'lambada_openai',
  'arc_challenge',
  'arc_easy',
  'logiqa',
  'piqa',
  'sciq',
  'winogrande',
] as const;

/** Mean of `acc` over tasks with its standard error; undefined unless all tasks are there. */
export function averageAccuracy(
  results: readonly TaskResult[],
  names: readonly string[] = PAPER_TASKS,
): { value: number; stderr: number } | undefined {
  const metrics = names.map((name) => results.find(({ task }) => task.task.name === name)?.metrics['acc']);
  if (metrics.some((metric) => metric === undefined)) return undefined;
  const sum = (of: readonly number[]): number => of.reduce((total, x) => total + x, 0);
  return {
    value: sum(metrics.map((metric) => metric?.value ?? NaN)) / names.length,
    stderr: Math.sqrt(sum(metrics.map((metric) => (metric?.stderr ?? NaN) ** 2))) / names.length,
  };
}

const OUTPUT_TYPES = { choice: 'multiple_choice', lastWord: 'loglikelihood', page: 'loglikelihood_rolling' } as const;
const LOWER_IS_BETTER = ['perplexity', 'bits_per_byte', 'nats_per_byte'];
const higherIsBetter = (metric: string): boolean => !LOWER_IS_BETTER.some((name) => metric.endsWith(name));

/**
 * Results in the layout of lm-evaluation-harness, with what only Strata says under `strata`.
 *
 * The standard error of LAMBADA's perplexity is by the delta method, where the harness resamples, so it has a name of its own.
 */
export function harnessLayout(results: readonly TaskResult[], facts: EvaluationFacts): Record<string, unknown> {
  const byTask = <T>(value: (result: TaskResult) => T): Record<string, T> =>
    Object.fromEntries(results.map((result) => [result.task.task.name, value(result)]));
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  return {
    results: byTask(metricsOf),
    group_subtasks: byTask(() => []),
    configs: byTask(configOf),
    versions: byTask(({ task }) => task.task.version),
    'n-shot': byTask(({ task }) => task.fewShot),
    higher_is_better: byTask(({ metrics }) =>
      Object.fromEntries(Object.keys(metrics).map((name) => [name, higherIsBetter(name)])),
    ),
    'n-samples': byTask(({ task, documents }) => ({ original: task.total, effective: documents.length })),
    config: {
      model: 'strata',
      model_args: { pretrained: facts.model, add_bos_token: facts.addBos, max_length: facts.maxLength },
      model_num_parameters: facts.parameters ?? null,
      model_dtype: 'float32',
      batch_size: 'packed',
      device: 'cpu',
      limit: facts.limit ?? null,
      bootstrap_iters: 0,
      gen_kwargs: null,
    },
    git_hash: null,
    date: Date.now() / 1000,
    lm_eval_version: null,
    model_source: 'strata',
    model_name: facts.model,
    total_evaluation_time_seconds: String(seconds),
    strata: {
      version,
      average: averageAccuracy(results) ?? null,
      tasks: byTask(({ chance, nearChance, task }) => ({ chance: chance ?? null, nearChance, files: task.files })),
    },
  };
}

function metricsOf({ task, metrics }: TaskResult): Record<string, unknown> {
  const entries = Object.entries(metrics).flatMap(([name, { value, stderr }]) => {
    const error = name === 'perplexity' ? `${name}_stderr_delta` : `${name}_stderr`;
    return [
      [`${name},none`, value],
      [`${error},none`, stderr === undefined || Number.isNaN(stderr) ? 'N/A' : stderr],
    ] as const;
  });
  return { alias: task.task.name, ...Object.fromEntries(entries) };
}

function configOf({ task: { task, fewShot }, metrics }: TaskResult): Record<string, unknown> {
  const { path, name } = task.dataset;
  return {
    task: task.name,
    dataset_path: path,
    ...(name === undefined ? {} : { dataset_name: name }),
    ...{ [`${task.split.name}_split`]: task.split.name },
    output_type: OUTPUT_TYPES[task.kind],
    num_fewshot: fewShot,
    metric_list: Object.keys(metrics).map((metric) => ({ metric, higher_is_better: higherIsBetter(metric) })),
    metadata: { version: task.version },
  };
}

const hash = (text: string): string => createHash('sha256').update(text).digest('hex');

/** One line per document, as `samples_TASK.jsonl` of the harness has them. */
export const sampleLines = ({ task, documents }: TaskResult): string =>
  documents.map((judged) => `${JSON.stringify(sampleOf(task.task, judged))}\n`).join('');

function sampleOf(task: Task, { document, scores, metrics }: JudgedDocument): Record<string, unknown> {
  const requests = requestsOf(document);
  const target =
    document.kind === 'choice' ? String(document.gold) : document.kind === 'lastWord' ? requests[0]?.[1] : '';
  // The harness logs a pair of texts for each request, and a single number for a page.
  const responses = scores.map(({ logLikelihood, greedy }) =>
    document.kind === 'page' ? String(logLikelihood) : [String(logLikelihood), greedy ? 'True' : 'False'],
  );
  return {
    doc_id: document.index,
    target,
    arguments: Object.fromEntries(
      requests.map((texts, i) => [`gen_args_${i}`, Object.fromEntries(texts.map((text, j) => [`arg_${j}`, text]))]),
    ),
    resps: responses.map((response) => [response]),
    filtered_resps: responses,
    filter: 'none',
    metrics: task.metrics,
    prompt_hash: hash(requests[0]?.[0] ?? ''),
    target_hash: hash(target ?? ''),
    ...(document.kind === 'page' ? pageMetrics(document, metrics) : metrics),
  };
}

/** Of a page the harness logs its log-likelihood and what that is divided by. */
const pageMetrics = ({ words, bytes }: Page, metrics: JudgedDocument['metrics']): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [name, [value, name === 'word_perplexity' ? words : bytes]]),
  );

function requestsOf(document: JudgedDocument['document']): string[][] {
  switch (document.kind) {
    case 'choice':
      return document.requests.map(({ context, continuation }) => [context, continuation]);
    case 'lastWord':
      return [[document.request.context, document.request.continuation]];
    case 'page':
      return [[document.text]];
    default:
      return document satisfies never;
  }
}
