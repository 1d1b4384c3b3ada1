import type { Tokenizer } from '../data/index.js';
import type { TaskDocument } from './data/documents.js';
import type { LoadedTask } from './data/load.js';
import {
  type AddBos,
  cutRequest,
  encodeRequest,
  encodeText,
  prefixToken,
  rollingWindows,
  type TokenRequest,
} from './encode.js';
import { chanceOf, type JudgedDocument, judge, summarize, type TaskMetrics } from './judge.js';
import { isNearChance } from './metrics.js';
import type { GroupedRequest } from './pack.js';
import type { Score, Scorer, ScoreProgress } from './scorer.js';
import type { TextRequest } from './tasks/types.js';

/** What a task gave. */
export interface TaskResult {
  readonly task: LoadedTask;
  readonly metrics: TaskMetrics;
  /** Accuracy of guessing; undefined where there is nothing to guess from. */
  readonly chance: number | undefined;
  /** Accuracies that lie within two standard errors of chance: they rank nothing. */
  readonly nearChance: readonly string[];
  readonly documents: readonly JudgedDocument[];
  readonly seconds: number;
}

export interface EvaluateOptions {
  readonly addBos: AddBos;
  readonly onProgress?: ScoreProgress | undefined;
}

/** A task as tokens. */
export interface EncodedTask {
  readonly task: LoadedTask;
  /** Per document its requests, and of each its parts: one, or the windows of a page. */
  readonly requests: readonly (readonly (readonly TokenRequest[])[])[];
  readonly seconds: number;
}

/**
 * Encodes a task's documents, cut to what the model reads.
 *
 * @param maxLength Tokens that the model reads at most.
 * @throws InputError naming the document whose answer is longer than that.
 */
export function encodeTask(task: LoadedTask, tokenizer: Tokenizer, addBos: AddBos, maxLength: number): EncodedTask {
  const start = performance.now();
  const encoder = new RequestEncoder(tokenizer, addBos, maxLength);
  const requests = task.documents.map((document) => encoder.encode(task, document));
  return { task, requests, seconds: (performance.now() - start) / 1000 };
}

/**
 * Encodes and scores a task's documents.
 *
 * @throws InputError naming the document whose answer is longer than the model.
 */
export async function evaluateTask(
  task: LoadedTask,
  tokenizer: Tokenizer,
  scorer: Scorer,
  { addBos, onProgress }: EvaluateOptions,
): Promise<TaskResult> {
  return await scoreTask(encodeTask(task, tokenizer, addBos, scorer.maxLength), scorer, onProgress);
}

/** Scores the documents of a task that was encoded for the scorer's length. */
export async function scoreTask(
  { task, requests, seconds }: EncodedTask,
  scorer: Scorer,
  onProgress?: ScoreProgress,
): Promise<TaskResult> {
  const start = performance.now();
  const flat: GroupedRequest[] = requests.flatMap((own, group) =>
    // Windows of a page begin differently, so each is a group of its own.
    own.flat().map((request, i) => ({ ...request, group: own.length > 1 ? group : -1 - (group * 1e6 + i) })),
  );
  const scores = await scorer.score(flat, onProgress);
  let next = 0;
  const documents = task.documents.map((document, i) => {
    const own = (requests[i] ?? []).map((parts) => sum(parts.map(() => scores[next++] as Score)));
    return judge(document, own);
  });
  const metrics = summarize(documents, task.task.metrics);
  const chance = chanceOf(task.documents);
  const accuracies = Object.entries(metrics).filter(([name]) => name.startsWith('acc'));
  return {
    task,
    metrics,
    chance,
    nearChance:
      chance === undefined ? [] : accuracies.filter(([, metric]) => isNearChance(metric, chance)).map(([name]) => name),
    documents,
    seconds: seconds + (performance.now() - start) / 1000,
  };
}

/** The score of a text whose parts were scored apart. */
const sum = (scores: readonly Score[]): Score => ({
  logLikelihood: scores.reduce((total, { logLikelihood }) => total + logLikelihood, 0),
  greedy: scores.every(({ greedy }) => greedy),
});

/** Turns documents into requests of tokens; the context that choices have in common is encoded once. */
class RequestEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #addBos: AddBos;
  readonly #maxLength: number;
  #context: { readonly text: string; readonly tokens: number } | undefined;

  constructor(tokenizer: Tokenizer, addBos: AddBos, maxLength: number) {
    this.#tokenizer = tokenizer;
    this.#addBos = addBos;
    this.#maxLength = maxLength;
  }

  /** Per request of the document its parts: one, or the windows of a page. */
  encode({ task }: LoadedTask, document: TaskDocument): TokenRequest[][] {
    const name = `${task.title}, document ${document.index}`;
    const cut = (request: TextRequest): TokenRequest[] => [
      cutRequest(encodeRequest(this.#tokenizer, request, this.#addBos, this.#countTokens), this.#maxLength, name),
    ];
    switch (document.kind) {
      case 'choice':
        return document.requests.map(cut);
      case 'lastWord':
        return [cut(document.request)];
      case 'page': {
        const tokens = encodeText(this.#tokenizer, document.text, this.#addBos);
        return [rollingWindows(tokens, prefixToken(this.#tokenizer), this.#maxLength)];
      }
      default:
        return document satisfies never;
    }
  }

  readonly #countTokens = (text: string): number => {
    if (this.#context?.text !== text)
      this.#context = { text, tokens: encodeText(this.#tokenizer, text, this.#addBos).length };
    return this.#context.tokens;
  };
}
