import type { Tokenizer } from '../data/index.js';
import { largestIndices, TextStream } from '../infer/index.js';
import { StopMatcher } from './stop.js';

/** Log-probabilities of a choice's tokens, in lists of equal length. */
export interface ChoiceLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

/** A piece of a choice, or all of it. */
export interface ChoicePart {
  readonly text: string;
  readonly logprobs: ChoiceLogprobs | null;
}

type Vocabulary = Pick<Tokenizer, 'decode' | 'idToToken'>;

/** A token and what else might have stood there. */
interface Alternatives {
  readonly token: number;
  /** Undefined for the first token of a prompt, which nothing predicts. */
  readonly logProb: number | undefined;
  readonly alternatives: readonly { readonly token: number; readonly logProb: number }[];
}

/** The `count` most probable tokens of a row of logits, by the log-probability that is known of one token. */
export function alternativesOf(
  logits: Float32Array,
  count: number,
  known: { readonly token: number; readonly logProb: number },
): { token: number; logProb: number }[] {
  const total = (logits[known.token] as number) - known.logProb;
  return Array.from(count === 0 ? [] : largestIndices(logits, count), (token) => ({
    token,
    logProb: token === known.token ? known.logProb : (logits[token] as number) - total,
  }));
}

/** One choice in the making: text as it becomes certain, with stop sequences cut off, and log-probabilities where asked for. */
export class Choice {
  readonly #vocabulary: Vocabulary;
  readonly #stream: TextStream;
  readonly #stops: StopMatcher;
  readonly #withLogprobs: boolean;
  #logprobs = emptyLogprobs();
  #text = '';
  /** Code points of all text decoded so far: where the next token begins. */
  #offset = 0;

  /** @param context Tokens of the prompt where it is not echoed, so that the first token keeps its space. */
  constructor(vocabulary: Vocabulary, context: ArrayLike<number>, stop: readonly string[], withLogprobs: boolean) {
    this.#vocabulary = vocabulary;
    this.#stream = new TextStream(vocabulary, context);
    this.#stops = new StopMatcher(stop);
    this.#withLogprobs = withLogprobs;
  }

  /** Adds a token of the prompt: stop sequences do not apply. */
  echo(entry: Alternatives): void {
    this.#text += this.#decode(entry);
  }

  /** Adds a generated token; true where a stop sequence ends the text. */
  add(entry: Alternatives): boolean {
    const { text, stopped } = this.#stops.push(this.#decode(entry));
    this.#text += text;
    return stopped;
  }

  /** Ends the text: gives out what was held back, unless a stop sequence ended it. */
  end(stopped: boolean): void {
    if (stopped) return;
    const { text } = this.#stops.push(this.#stream.end());
    this.#text += text + this.#stops.end();
  }

  /** What was added since the last call. */
  take(): ChoicePart {
    const part = { text: this.#text, logprobs: this.#withLogprobs ? this.#logprobs : null };
    this.#text = '';
    this.#logprobs = emptyLogprobs();
    return part;
  }

  #decode({ token, logProb, alternatives }: Alternatives): string {
    const text = this.#stream.push(token);
    if (this.#withLogprobs) {
      const logprobs = this.#logprobs;
      logprobs.tokens.push(this.#name(token));
      logprobs.token_logprobs.push(logProb ?? null);
      logprobs.top_logprobs.push(logProb === undefined ? null : this.#top(token, logProb, alternatives));
      logprobs.text_offset.push(this.#offset);
    }
    this.#offset += [...text].length;
    return text;
  }

  /** Alternatives and the token itself by name; of two tokens with one name the more probable stays. */
  #top(token: number, logProb: number, alternatives: Alternatives['alternatives']): Record<string, number> {
    const top = new Map<string, number>();
    for (const entry of [...alternatives, { token, logProb }]) {
      const name = this.#name(entry.token);
      top.set(name, Math.max(entry.logProb, top.get(name) ?? -Infinity));
    }
    return Object.fromEntries(top);
  }

  #name(token: number): string {
    return this.#vocabulary.idToToken(token) ?? `<token ${token}>`;
  }
}

const emptyLogprobs = (): ChoiceLogprobs => ({ tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] });
