import { InputError } from '../../errors.js';
import { byteCharacters } from './bytes.js';
import { PairQueue } from './pair-queue.js';
import { PairTable } from './pair-table.js';
import type { WordCounter } from './word-counter.js';

/** Vocabulary and merges of a byte-level BPE. */
export interface TrainedBpe {
  /** Entries in order of id: special tokens, the 256 bytes, then what the merges made. */
  readonly vocab: readonly string[];
  readonly merges: readonly (readonly [left: string, right: string])[];
  readonly specialTokens: readonly string[];
}

export interface TrainBpeOptions {
  readonly vocabSize: number;
  /** Pairs that occur less often are not merged; 2 by default. */
  readonly minFrequency?: number;
  /** Tokens that get the first ids; `<|endoftext|>` by default. */
  readonly specialTokens?: readonly string[];
  readonly onProgress?: (entries: number, vocabSize: number) => void;
}

/**
 * Trains a byte-level BPE on counted words.
 *
 * The merges are those of Hugging Face's `BpeTrainer` with the byte alphabet: the most frequent pair first, of equally
 * frequent ones that with the lowest ids. Source: Sennrich et al. 2016; counts are kept up to date as merges go.
 *
 * @throws InputError if `vocabSize` does not hold the bytes and the special tokens.
 */
export function trainBpe(words: WordCounter, options: TrainBpeOptions): TrainedBpe {
  const specialTokens = options.specialTokens ?? ['<|endoftext|>'];
  const minFrequency = options.minFrequency ?? 2;
  // Hugging Face sorts the alphabet by code point.
  const alphabet = [...byteCharacters].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0));
  const vocab = [...new Set([...specialTokens, ...alphabet])];
  const ids = new Map(vocab.map((token, id) => [token, id]));
  if (options.vocabSize < vocab.length)
    throw new InputError(
      `vocabulary size: expected at least ${vocab.length} (${specialTokens.length} special tokens and 256 bytes), found ${options.vocabSize}.`,
    );
  const state = new MergeState(
    words,
    byteCharacters.map((character) => ids.get(character) ?? 0),
  );
  const merges: [string, string][] = [];
  while (vocab.length < options.vocabSize) {
    const best = state.next();
    if (best === undefined || best.count < 1 || best.count < minFrequency) break;
    const left = vocab[best.left]!;
    const right = vocab[best.right]!;
    const merged = left + right;
    let id = ids.get(merged);
    if (id === undefined) {
      id = vocab.length;
      vocab.push(merged);
      ids.set(merged, id);
    }
    merges.push([left, right]);
    state.merge(best, id);
    if (merges.length % 256 === 0) options.onProgress?.(vocab.length, options.vocabSize);
  }
  return { vocab, merges, specialTokens };
}

/** The pair to merge next, and the words that it was seen in. */
interface Best {
  readonly left: number;
  readonly right: number;
  readonly count: number;
  readonly places: number;
}

const NONE = -1;

/** The words as ids, how often each pair occurs in them, and where. */
class MergeState {
  readonly #symbols: Int32Array; // all words, one behind the other
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  readonly #counts: Float64Array;
  readonly #pairs = new PairTable(2 ** 16);
  #left = new Int32Array(2 ** 16);
  #right = new Int32Array(2 ** 16);
  #pairCounts = new Float64Array(2 ** 16);
  /** Where a pair has come up since it was last queued: head of a list in `#placeWord`, `#placeNext`. */
  #fresh = new Int32Array(2 ** 16).fill(NONE);
  #placeWord = new Int32Array(2 ** 16);
  #placeNext = new Int32Array(2 ** 16);
  #placeEnd = 0;
  #freePlace = NONE;
  readonly #touched: number[] = [];
  readonly #queue = new PairQueue();

