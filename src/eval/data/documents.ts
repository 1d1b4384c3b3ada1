import { InputError } from '../../errors.js';
import { RowError } from '../tasks/row.js';
import type { LastWord, Page, Question, Task, TextRequest } from '../tasks/types.js';
import { PythonRandom } from './python-random.js';
import { readSplit, type DataOptions, type ReadFile, type SplitRows } from './rows.js';

/** A document of a task: what is asked of a model, and how the answer is judged. */
export type TaskDocument =
  | ({ readonly kind: 'choice'; readonly index: number } & Question)
  | ({ readonly kind: 'lastWord'; readonly index: number } & LastWord)
  | ({ readonly kind: 'page'; readonly index: number } & Page);

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

/** The seed with which lm-evaluation-harness draws examples. */
const EXAMPLE_SEED = 1234;

/**
 * Reads a task's documents from a data folder.
 *
 * @throws InputError naming the file and row where something is missing or wrong.
 */
export async function loadTask(task: Task, folder: string, options: LoadOptions = {}): Promise<LoadedTask> {
  const split = await readSplit(task, task.split, folder, options);
  const fewShot = options.fewShot ?? 0;
  const wanted = split.rows.slice(0, options.limit);
  const documents = wanted.map((_, index) => readDocument(task, split, index));
  const loaded = { task, total: split.rows.length, fewShot, files: split.files };
  if (fewShot === 0) return { ...loaded, documents };
  if (task.kind === 'page') throw new InputError(`${task.title} has no questions, so --num-fewshot cannot be used.`);
  const examples = await exampleSource(task, split, folder, options);
  const random = new PythonRandom(EXAMPLE_SEED);
  return {
    ...loaded,
    documents: documents.map((document) => withContext(document, examples(random, document.index, fewShot))),
  };
}

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

/** The texts of the examples that go before document `index`. */
type Examples = (random: PythonRandom, index: number, count: number) => string;

async function exampleSource(task: Task, scored: SplitRows, folder: string, options: LoadOptions): Promise<Examples> {
  const own = task.examples === undefined;
  const split = task.examples === undefined ? scored : await readSplit(task, task.examples, folder, options);
  const solved = split.rows.map((_, i) => solve(readDocument(task, split, i)));
  const indices = solved.map((_, i) => i);
  return (random, index, count) => {
    // Where examples come from the scored split, one more is drawn and the document itself left out.
    const needed = own ? count + 1 : count;
    if (needed > indices.length)
      throw new InputError(`${split.files[0]?.path}: ${count} examples were asked for, it has ${indices.length} rows.`);
    const drawn = random.sample(indices, needed).filter((i) => !own || i !== index);
    return drawn
      .slice(0, count)
      .map((i) => solved[i] ?? '')
      .join('');
  };
}

/** A document with its right answer, as an example. */
function solve(document: TaskDocument): string {
  const request = document.kind === 'choice' ? document.requests[document.gold] : lastWordRequest(document);
  return request === undefined ? '' : `${request.context}${request.continuation}\n\n`;
}

const lastWordRequest = (document: TaskDocument): TextRequest | undefined =>
  document.kind === 'lastWord' ? document.request : undefined;

function withContext(document: TaskDocument, before: string): TaskDocument {
  const prepend = (request: TextRequest): TextRequest => ({ ...request, context: before + request.context });
  switch (document.kind) {
    case 'choice':
      return { ...document, requests: document.requests.map(prepend) };
    case 'lastWord':
      return { ...document, request: prepend(document.request) };
    case 'page':
      return document;
    default:
      return document satisfies never;
  }
}
