import { forEachWord, wordHash } from './words.js';

const LINE_FEED = 0x0a;

/** Limits beyond which a document is dropped. */
export interface HeuristicLimits {
  /** Bytes of UTF-8. */
  readonly minBytes?: number;
  readonly maxBytes?: number;
  /** Drops text that repeats itself, or is made of symbols and lists. */
  readonly repetition?: boolean;
}

/** Why a document was dropped. */
export type DropReason = 'short' | 'long' | 'duplicateLines' | 'repeatedWords' | 'symbols' | 'bullets' | 'ellipses';

// The language-free rules and limits of Gopher (Rae et al. 2021, appendix A.1.1).
const MAX_DUPLICATE_LINES = 0.3;
const MAX_DUPLICATE_LINE_BYTES = 0.2;
const MAX_TOP_PAIR_BYTES = 0.2;
const MAX_SYMBOLS_PER_WORD = 0.1;
const MAX_BULLET_LINES = 0.9;
const MAX_ELLIPSIS_LINES = 0.3;
/** Fewer lines or words than this tell nothing about repetition. */
const MIN_LINES = 5;
const MIN_WORDS = 50;

/** Why a document is to be dropped, or undefined to keep it. */
export function dropReason(utf8: Uint8Array, limits: HeuristicLimits): DropReason | undefined {
  if (limits.minBytes !== undefined && utf8.length < limits.minBytes) return 'short';
  if (limits.maxBytes !== undefined && utf8.length > limits.maxBytes) return 'long';
  if (limits.repetition !== true) return undefined;
  return lineReason(utf8) ?? wordReason(utf8);
}

function lineReason(utf8: Uint8Array): DropReason | undefined {
  const seen = new Set<string>();
  let lines = 0;
  let duplicates = 0;
  let duplicateBytes = 0;
  let bullets = 0;
  let ellipses = 0;
  const text = Buffer.from(utf8.buffer, utf8.byteOffset, utf8.length);
  for (let start = 0; start < utf8.length; ) {
    const found = utf8.indexOf(LINE_FEED, start);
    const end = found < 0 ? utf8.length : found;
    const line = text.toString('utf8', start, end).trim();
    start = end + 1;
    if (line === '') continue;
    lines++;
    if (seen.has(line)) {
      duplicates++;
      duplicateBytes += Buffer.byteLength(line);
    } else seen.add(line);
    if (/^[•‣●*-]/u.test(line)) bullets++;
    if (/(?:\.\.\.|…)$/u.test(line)) ellipses++;
  }
  if (lines < MIN_LINES) return undefined;
  if (duplicates / lines > MAX_DUPLICATE_LINES || duplicateBytes / utf8.length > MAX_DUPLICATE_LINE_BYTES)
    return 'duplicateLines';
  if (bullets / lines > MAX_BULLET_LINES) return 'bullets';
  return ellipses / lines > MAX_ELLIPSIS_LINES ? 'ellipses' : undefined;
}

function wordReason(utf8: Uint8Array): DropReason | undefined {
  const pairs = new Map<number, number>();
  let words = 0;
  let last = 0;
  let lastBytes = 0;
  forEachWord(utf8, (start, end) => {
    const hash = wordHash(utf8, start, end);
    if (words > 0) {
      const pair = Math.imul(last, 0x9e3779b1) ^ hash;
      pairs.set(pair, (pairs.get(pair) ?? 0) + lastBytes + end - start);
    }
    last = hash;
    lastBytes = end - start;
    words++;
  });
  if (words < MIN_WORDS) return undefined;
  let most = 0;
  for (const bytes of pairs.values()) most = Math.max(most, bytes);
  if (most / utf8.length > MAX_TOP_PAIR_BYTES) return 'repeatedWords';
  return countSymbols(utf8) / words > MAX_SYMBOLS_PER_WORD ? 'symbols' : undefined;
}

/** Hashes and ellipses. */
function countSymbols(utf8: Uint8Array): number {
  let symbols = 0;
  for (let at = 0; at < utf8.length; at++) {
    if (utf8[at] === 0x23) symbols++;
    else if (utf8[at] === 0x2e && utf8[at + 1] === 0x2e && utf8[at + 2] === 0x2e) {
      symbols++;
      at += 2;
    } else if (utf8[at] === 0xe2 && utf8[at + 1] === 0x80 && utf8[at + 2] === 0xa6) symbols++;
  }
  return symbols;
}
