import type { Tokenizer } from '../data/index.js';
import { alternativesOf, Choice, type ChoicePart } from './choice.js';
import { ProtocolError } from './errors.js';
import type { CompletionRequest } from './request.js';
import type { PromptScores, Scheduler } from './scheduler.js';

export type FinishReason = 'stop' | 'length';

/** What a request is answered with, piece by piece. */
export interface CompletionSink {
  /** A piece of choice `index`; the last one of each has a reason. */
  part(index: number, part: ChoicePart, finishReason: FinishReason | null): void;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** What completions need of the served model. */
export interface Served {
  readonly tokenizer: Tokenizer;
  readonly scheduler: Scheduler;
  readonly stopTokens: ReadonlySet<number>;
  readonly vocabularySize: number;
}

/** Checks that a request fits the model, before anything is computed; returns its prompts as tokens. */
export function encodePrompts(
  { tokenizer, scheduler, vocabularySize }: Served,
  request: CompletionRequest,
): Int32Array[] {
  const { maxLength } = scheduler;
  return request.prompts.map((prompt, i) => {
    const where = request.prompts.length > 1 ? `prompt[${i}]` : 'prompt';
    const tokens = typeof prompt === 'string' ? tokenizer.encode(prompt) : Int32Array.from(prompt);
    if (tokens.length === 0) throw new ProtocolError(400, `${where} has no tokens`, 'prompt');
    const unknown = tokens.find((token) => token >= vocabularySize);
    if (unknown !== undefined)
      throw new ProtocolError(400, `${where}: token ${unknown} is not among the model's ${vocabularySize}`, 'prompt');
    // One token more can be scored than read: it is only predicted.
    const limit = request.echo && request.maxTokens <= 1 ? maxLength + 1 : maxLength;
    if (tokens.length > limit)
      throw new ProtocolError(
        400,
        `${where} has ${tokens.length} tokens, but the model reads at most ${limit}`,
        'prompt',
      );
    return tokens;
  });
}

/** Answers a request, all its choices at the same time. */
export async function complete(
  served: Served,
  request: CompletionRequest,
  prompts: readonly Int32Array[],
  sink: CompletionSink,
  signal: AbortSignal,
): Promise<Usage> {
  const tasks = prompts.flatMap((prompt, i) =>
    Array.from({ length: request.choices }, (_, j) => {
      const index = i * request.choices + j;
      return completeOne({ served, request, prompt, index, sink, signal });
    }),
  );
  const made = await Promise.all(tasks);
  const promptTokens = prompts.reduce((sum, { length }) => sum + length, 0);
  const completionTokens = made.reduce((sum, count) => sum + count, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

interface OneCompletion {
  readonly served: Served;
  readonly request: CompletionRequest;
  readonly prompt: Int32Array;
  readonly index: number;
  readonly sink: CompletionSink;
  readonly signal: AbortSignal;
}

/** One choice; returns the number of tokens made. */
async function completeOne(one: OneCompletion): Promise<number> {
  const { served, request, prompt, index, sink } = one;
  const { echo, maxTokens, temperature, logprobs } = request;
  const choice = new Choice(served.tokenizer, echo ? [] : prompt, request.stop, logprobs !== undefined);
  const needsScores = echo && logprobs !== undefined;
  const isScoring = needsScores && maxTokens <= 1 && temperature === 0 && (logprobs ?? 0) <= 1;
  const scores =
    needsScores && (isScoring || (logprobs ?? 0) <= 1) ? await served.scheduler.score(prompt, one.signal) : undefined;
  if (needsScores && scores === undefined)
    throw new ProtocolError(
      400,
      'logprobs: with echo at most 1 alternative is given to the tokens of the prompt',
      'logprobs',
    );
  if (echo) echoPrompt(choice, prompt, scores, logprobs ?? 0);
  if (maxTokens === 0) return finish(one, choice, 'length', false, 0);
  if (isScoring && scores !== undefined) {
    const { token, logProb } = scores.next;
    const stopped = choice.add({ token, logProb, alternatives: [{ token, logProb }] });
    return finish(one, choice, served.stopTokens.has(token) || stopped ? 'stop' : 'length', stopped, 1);
  }
  if (echo && request.stream) sink.part(index, choice.take(), null);
  return continuePrompt(one, choice);
}

function echoPrompt(choice: Choice, prompt: Int32Array, scores: PromptScores | undefined, logprobs: number): void {
  prompt.forEach((token, i) => {
    const known = scores !== undefined && i > 0;
    const best = known
      ? { token: scores.best[i - 1] as number, logProb: scores.bestLogProbs[i - 1] as number }
      : undefined;
    choice.echo({
      token,
      logProb: known ? scores.logProbs[i - 1] : undefined,
      alternatives: best === undefined || logprobs === 0 ? [] : [best],
    });
  });
}

async function continuePrompt(one: OneCompletion, choice: Choice): Promise<number> {
  const { served, request, prompt, index, sink, signal } = one;
  let made = 0;
  let reason: FinishReason = 'length';
  let stopped = false;
  await served.scheduler.generate({
    prompt,
    maxTokens: request.maxTokens,
    sampling: {
      temperature: request.temperature,
      topP: request.topP,
      topK: request.topK,
      seed: request.seed === undefined ? undefined : seedOf(request.seed, index),
    },
    signal,
    onToken(token, logits, logProb) {
      made++;
      if (served.stopTokens.has(token)) reason = 'stop';
      else {
        stopped = choice.add({
          token,
          logProb,
          alternatives: alternativesOf(logits, request.logprobs ?? 0, { token, logProb }),
        });
        if (stopped) reason = 'stop';
      }
      if (request.stream && reason === 'length') {
        const part = choice.take();
        if (part.text !== '' || (part.logprobs?.tokens.length ?? 0) > 0) sink.part(index, part, null);
      }
      return reason === 'length';
    },
  });
  return finish(one, choice, reason, stopped, made);
}

function finish(one: OneCompletion, choice: Choice, reason: FinishReason, stopped: boolean, made: number): number {
  choice.end(stopped);
  one.sink.part(one.index, choice.take(), reason);
  return made;
}

/** Choices of one request differ; the same request gives the same choices again. */
const seedOf = (seed: number, index: number): number => (Math.abs(seed) + index * 0x9e3779b1) % 2 ** 31;
