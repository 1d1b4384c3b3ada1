import { CLASSIFIED_CODE_POINTS, LETTER, NUMBER, codePointClasses } from '../tokenizer/unicode.js';

/** Called for each word: its bytes are `utf8[start..end)`. */
export type OnWord = (start: number, end: number) => void;

/** Finds the words of a text: runs of letters and digits of any script. */
export function forEachWord(utf8: Uint8Array, onWord: OnWord): void {
  let start = -1;
  for (let at = 0; at < utf8.length; ) {
    const lead = utf8[at]!;
    const width = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const kind = classOf(utf8, at, lead, width);
    if (kind === LETTER || kind === NUMBER) {
      if (start < 0) start = at;
    } else if (start >= 0) {
      onWord(start, at);
      start = -1;
    }
    at += width;
  }
  if (start >= 0) onWord(start, utf8.length);
}

function classOf(utf8: Uint8Array, at: number, lead: number, width: number): number {
  let codePoint = width === 1 ? lead : lead & (0xff >> (width + 1));
  for (let i = 1; i < width; i++) codePoint = (codePoint << 6) | (utf8[at + i]! & 0x3f);
  return codePoint < CLASSIFIED_CODE_POINTS ? codePointClasses[codePoint]! : 0;
}

/** Hash of a word, ASCII letters taken as lower case. */
export function wordHash(utf8: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) {
    const byte = utf8[i]!;
    hash = Math.imul(hash ^ (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte), 0x01000193);
  }
  return hash ^ (hash >>> 15);
}
