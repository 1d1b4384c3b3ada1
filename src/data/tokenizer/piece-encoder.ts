import { MAX_CACHED_BYTES, PieceCache } from './piece-cache.js';
import { MAX_SHORT_BYTES, ShortPieceCache } from './short-piece-cache.js';
import type { Splitter } from './split.js';

/** Zeros behind the text: splitters and caches look that far beyond its end. */
const PADDING = 32;
const PIECES_AT_ONCE = 4096;

/** Encodes the piece `text[start..end)` to `out[at..]` and returns the number of ids, at most one for each byte. */
export type EncodePiece = (text: Uint8Array, start: number, end: number, out: Int32Array, at: number) => number;

/** Encodes text piece by piece, each piece that was seen lately from a cache. */
export class PieceEncoder {
  readonly #split: Splitter;
  readonly #encodePiece: EncodePiece;
  readonly #short = new ShortPieceCache();
  readonly #long = new PieceCache();
  readonly #ends = new Int32Array(PIECES_AT_ONCE);
  /** The text being split, with zeros behind it. */
  #text = new Uint8Array(2 ** 16);
  #view = new DataView(this.#text.buffer);

  constructor(split: Splitter, encodePiece: EncodePiece) {
    this.#split = split;
    this.#encodePiece = encodePiece;
  }

  /**
   * Encodes `utf8[start..end)` to `out` from `at`.
   *
   * @param prefix A byte that stands in front of the text, if any.
   * @returns Where the ids end in `out`.
   */
  encode(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number, prefix?: number): number {
    const skip = prefix === undefined ? 0 : 1;
    const length = end - start + skip;
    if (length + PADDING > this.#text.length) {
      this.#text = new Uint8Array(length * 2 + PADDING);
      this.#view = new DataView(this.#text.buffer);
    }
    const text = this.#text;
    if (prefix !== undefined) text[0] = prefix;
    text.set(start === 0 && end === utf8.length ? utf8 : utf8.subarray(start, end), skip);
    text.fill(0, length, length + PADDING);
    return this.#encodeText(length, out, at);
  }

  #encodeText(length: number, out: Int32Array, at: number): number {
    const text = this.#text;
    const view = this.#view;
    const ends = this.#ends;
    const split = this.#split;
    let to = at;
    for (let from = 0; from < length; ) {
      const pieces = split(text, from, length, ends);
      for (let piece = 0; piece < pieces; piece++) {
        const next = ends[piece]!;
        const size = next - from;
        const known = size <= MAX_SHORT_BYTES ? this.#short.copy(view, from, size, out, to) : 0;
        to += known > 0 ? known : this.#miss(from, next, out, to);
        from = next;
      }
    }
    return to;
  }

  #miss(from: number, next: number, out: Int32Array, to: number): number {
    const text = this.#text;
    const size = next - from;
    if (size > MAX_CACHED_BYTES) return this.#encodePiece(text, from, next, out, to);
    if (size > MAX_SHORT_BYTES) {
      const known = this.#long.copy(text, from, next, out, to);
      if (known > 0) return known;
    }
    const count = this.#encodePiece(text, from, next, out, to);
    if (size <= MAX_SHORT_BYTES) this.#short.put(size, out, to, count);
    else this.#long.put(text, from, next, out, to, count);
    return count;
  }
}
