import type { Tokenizer } from '../data/index.js';

/**
 * Turns tokens into text as they come: text is given out once it cannot change any more.
 *
 * A character may need several tokens, and the first token of a text may lose its space, so a token is decoded with those before it.
 */
export class TextStream {
  readonly #tokenizer: Pick<Tokenizer, 'decode'>;
  readonly #ids: number[];
  #before: number;
  #given: number;

  /** @param context Tokens before the first one, such as the prompt's. */
  constructor(tokenizer: Pick<Tokenizer, 'decode'>, context: ArrayLike<number> = []) {
    this.#tokenizer = tokenizer;
    this.#ids = Array.from(context).slice(-4);
    this.#before = 0;
    this.#given = this.#ids.length;
  }

  /** The text that this token completes; empty where more tokens are needed. */
  push(id: number): string {
    this.#ids.push(id);
    return this.#take(false);
  }

  /** What is left at the end, incomplete characters as U+FFFD. */
  end(): string {
    return this.#take(true);
  }

  #take(all: boolean): string {
    const decode = (from: number, to: number): string =>
      this.#tokenizer.decode(this.#ids.slice(from, to), { skipSpecialTokens: true });
    const known = decode(this.#before, this.#given);
    const text = decode(this.#before, this.#ids.length);
    if (!all && text.endsWith('\uFFFD')) return '';
    // A token without text of its own, such as BOS, is no neighbour that the next one could keep its space beside.
    if (text.length > known.length) this.#before = this.#given;
    this.#given = this.#ids.length;
    return text.slice(known.length);
  }
}
