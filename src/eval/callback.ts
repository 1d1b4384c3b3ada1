import type { Tokenizer } from '../data/index.js';
import type { Model } from '../infer/model.js';
import type { EvalRecord } from '../records/index.js';
import { type LoadedTask, type LoadOptions, loadTask } from './data/load.js';
import type { AddBos } from './encode.js';
import { evaluateTask } from './evaluate.js';
import { evalRecords, type RunPosition } from './records.js';
import { ModelScorer, type ScoreProgress } from './scorer.js';
import { parseTasks } from './tasks/registry.js';

export interface EvaluationOptions extends LoadOptions {
  /** Names of tasks or groups, separated by commas. */
  readonly tasks: string;
  /** Folder with the benchmarks' published files. */
  readonly data: string;
  readonly addBos?: AddBos;
  readonly maxLength?: number;
}

/** Evaluates a model as it stands, for example between two steps of training; returns the records to append. */
export type EvaluationCallback = (
  model: Model,
  position: RunPosition,
  onProgress?: ScoreProgress,
) => Promise<EvalRecord[]>;

/**
 * Reads the tasks once and returns a function that evaluates any model on them.
 *
 * The model's weights are read where they lie; memory for activations is given back when an evaluation ends.
 *
 * @throws InputError where a task or its data is missing.
 */
export async function evaluationCallback(
  tokenizer: Tokenizer,
  options: EvaluationOptions,
): Promise<EvaluationCallback> {
  const loaded: LoadedTask[] = [];
  for (const task of parseTasks(options.tasks)) loaded.push(await loadTask(task, options.data, options));
  return async (model, position, onProgress) => {
    using scorer = new ModelScorer(model, options.maxLength);
    const records: EvalRecord[] = [];
    for (const task of loaded) {
      const result = await evaluateTask(task, tokenizer, scorer, { addBos: options.addBos ?? 'auto', onProgress });
      records.push(...evalRecords(result, position));
    }
    return records;
  };
}
