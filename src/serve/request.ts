import { z } from 'zod';
import { ProtocolError } from './errors.js';

/** Bounds of one request. */
const MOST_PROMPTS = 2048;
const MOST_CHOICES = 16;
const MOST_LOGPROBS = 20;
const MOST_STOPS = 16;
const MOST_TOKENS = 1e7;

const token = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
const text = z.string();
/** What the protocol has but a model here cannot do: only the value that asks for nothing. */
const unused = (value: number) => z.literal(value).nullish();

const schema = z.strictObject({
  model: text.nullish(),
  prompt: z.union([text, z.array(text), z.array(token), z.array(z.array(token))], {
    error: 'must be a text, a list of texts, a list of token ids, or a list of lists of token ids',
  }),
  max_tokens: z.int().min(0).max(MOST_TOKENS).nullish(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  n: z.int().min(1).max(MOST_CHOICES).nullish(),
  best_of: z.int().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  logprobs: z.int().min(0).max(MOST_LOGPROBS).nullish(),
  echo: z.boolean().nullish(),
  stop: z.union([text, z.array(text).max(MOST_STOPS)]).nullish(),
  seed: z.int().nullish(),
  user: text.nullish(),
  suffix: z.union([z.literal(''), z.null()]).optional(),
  presence_penalty: unused(0),
  frequency_penalty: unused(0),
  logit_bias: z.strictObject({}).nullish(),
});

/** A completion request with every default filled in. */
export interface CompletionRequest {
  readonly model: string | undefined;
  readonly prompts: readonly (string | readonly number[])[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number | undefined;
  readonly choices: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Alternatives to each token; undefined asks for no log-probabilities. */
  readonly logprobs: number | undefined;
  readonly echo: boolean;
  readonly stop: readonly string[];
  readonly seed: number | undefined;
}

const DEFAULT_MAX_TOKENS = 16;

/**
 * Reads the body of POST /v1/completions.
 *
 * @throws ProtocolError naming the field that is wrong or not supported.
 */
export function parseCompletionRequest(body: unknown): CompletionRequest {
  const result = schema.safeParse(body);
  if (!result.success) throw describeIssue(result.error.issues[0]);
  const { data } = result;
  const choices = data.n ?? 1;
  if ((data.best_of ?? choices) !== choices)
    throw new ProtocolError(400, 'best_of is not supported: leave it out or make it equal to n', 'best_of');
  const prompts = promptsOf(data.prompt);
  if (prompts.length === 0 || prompts.length > MOST_PROMPTS)
    throw new ProtocolError(400, `prompt: expected 1 to ${MOST_PROMPTS} prompts, found ${prompts.length}`, 'prompt');
  const stop = typeof data.stop === 'string' ? [data.stop] : (data.stop ?? []);
  return {
    model: data.model ?? undefined,
    prompts,
    maxTokens: data.max_tokens ?? DEFAULT_MAX_TOKENS,
    temperature: data.temperature ?? 1,
    topP: data.top_p ?? 1,
    topK: (data.top_k ?? -1) > 0 ? (data.top_k ?? undefined) : undefined,
    choices,
    stream: data.stream ?? false,
    includeUsage: data.stream_options?.include_usage ?? false,
    logprobs: data.logprobs ?? undefined,
    echo: data.echo ?? false,
    stop: stop.filter((sequence) => sequence !== ''),
    seed: data.seed ?? undefined,
  };
}

/** Tells the four shapes of a prompt apart; an empty list has none. */
function promptsOf(prompt: z.output<typeof schema>['prompt']): (string | readonly number[])[] {
  if (typeof prompt === 'string') return [prompt];
  const [first] = prompt;
  if (first === undefined) return [];
  return typeof first === 'number' ? [prompt as number[]] : (prompt as (string | number[])[]);
}

function describeIssue(issue: z.core.$ZodIssue | undefined): ProtocolError {
  if (issue === undefined) return new ProtocolError(400, 'the request is not understood');
  const path = z.core.toDotPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const field = issue.keys[0] ?? '';
    return new ProtocolError(400, `"${field}" is not supported`, field);
  }
  if (path === '') return new ProtocolError(400, 'expected a JSON object');
  return new ProtocolError(400, `${path}: ${issue.message.replace(/^Invalid input: /, '')}`, path);
}
