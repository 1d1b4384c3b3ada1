/** A token that is looked for in the text itself, before anything else is split. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
}

/** Finds added tokens in UTF-8 text: the leftmost, of those the longest, as Hugging Face's trie does. */
export class AddedTokenFinder {
  readonly #byFirst = new Map<number, { id: number; bytes: Uint8Array }[]>();
  readonly #firsts: Uint8Array = new Uint8Array(256);
  readonly #onlyFirst: number | undefined;
  /** What `find` found: start and end in the text, and the token's id. */
  start = 0;
  end = 0;
  id = 0;

  constructor(tokens: readonly AddedToken[]) {
    for (const { id, content } of tokens) {
      const bytes = Buffer.from(content);
      const first = bytes[0];
      if (first === undefined) continue;
      this.#firsts[first] = 1;
      const list = this.#byFirst.get(first) ?? [];
      list.push({ id, bytes });
      this.#byFirst.set(first, list);
    }
    for (const list of this.#byFirst.values()) list.sort((a, b) => b.bytes.length - a.bytes.length);
    this.#onlyFirst = this.#byFirst.size === 1 ? [...this.#byFirst.keys()][0] : undefined;
  }

  /** Looks for the next token in `bytes[from..to)`; true if there is one, which `start`, `end` and `id` then tell. */
  find(bytes: Uint8Array, from: number, to: number): boolean {
    for (let at = this.#candidate(bytes, from, to); at < to; at = this.#candidate(bytes, at + 1, to)) {
      for (const token of this.#byFirst.get(bytes[at]!) ?? []) {
        const end = at + token.bytes.length;
        if (end > to || !startsWith(bytes, at, token.bytes)) continue;
        this.start = at;
        this.end = end;
        this.id = token.id;
        return true;
      }
    }
    return false;
  }

  #candidate(bytes: Uint8Array, from: number, to: number): number {
    if (this.#byFirst.size === 0) return to;
    if (this.#onlyFirst !== undefined) {
      const found = bytes.subarray(from, to).indexOf(this.#onlyFirst);
      return found < 0 ? to : from + found;
    }
    let at = from;
    while (at < to && this.#firsts[bytes[at]!] === 0) at++;
    return at;
  }
}

function startsWith(bytes: Uint8Array, at: number, prefix: Uint8Array): boolean {
  for (let i = 1; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
  return true;
}

/** Encodes `utf8[start..end)` to `out` from `at` and returns where the ids end. */
export type EncodeText = (utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number) => number;

/** Takes out the added tokens of the first finder, then those of the next between them, and encodes what is left. */
export function encodeAroundAddedTokens(finders: readonly AddedTokenFinder[], plain: EncodeText): EncodeText {
  return finders.reduceRight<EncodeText>(
    (encodeBetween, finder) => (utf8, start, end, out, at) => {
      let from = start;
      let to = at;
      while (from < end && finder.find(utf8, from, end)) {
        const { id, start: tokenStart, end: next } = finder;
        if (tokenStart > from) to = encodeBetween(utf8, from, tokenStart, out, to);
        out[to++] = id;
        from = next;
      }
      return from < end ? encodeBetween(utf8, from, end, out, to) : to;
    },
    plain,
  );
}
