import type { Tokenizer } from '../data/index.js';
import { InputError } from '../errors.js';
import type { TextRequest } from './tasks/types.js';

/**
 * Which special tokens texts get: `auto` is what the tokenizer's post-processor adds, `true` a BOS, `false` none.
 *
 * lm-evaluation-harness takes `auto` for Hugging Face models since 0.4.9.2; before that, and in its completions client, `false`.
 */
export type AddBos = 'auto' | boolean;

/** What is asked of a model: the log-probability of tokens that follow the last positions of an input. */
export interface TokenRequest {
  /** What the model reads. */
  readonly input: Int32Array;
  /** Tokens to be predicted from the last `targets.length` positions of the input. */
  readonly targets: Int32Array;
}

/** A request's tokens before anything is cut off. */
export interface EncodedRequest {
  readonly context: Int32Array;
  readonly continuation: Int32Array;
}

type Encoder = Pick<Tokenizer, 'encode' | 'bosId' | 'eosId' | 'idToToken'> & { readonly file?: string };

/** Token ids of a text, with special tokens as `addBos` says; none are added to a text that begins with the BOS token. */
export function encodeText(tokenizer: Encoder, text: string, addBos: AddBos): Int32Array {
  const bos = tokenizer.bosId === undefined ? undefined : tokenizer.idToToken(tokenizer.bosId);
  if (addBos === false || (bos !== undefined && text.startsWith(bos))) return tokenizer.encode(text);
  if (addBos === 'auto') return tokenizer.encode(text, { addSpecialTokens: true });
  if (tokenizer.bosId === undefined)
    throw new InputError('--add-bos true was asked for, but the tokenizer has no BOS token.');
  return Int32Array.of(tokenizer.bosId, ...tokenizer.encode(text));
}

/**
 * Encodes context and continuation together and splits them by the number of tokens that the context alone has.
 *
 * White space at the end of the context belongs to the continuation. A context that is empty becomes the prefix token.
 *
 * @param countTokens Tokens of a context by itself; may remember what it was asked last.
 */
export function encodeRequest(
  tokenizer: Encoder,
  request: TextRequest,
  addBos: AddBos,
  countTokens = (text: string): number => encodeText(tokenizer, text, addBos).length,
): EncodedRequest {
  if (request.context === '') return encodeWithPrefix(tokenizer, request.continuation);
  const context = request.context.trimEnd();
  const continuation = request.context.slice(context.length) + request.continuation;
  const whole = encodeText(tokenizer, context + continuation, addBos);
  const border = countTokens(context);
  return { context: whole.slice(0, border), continuation: whole.slice(border) };
}

function encodeWithPrefix(tokenizer: Encoder, text: string): EncodedRequest {
  const prefix = prefixToken(tokenizer);
  const tokens = tokenizer.encode(text);
  return tokens[0] === prefix
    ? { context: tokens.slice(0, 1), continuation: tokens.slice(1) }
    : { context: Int32Array.of(prefix), continuation: tokens };
}

/** The token that stands before a text without context: BOS, else EOS. */
export function prefixToken(tokenizer: Pick<Encoder, 'bosId' | 'eosId'>): number {
  const prefix = tokenizer.bosId ?? tokenizer.eosId;
  if (prefix === undefined)
    throw new InputError('The tokenizer has neither a BOS nor an EOS token to begin a text with.');
  return prefix;
}

/**
 * Cuts a request to what a model of `maxLength` tokens reads: the last ones; the last token of all is only predicted.
 *
 * @param name What the request is, for the message.
 * @throws InputError where the continuation alone is longer than the model.
 */
export function cutRequest({ context, continuation }: EncodedRequest, maxLength: number, name: string): TokenRequest {
  if (continuation.length > maxLength)
    throw new InputError(
      `${name}: its answer has ${continuation.length} tokens, but the model reads at most ${maxLength} (--max-length, or maxLength in a config, allows more).`,
    );
  const whole = new Int32Array(context.length + continuation.length);
  whole.set(context);
  whole.set(continuation, context.length);
  return { input: whole.slice(-(maxLength + 1)).slice(0, -1), targets: continuation };
}

/**
 * Windows of a text whose every token is predicted once.
 *
 * The first begins with the prefix token; the last is filled up on the left with tokens that were predicted before.
 */
export function rollingWindows(tokens: Int32Array, prefix: number, maxLength: number): TokenRequest[] {
  if (tokens.length === 0) return [];
  const first = Math.min(maxLength, tokens.length);
  const windows = [{ input: Int32Array.of(prefix, ...tokens.subarray(0, first - 1)), targets: tokens.slice(0, first) }];
  for (let done = first; done < tokens.length; ) {
    const end = Math.min(done + maxLength, tokens.length);
    windows.push({ input: tokens.slice(Math.max(0, end - maxLength - 1), end - 1), targets: tokens.slice(done, end) });
    done = end;
  }
  return windows;
}
