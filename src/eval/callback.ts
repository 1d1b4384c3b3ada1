import type { Tokenizer } from '../data/index.js';
import type { Model } from '../infer/model.js';
import type { EvalRecord } from '../records/index.js';
import { type LoadedTask, type LoadOptions, loadTask } from './data/load.js';
import type { AddBos } from './encode.js';
import { type EncodedTask, encodeTask, scoreTask } from './evaluate.js';
import { evalRecords, type RunPosition } from './records.js';
import { ModelScorer, type ScoreProgress } from './scorer.js';
import { parseTasks } from './tasks/registry.js';

export interface EvaluationOptions extends LoadOptions {
  /** Names of tasks or groups, separated by commas. */
  readonly tasks: string;
  /** Folder with the benchmarks' published files. */
  readonly data: string;
  readonly addBos?: AddBos;
  /** Tokens that the model reads at most: its own number where left out. */
  readonly maxLength?: number | undefined;
}

/** Evaluates a model as it stands, for example between two steps of training; returns the records to append. */
export type EvaluationCallback = (
  model: Model,
  position: RunPosition,
  onProgress?: ScoreProgress,
) => Promise<EvalRecord[]>;

/**
 * Reads and encodes the tasks once and returns a function that evaluates any model on them.
 *
 * The model's weights are read where they lie; memory for activations is given back when an evaluation ends.
 *
 * @param length `max_position_embeddings` of the models to come: what does not fit is named now, not at the first evaluation.
 * @throws InputError where a task or its data is missing, or a document's answer is longer than the model.
 */
export async function evaluationCallback(
  tokenizer: Tokenizer,
  options: EvaluationOptions,
  length?: number,
): Promise<EvaluationCallback> {
  const loaded: LoadedTask[] = [];
  for (const task of parseTasks(options.tasks)) loaded.push(await loadTask(task, options.data, options));
  const encodedFor = new Map<number, EncodedTask[]>();
  const encode = (maxLength: number): EncodedTask[] => {
    const known = encodedFor.get(maxLength);
    if (known !== undefined) return known;
    const encoded = loaded.map((task) => encodeTask(task, tokenizer, options.addBos ?? 'auto', maxLength));
    encodedFor.set(maxLength, encoded);
    return encoded;
  };
  const first = options.maxLength ?? length;
  if (first !== undefined) encode(first);
  return async (model, position, onProgress) => {
    using scorer = new ModelScorer(model, options.maxLength);
    const records: EvalRecord[] = [];
    for (const task of encode(scorer.maxLength))
      records.push(...evalRecords(await scoreTask(task, scorer, onProgress), position));
    return records;
  };
}
