import { InputError } from '../../errors.js';
import { RowError } from '../tasks/row.js';
import type { LastWord, Page, Question, Task } from '../tasks/types.js';
import type { SplitRows } from './rows.js';

/** A document of a task: what is asked of a model, and how the answer is judged. */
export type TaskDocument =
  | ({ readonly kind: 'choice'; readonly index: number } & Question)
  | ({ readonly kind: 'lastWord'; readonly index: number } & LastWord)
  | ({ readonly kind: 'page'; readonly index: number } & Page);

/**
 * The documents that a split's rows are.
 *
 * @throws InputError naming the row that is not what its format says.
 */
export const readDocuments = (task: Task, split: SplitRows, limit?: number): TaskDocument[] =>
  split.rows.slice(0, limit).map((_, index) => readDocument(task, split, index));

function readDocument(task: Task, split: SplitRows, index: number): TaskDocument {
  const row = split.rows[index] ?? {};
  try {
    switch (task.kind) {
      case 'choice':
        return { kind: task.kind, index, ...task.read(row) };
      case 'lastWord':
        return { kind: task.kind, index, ...task.read(row) };
      case 'page':
        return { kind: task.kind, index, ...task.read(row) };
      default:
        return task satisfies never;
    }
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
    throw new InputError(`${split.files[0]?.path}, row ${index + 1}: ${error.message}.`, { cause: error });
  }
}
