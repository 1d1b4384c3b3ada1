import type { Task } from '../tasks/types.js';
import { readDocuments, type TaskDocument } from './documents.js';
import { addExamples } from './few-shot.js';
import { type DataOptions, type ReadFile, readSplit } from './rows.js';

export interface LoadedTask {
  readonly task: Task;
  readonly documents: readonly TaskDocument[];
  /** Documents that the split has, those left out by a limit included. */
  readonly total: number;
  readonly fewShot: number;
  readonly files: readonly ReadFile[];
}

export interface LoadOptions extends DataOptions {
  /** Only the first documents. */
  readonly limit?: number | undefined;
  /** Solved examples before each prompt; 0 where left out. */
  readonly fewShot?: number | undefined;
}

/**
 * Reads a task's documents from a data folder.
 *
 * @throws InputError naming the file and row where something is missing or wrong.
 */
export async function loadTask(task: Task, folder: string, options: LoadOptions = {}): Promise<LoadedTask> {
  const split = await readSplit(task, task.split, folder, options);
  const documents = readDocuments(task, split, options.limit);
  const loaded = { task, documents, total: split.rows.length, fewShot: options.fewShot ?? 0, files: split.files };
  if (loaded.fewShot === 0) return loaded;
  const prompted = await addExamples(task, documents, loaded.fewShot, folder, options);
  return { ...loaded, documents: prompted.documents, files: [...split.files, ...prompted.files] };
}
