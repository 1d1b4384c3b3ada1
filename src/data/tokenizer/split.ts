import { CLASSIFIED_CODE_POINTS, LETTER, NUMBER, OTHER, SPACE, codePointClasses } from './unicode.js';

/**
 * Splits UTF-8 text into the pieces that byte-level BPE merges within.
 *
 * Writes the end of each piece to `ends` until the text or the room in `ends` is used up, and returns how many it wrote.
 * `bytes` from `start` to `end` is valid UTF-8; behind `end` lies at least one more byte, and it is zero.
 */
export type Splitter = (bytes: Uint8Array, start: number, end: number, ends: Int32Array) => number;

const APOSTROPHE = 0x27;
const BLANK = 0x20;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const asciiClasses = codePointClasses.slice(0, 128);

/** The class of each byte that is a character of its own; `WIDE` for a part of a longer one. */
const WIDE = 4;
const ASCII_OR_WIDE = new Uint8Array(256).fill(WIDE);
ASCII_OR_WIDE.set(asciiClasses);

/** Bytes of the code point whose first byte is `lead`. */
const widthOf = (lead: number): number => (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);

function classAt(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return asciiClasses[lead]!;
  let codePoint: number;
  if (lead < 0xe0) codePoint = ((lead & 0x1f) << 6) | (bytes[at + 1]! & 0x3f);
  else if (lead < 0xf0) codePoint = ((lead & 0x0f) << 12) | ((bytes[at + 1]! & 0x3f) << 6) | (bytes[at + 2]! & 0x3f);
  else
    codePoint =
      ((lead & 0x07) << 18) |
      ((bytes[at + 1]! & 0x3f) << 12) |
      ((bytes[at + 2]! & 0x3f) << 6) |
      (bytes[at + 3]! & 0x3f);
  return codePoint < CLASSIFIED_CODE_POINTS ? codePointClasses[codePoint]! : OTHER;
}

/** End of the run of one class that starts at `at`. */
function runEnd(bytes: Uint8Array, start: number, end: number, kind: number): number {
  let at = start;
  while (at < end) {
    const lead = bytes[at]!;
    if (lead < 0x80) {
      if (asciiClasses[lead] !== kind) return at;
      at++;
    } else {
      if (classAt(bytes, at) !== kind) return at;
      at += widthOf(lead);
    }
  }
  return at;
}

/** `\s+(?!\S)|\s+`: a run of space leaves its last character to the word behind it. */
function spaceEnd(bytes: Uint8Array, start: number, end: number): number {
  const run = runEnd(bytes, start, end, SPACE);
  if (run === end) return run;
  let last = run - 1;
  while ((bytes[last]! & 0xc0) === 0x80) last--;
  return last > start ? last : run;
}

/** End of a run of letters, digits or symbols, fast where it is ASCII. */
function wordEnd(bytes: Uint8Array, start: number, end: number, kind: number): number {
  let at = start;
  // The zero behind the text ends runs of letters and digits; symbols, which zero is one of, may overshoot.
  while (ASCII_OR_WIDE[bytes[at]!] === kind && at < end) at++;
  return at < end && bytes[at]! >= 0x80 ? runEnd(bytes, at, end, kind) : at;
}

/** GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` */
export const splitGpt2: Splitter = (bytes, start, end, ends) => {
  let count = 0;
  for (let at = start; at < end && count < ends.length; ends[count++] = at) {
    const first = bytes[at]!;
    const word = first === BLANK ? at + 1 : at;
    const kind = ASCII_OR_WIDE[bytes[word]!]!;
    if (kind === LETTER) at = wordEnd(bytes, word + 1, end, LETTER);
    else if (word >= end || kind === SPACE) at = spaceEnd(bytes, at, end);
    else if (first === APOSTROPHE) at += contractionLength(bytes, at, end, 0) || wordEnd(bytes, at, end, OTHER) - at;
    else if (kind !== WIDE) at = wordEnd(bytes, word, end, kind);
    else {
      const wide = classAt(bytes, word);
      at = wide === SPACE ? spaceEnd(bytes, at, end) : runEnd(bytes, word, end, wide);
    }
  }
  return count;
};

/**
 * Llama 3 (`maxDigits` 3) and Qwen 2 (1): `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 * ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
 */
export const splitCl100k =
  (maxDigits: number): Splitter =>
  (bytes, start, end, ends) => {
    let count = 0;
    for (let at = start; at < end && count < ends.length; ends[count++] = at) at = cl100kEnd(bytes, at, end, maxDigits);
    return count;
  };

function cl100kEnd(bytes: Uint8Array, start: number, end: number, maxDigits: number): number {
  const first = bytes[start]!;
  if (first === APOSTROPHE) {
    const contraction = contractionLength(bytes, start, end, 0x20);
    if (contraction > 0) return start + contraction;
  }
  if (first === BLANK && ASCII_OR_WIDE[bytes[start + 1]!] === LETTER) return wordEnd(bytes, start + 2, end, LETTER);
  const kind = classAt(bytes, start);
  const next = start + widthOf(first);
  if (kind === LETTER) return wordEnd(bytes, next, end, LETTER);
  if (kind === NUMBER) {
    let at = next;
    for (let digits = 1; digits < maxDigits && at < end && classAt(bytes, at) === NUMBER; digits++)
      at += widthOf(bytes[at]!);
    return at;
  }
  if (first !== LINE_FEED && first !== CARRIAGE_RETURN && next < end && classAt(bytes, next) === LETTER)
    return wordEnd(bytes, next, end, LETTER);
  const symbols = first === BLANK ? next : start;
  if (symbols < end && classAt(bytes, symbols) === OTHER) {
    let at = wordEnd(bytes, symbols, end, OTHER);
    while (at < end && isLineEnd(bytes[at]!)) at++;
    return at;
  }
  const run = runEnd(bytes, start, end, SPACE);
  for (let at = run; at > start; at--) if (isLineEnd(bytes[at - 1]!)) return at;
  return spaceEnd(bytes, start, end);
}

const isLineEnd = (byte: number): boolean => byte === LINE_FEED || byte === CARRIAGE_RETURN;

/** Bytes of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at `start`, else 0; `fold` 0x20 ignores case. */
function contractionLength(bytes: Uint8Array, start: number, end: number, fold: number): number {
  if (start + 1 >= end) return 0;
  const second = bytes[start + 1]! | fold;
  if (second === 0x73 || second === 0x74 || second === 0x6d || second === 0x64) return 2;
  // Case folding takes U+017F, the long s, for an s.
  if (fold !== 0 && bytes[start + 1] === 0xc5 && bytes[start + 2] === 0xbf && start + 2 < end) return 3;
  if (start + 2 >= end) return 0;
  const third = bytes[start + 2]! | fold;
  return ((second === 0x72 || second === 0x76) && third === 0x65) || (second === 0x6c && third === 0x6c) ? 3 : 0;
}
