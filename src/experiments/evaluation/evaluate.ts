import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { countParameters } from '../../architecture/index.js';
import { loadTokenizer, type Tokenizer } from '../../data/index.js';
import { InputError } from '../../errors.js';
import {
  type AddBos,
  averageAccuracy,
  encodeTask,
  harnessLayout,
  loadTask,
  type LoadedTask,
  type LoadOptions,
  ModelScorer,
  parseTasks,
  scoreTask,
  type TaskResult,
} from '../../eval/index.js';
import { type LoadedModel, loadModel } from '../../infer/index.js';
import { checkpointSteps, readManifest, resolveCheckpoint } from '../../interop/index.js';
import { isRunFolder } from '../../records/index.js';
import { appendResult, prepareOutput, isRecorded, positionOf, writeResults } from './write.js';

export interface EvaluateOptions extends LoadOptions {
  /** Names of tasks separated by commas, or `paper` for all eight. */
  readonly tasks: string;
  /** Folder with the benchmarks' published files. */
  readonly data: string;
  /** Special tokens: what the tokenizer adds (`auto`, the default), a BOS, or none. */
  readonly addBos?: AddBos;
  /** Tokens that the model reads at most: its own number where left out. */
  readonly maxLength?: number | undefined;
  /** `tokenizer.json`, or a folder with one: the checkpoint's where left out. */
  readonly tokenizer?: string | undefined;
  readonly threads?: number | undefined;
  /** Where to write the results, in the layout of lm-evaluation-harness. */
  readonly out?: string | undefined;
  /** Also `samples_TASK.jsonl` beside `out`, one line per document. */
  readonly samples?: boolean;
  /** Called as the tokens of a task are scored. */
  readonly onProgress?: (task: string, done: number, total: number) => void;
  /** Called with sentences for people. */
  readonly onNote?: (sentence: string) => void;
}

/** What a checkpoint got. */
export interface Evaluation {
  /** By the name of the task: metrics, chance, and every document's log-likelihoods. */
  readonly tasks: Readonly<Record<string, TaskResult>>;
  /** Mean accuracy of the paper's seven tasks, if all of them were asked for. */
  readonly average: { readonly value: number; readonly stderr: number } | undefined;
  /** The same in the layout of lm-evaluation-harness: what `out` gets. */
  readonly document: Readonly<Record<string, unknown>>;
}

/**
 * Scores a checkpoint on benchmarks, with lm-evaluation-harness's own numbers.
 *
 * Results are written task by task, so that those of finished tasks are there if it is interrupted. A run's are appended to its records, too.
 *
 * @param checkpoint A Hugging Face folder, a run folder (its last checkpoint) or `RUN@step`.
 * @throws InputError where a task, its data, or the checkpoint is missing or damaged.
 */
export async function evaluate(checkpoint: string, options: EvaluateOptions): Promise<Evaluation> {
  return await evaluateCheckpoint(checkpoint, await loadTasks(options), options, runOf(checkpoint));
}

/** A checkpoint of a run: its evaluation, or undefined where the records have all of it already. */
export interface StepEvaluation {
  readonly step: number;
  readonly evaluation: Evaluation | undefined;
}

/**
 * Scores every checkpoint of a run on the tasks that its records lack, oldest first.
 *
 * Each checkpoint's files lie in a folder named by its step, beside `out`.
 *
 * @throws InputError where the folder is no run, or has no checkpoint; else as `evaluate`.
 */
export async function* evaluateCheckpoints(run: string, options: EvaluateOptions): AsyncGenerator<StepEvaluation> {
  if (!isRunFolder(run)) throw new InputError(`${run}: --all-checkpoints needs a run folder.`);
  const steps = checkpointSteps(run);
  if (steps.length === 0) throw new InputError(`${run}: the run has no checkpoint yet.`);
  const loaded = await loadTasks(options);
  for (const step of steps) {
    const missing = loaded.filter((task) => !isRecorded(run, step, task));
    const out = options.out && join(dirname(options.out), String(step), basename(options.out));
    const evaluation =
      missing.length === 0 ? undefined : await evaluateCheckpoint(`${run}@${step}`, missing, { ...options, out }, run);
    yield { step, evaluation };
  }
}

async function loadTasks(options: EvaluateOptions): Promise<LoadedTask[]> {
  const loaded: LoadedTask[] = [];
  for (const task of parseTasks(options.tasks)) loaded.push(await loadTask(task, options.data, options));
  return loaded;
}

async function evaluateCheckpoint(
  reference: string,
  loaded: readonly LoadedTask[],
  options: EvaluateOptions,
  run: string | undefined,
): Promise<Evaluation> {
  const { out, samples } = options;
  if (samples === true && out === undefined)
    throw new InputError('--samples needs --out: its files are written beside that one.');
  const names = loaded.map(({ task }) => task.name);
  if (out !== undefined) prepareOutput(out, samples === true ? names : []);
  const folder = resolveCheckpoint(reference);
  const tokenizer = loadTokenizer(options.tokenizer ?? folder);
  if (tokenizer.note !== undefined) options.onNote?.(tokenizer.note);
  using model = loadModel(reference, { threads: options.threads });
  checkVocabulary(model, tokenizer);
  using scorer = new ModelScorer(model, options.maxLength);
  const addBos = options.addBos ?? 'auto';
  const position = run === undefined ? undefined : positionOf(readManifest(folder));
  if (run !== undefined && position === undefined)
    options.onNote?.(
      `${run}: its checkpoint does not say its step, tokens and FLOPs, so nothing is added to the records.`,
    );
  const facts = {
    model: reference,
    addBos,
    maxLength: scorer.maxLength,
    parameters: countParameters(model.config).total,
    limit: options.limit,
  };
  // All of them before the first is scored, so that what does not fit is named at once.
  const encoded = loaded.map((task) => encodeTask(task, tokenizer, addBos, scorer.maxLength));
  const results: TaskResult[] = [];
  for (const one of encoded) {
    const result = await scoreTask(one, scorer, (done, total) => options.onProgress?.(one.task.task.name, done, total));
    results.push(result);
    if (out !== undefined) writeResults(out, harnessLayout(results, facts), samples === true ? result : undefined);
    if (run !== undefined && position !== undefined) appendResult(run, position, result);
  }
  return {
    tasks: Object.fromEntries(results.map((result) => [result.task.task.name, result])),
    average: averageAccuracy(results),
    document: harnessLayout(results, facts),
  };
}

function checkVocabulary({ config, folder }: LoadedModel, tokenizer: Tokenizer): void {
  if (tokenizer.vocabSize > config.vocab_size)
    throw new InputError(
      `${tokenizer.file}: has ${tokenizer.vocabSize} tokens, but the model in ${folder} only ${config.vocab_size}.`,
    );
}

/** The run that a reference names; undefined for other checkpoints. */
function runOf(reference: string): string | undefined {
  const folder = existsSync(reference) ? reference : reference.replace(/@\d+$/, '');
  return !existsSync(join(folder, 'config.json')) && isRunFolder(folder) ? folder : undefined;
}
