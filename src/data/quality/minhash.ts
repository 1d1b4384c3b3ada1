import { forEachWord, wordHash } from './words.js';

/** Words in a shingle. */
const SHINGLE = 5;
/** Bands of rows: two documents of Jaccard similarity s share a band with probability 1 - (1 - s^8)^14, half at 0.69. */
export const BANDS = 14;
const ROWS = 8;
const HASHES = BANDS * ROWS;

const multipliers = new Int32Array(HASHES);
const addends = new Int32Array(HASHES);
let state = 0x2545f491;
for (let i = 0; i < HASHES; i++) {
  multipliers[i] = next() | 1;
  addends[i] = next();
}

/**
 * Keys of a document's bands: two 32-bit words for each. Documents that share one are nearly the same.
 *
 * MinHash over shingles of five words (Broder 1997; bands as FineWeb has them, Penedo et al. 2024: 112 hashes in 14 bands).
 * Text without blanks between words (Chinese, Thai) is compared by its runs between punctuation, so less finely.
 *
 * @returns 2 * BANDS numbers.
 */
export function minHashBands(utf8: Uint8Array): Uint32Array {
  const words: number[] = [];
  forEachWord(utf8, (start, end) => words.push(wordHash(utf8, start, end)));
  const lowest = new Uint32Array(HASHES).fill(0xffffffff);
  for (let first = 0; first === 0 || first + SHINGLE <= words.length; first++) {
    let shingle = 0;
    for (let i = first; i < Math.min(first + SHINGLE, words.length); i++)
      shingle = mix(Math.imul(shingle, 0x9e3779b1) ^ words[i]!);
    for (let k = 0; k < HASHES; k++) {
      const hash = mixLight(Math.imul(shingle, multipliers[k]!) + addends[k]!);
      if (hash < lowest[k]!) lowest[k] = hash;
    }
  }
  const bands = new Uint32Array(2 * BANDS);
  for (let band = 0; band < BANDS; band++) {
    let low = band;
    let high = ~band;
    for (let row = 0; row < ROWS; row++) {
      low = mix(low ^ lowest[band * ROWS + row]!);
      high = mix(Math.imul(high, 31) + lowest[band * ROWS + row]!);
    }
    bands[2 * band] = low >>> 0;
    bands[2 * band + 1] = high >>> 0;
  }
  return bands;
}

function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const mixLight = (value: number): number => (value ^ (value >>> 15)) >>> 0;

function next(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state;
}
