import { InputError } from '../../errors.js';
import type { Task } from '../tasks/types.js';
import { readDocuments, type TaskDocument } from './documents.js';
import { PythonRandom } from './python-random.js';
import { type DataOptions, type ReadFile, readSplit } from './rows.js';

/** The seed with which lm-evaluation-harness draws examples. */
const EXAMPLE_SEED = 1234;

/**
 * Puts solved examples in front of documents, as lm-evaluation-harness 0.4.13 does (`api/samplers.py`, `api/task.py`).
 *
 * They are drawn from the training split, one generator running through the documents in order. Tasks without a test split draw one more and
 * leave out what equals the document. LAMBADA has no training split: its examples are documents of the test split, now and then the
 * document itself.
 *
 * @param scored The split's documents in order; only the first ones where there is a limit.
 * @throws InputError where the examples' file is missing, or has fewer rows than examples were asked for.
 */
export async function addExamples(
  task: Task,
  scored: readonly TaskDocument[],
  count: number,
  folder: string,
  options: DataOptions,
): Promise<{ documents: TaskDocument[]; files: readonly ReadFile[] }> {
  if (task.kind === 'page') throw new InputError(`${task.title} has no questions, so --num-fewshot cannot be used.`);
  const split = await readSplit(task, task.examples ?? task.split, folder, options);
  const examples = readDocuments(task, split);
  const texts = examples.map(solve);
  const all = texts.map((_, i) => i);
  const keys = task.split.name === 'test' ? undefined : examples.map(keyOf);
  const needed = count + (keys === undefined ? 0 : 1);
  if (needed > all.length)
    throw new InputError(`${split.files[0]?.path}: ${needed} rows are drawn from, but it has ${all.length}.`);
  const random = new PythonRandom(EXAMPLE_SEED);
  const documents = scored.map((document) => {
    const own = keys === undefined ? undefined : keyOf(document);
    const others = (indices: readonly number[]): number[] =>
      indices.filter((i) => own === undefined || keys?.[i] !== own);
    let drawn = others(random.sample(all, needed)).slice(0, count);
    // Of a row that stands there twice, both copies may have been drawn.
    if (drawn.length < count) drawn = random.sample(others(all), count);
    return withContext(document, drawn.map((i) => texts[i] ?? '').join(''));
  });
  // LAMBADA's examples come from the file that is named already.
  return { documents, files: task.examples === undefined ? [] : split.files };
}

/** Equal for documents of equal rows. */
const keyOf = (document: TaskDocument): string => JSON.stringify({ ...document, index: 0 });

/** A document with its right answer, as an example. */
function solve(document: TaskDocument): string {
  switch (document.kind) {
    case 'choice': {
      const { context, continuation } = document.requests[document.gold] ?? { context: '', continuation: '' };
      // WinoGrande's sentence may end with the blank; the harness puts nothing behind an empty answer.
      return continuation === ' ' ? context : `${context}${continuation}\n\n`;
    }
    case 'lastWord':
      // The word brings its own space, and the harness adds one.
      return `${document.request.context} ${document.request.continuation}\n\n`;
    case 'page':
      return '';
    default:
      return document satisfies never;
  }
}

function withContext(document: TaskDocument, before: string): TaskDocument {
  switch (document.kind) {
    case 'choice':
      return {
        ...document,
        requests: document.requests.map((request) => ({ ...request, context: before + request.context })),
      };
    case 'lastWord':
      return { ...document, request: { ...document.request, context: before + document.request.context } };
    case 'page':
      return document;
    default:
      return document satisfies never;
  }
}
