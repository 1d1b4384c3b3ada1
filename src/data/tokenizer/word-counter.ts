import { splitGpt2 } from './split.js';

const PADDING = 32;
const WORDS_AT_ONCE = 4096;
const FIELDS = 3; // hash, start of the bytes, length

/** Counts the pieces of UTF-8 texts, each kept once as bytes. */
export class WordCounter {
  #slots = new Int32Array(2 ** 16).fill(-1);
  #words = new Float64Array(2 ** 15 * FIELDS);
  #counts = new Float64Array(2 ** 15);
  #bytes = new Uint8Array(2 ** 18);
  #byteEnd = 0;
  #size = 0;
  /** The text being split, with zeros behind it. */
  #text = new Uint8Array(2 ** 16);
  readonly #ends = new Int32Array(WORDS_AT_ONCE);

  /** Number of different words. */
  get size(): number {
    return this.#size;
  }

  /** How often a word occurred. */
  count(word: number): number {
    return this.#counts[word]!;
  }

  /** A word's bytes (a view, valid until the next `add`). */
  bytes(word: number): Uint8Array {
    const start = this.#words[word * FIELDS + 1]!;
    return this.#bytes.subarray(start, start + this.#words[word * FIELDS + 2]!);
  }

  /** Counts the words of one text. */
  add(utf8: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length + PADDING > this.#text.length) this.#text = new Uint8Array(length * 2 + PADDING);
    const text = this.#text;
    text.set(utf8.subarray(start, end));
    text.fill(0, length, length + PADDING);
    for (let from = 0; from < length; ) {
      const words = splitGpt2(text, from, length, this.#ends);
      for (let word = 0; word < words; word++) {
        const next = this.#ends[word]!;
        this.#addWord(text, from, next, 1);
        from = next;
      }
    }
  }

  /** Takes over the counts of another counter. */
  merge(other: WordCounter): void {
    for (let word = 0; word < other.size; word++) {
      const bytes = other.bytes(word);
      this.#addWord(bytes, 0, bytes.length, other.count(word));
    }
  }

  #addWord(utf8: Uint8Array, start: number, end: number, count: number): void {
    const length = end - start;
    let hash = length;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ utf8[i]!, 0x5bd1e995) ^ (hash >>> 15);
    hash ^= hash >>> 13;
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (; this.#slots[slot]! >= 0; slot = (slot + 1) & mask) {
      const word = this.#slots[slot]!;
      const field = word * FIELDS;
      if (this.#words[field] !== hash || this.#words[field + 2] !== length) continue;
      let key = this.#words[field + 1]!;
      let i = start;
      while (i < end && utf8[i] === this.#bytes[key]) {
        i++;
        key++;
      }
      if (i < end) continue;
      this.#counts[word] = this.#counts[word]! + count;
      return;
    }
    this.#insert(slot, hash, utf8, start, end, count);
  }

  #insert(slot: number, hash: number, utf8: Uint8Array, start: number, end: number, count: number): void {
    const length = end - start;
    if (this.#size === this.#counts.length) {
      this.#counts = grown(this.#counts, this.#size * 2);
      this.#words = grown(this.#words, this.#size * 2 * FIELDS);
    }
    if (this.#byteEnd + length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#byteEnd + length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const word = this.#size++;
    this.#words[word * FIELDS] = hash;
    this.#words[word * FIELDS + 1] = this.#byteEnd;
    this.#words[word * FIELDS + 2] = length;
    this.#counts[word] = count;
    for (let i = start; i < end; i++) this.#bytes[this.#byteEnd++] = utf8[i]!;
    this.#slots[slot] = word;
    if (this.#size * 2 > this.#slots.length) this.#rehash();
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 2).fill(-1);
    const mask = slots.length - 1;
    for (let word = 0; word < this.#size; word++) {
      let slot = this.#words[word * FIELDS]! & mask;
      while (slots[slot]! >= 0) slot = (slot + 1) & mask;
      slots[slot] = word;
    }
    this.#slots = slots;
  }
}

function grown(array: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(length);
  larger.set(array);
  return larger;
}