  constructor(words: WordCounter, byteIds: readonly number[]) {
    let total = 0;
    for (let word = 0; word < words.size; word++) total += words.bytes(word).length;
    this.#symbols = new Int32Array(total);
    this.#starts = new Int32Array(words.size);
    this.#lengths = new Int32Array(words.size);
    this.#counts = new Float64Array(words.size);
    let at = 0;
    for (let word = 0; word < words.size; word++) {
      const bytes = words.bytes(word);
      this.#starts[word] = at;
      this.#lengths[word] = bytes.length;
      this.#counts[word] = words.count(word);
      for (const byte of bytes) this.#symbols[at++] = byteIds[byte]!;
      for (let i = at - bytes.length; i + 1 < at; i++)
        this.#change(this.#symbols[i]!, this.#symbols[i + 1]!, words.count(word), word);
    }
    this.#queueTouched();
  }

  /** Takes the most frequent pair off the queue. */
  next(): Best | undefined {
    for (;;) {
      const entry = this.#queue.pop();
      if (entry === undefined) return undefined;
      const count = this.#pairCounts[entry.pair]!;
      const { left, right, places } = entry;
      if (entry.count === count) return { left, right, count, places };
      this.#queue.push({ ...entry, count });
    }
  }

  /** Replaces a pair by a new id in all words that it was seen in. */
  merge(best: Best, id: number): void {
    let place = best.places;
    while (place !== NONE) {
      this.#mergeWord(this.#placeWord[place]!, best.left, best.right, id);
      const next = this.#placeNext[place]!;
      this.#placeNext[place] = this.#freePlace;
      this.#freePlace = place;
      place = next;
    }
    this.#queueTouched();
  }

  #mergeWord(word: number, left: number, right: number, id: number): void {
    const symbols = this.#symbols;
    const start = this.#starts[word]!;
    const end = start + this.#lengths[word]!;
    const count = this.#counts[word]!;
    let to = start;
    for (let at = start; at < end; at++) {
      if (symbols[at] !== left || at + 1 >= end || symbols[at + 1] !== right) {
        symbols[to++] = symbols[at]!;
        continue;
      }
      if (to > start) {
        this.#change(symbols[to - 1]!, left, -count, word);
        this.#change(symbols[to - 1]!, id, count, word);
      }
      at++;
      if (at + 1 < end) {
        this.#change(right, symbols[at + 1]!, -count, word);
        this.#change(id, symbols[at + 1]!, count, word);
      }
      symbols[to++] = id;
    }
    this.#lengths[word] = to - start;
  }

  #change(left: number, right: number, by: number, word: number): void {
    let pair = this.#pairs.get(left, right);
    if (pair < 0) pair = this.#addPair(left, right);
    this.#pairCounts[pair] = this.#pairCounts[pair]! + by;
    if (by < 0) return;
    const head = this.#fresh[pair]!;
    if (head === NONE) this.#touched.push(pair);
    else if (this.#placeWord[head] === word) return;
    this.#fresh[pair] = this.#addPlace(word, head);
  }

  #addPair(left: number, right: number): number {
    const pair = this.#pairs.size;
    if (pair === this.#left.length) {
      this.#left = grown(this.#left);
      this.#right = grown(this.#right);
      this.#fresh = grown(this.#fresh);
      const counts = new Float64Array(pair * 2);
      counts.set(this.#pairCounts);
      this.#pairCounts = counts;
    }
    this.#pairs.set(left, right, pair);
    this.#left[pair] = left;
    this.#right[pair] = right;
    this.#fresh[pair] = NONE;
    return pair;
  }

  #addPlace(word: number, next: number): number {
    let place = this.#freePlace;
    if (place !== NONE) this.#freePlace = this.#placeNext[place]!;
    else {
      place = this.#placeEnd++;
      if (place === this.#placeWord.length) {
        this.#placeWord = grown(this.#placeWord);
        this.#placeNext = grown(this.#placeNext);
      }
    }
    this.#placeWord[place] = word;
    this.#placeNext[place] = next;
    return place;
  }

  #queueTouched(): void {
    for (const pair of this.#touched) {
      const count = this.#pairCounts[pair]!;
      const places = this.#fresh[pair]!;
      this.#fresh[pair] = NONE;
      if (count > 0) this.#queue.push({ pair, left: this.#left[pair]!, right: this.#right[pair]!, count, places });
    }
    this.#touched.length = 0;
  }
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}
