import { type EncodeText, encodeAroundAddedTokens } from './added-tokens.js';
import type { TokenizerFile, TokenizerJson } from './file.js';
import { Merges } from './merges.js';
import { PieceEncoder } from './piece-encoder.js';
import type { Splitter } from './split.js';
import type { Tokenizer } from './types.js';
import { encodeUtf8 } from './utf8.js';

/** U+2581, which stands for a blank in SentencePiece's vocabularies. */
const BLANK_SYMBOL = '\u2581';
const BLANK_SYMBOL_BYTES = [0xe2, 0x96, 0x81] as const;
const BLANK = 0x20;

/**
 * SentencePiece-style BPE with byte fallback (Llama 2, Mistral, TinyLlama).
 *
 * Such a tokenizer merges over the whole text, but as long as no merge joins something to a blank behind it, words with
 * the blanks in front of them can be merged one by one, and remembered; `supports` checks that.
 */
export class ByteFallbackTokenizer implements Tokenizer {
  readonly kind = 'byte-fallback';
  readonly note = undefined;
  readonly vocabSize: number;
  readonly hash: string;
  readonly file: string;
  readonly eosId: number | undefined;
  readonly bosId: number | undefined;
  readonly splitsAtBlanks: boolean;
  readonly #source: TokenizerFile;
  readonly #merges: Merges;
  readonly #byteIds: readonly number[];
  readonly #blankId: number;
  readonly #characterIds = new Map<number, number>();
  readonly #pieces: PieceEncoder;
  readonly #encode: EncodeText;
  #symbols = new Int32Array(1024);
  /** Where text begins that has no blank put in front, or -1. */
  #continuedFrom = -1;

  constructor(source: TokenizerFile) {
    this.#source = source;
    this.vocabSize = source.vocabSize;
    this.hash = source.hash;
    this.file = source.file;
    this.eosId = source.eosId;
    this.bosId = source.bosId;
    this.splitsAtBlanks = !source.hasAddedTokenWithBlank;
    this.#merges = new Merges(source.mergeIds());
    this.#byteIds = byteTokens().map((token) => source.vocab.get(token) ?? 0);
    this.#blankId = source.vocab.get(BLANK_SYMBOL) ?? 0;
    for (const [token, id] of source.vocab) {
      const codePoint = token.codePointAt(0);
      if (codePoint !== undefined && token.length === String.fromCodePoint(codePoint).length)
        this.#characterIds.set(codePoint, id);
    }
    this.#pieces = new PieceEncoder(splitWords, (text, start, end, out, at) =>
      this.#encodePiece(text, start, end, out, at),
    );
    this.#encode = encodeAroundAddedTokens(source.addedTokenFinders(), (utf8, start, end, out, at) =>
      this.#pieces.encode(utf8, start, end, out, at, start === this.#continuedFrom ? undefined : BLANK),
    );
  }

  /** Why this class cannot encode a tokenizer.json, or undefined if it can. */
  static unsupported({ json, vocab, hasContextualAddedTokens }: TokenizerFile): string | undefined {
    if (json.model.type !== 'BPE' || json.model['byte_fallback'] !== true) return 'its kind has no encoder of our own';
    if (!prependsAndReplacesBlanks(json)) return 'its normalizer is not the one that Llama 2 has';
    if (json.pre_tokenizer !== null && json.pre_tokenizer !== undefined) return 'it has a pre-tokenizer';
    if (hasContextualAddedTokens) return 'it has added tokens that strip blanks or stand for whole words';
    if (json.model['dropout'] || json.model['ignore_merges'] === true) return 'its model has dropout or ignores merges';
    if (![...byteTokens(), BLANK_SYMBOL].every((token) => vocab.has(token))) return 'its vocabulary lacks bytes';
    return joinsBlankBehind(json.model.merges) ? 'its merges go across words' : undefined;
  }

  encode(text: string, options: { addSpecialTokens?: boolean } = {}): Int32Array {
    const bytes = encodeUtf8(text);
    const ids = new Int32Array(this.maxTokens(bytes.length));
    const count = this.encodeInto(bytes, 0, bytes.length, ids, 0);
    return options.addSpecialTokens === true
      ? this.#source.withSpecialTokens(ids.subarray(0, count))
      : ids.slice(0, count);
  }

  maxTokens(bytes: number): number {
    // Each stretch of text between added tokens, which are at least a byte long, gets a blank in front.
    return bytes * 2 + 1;
  }

  encodeInto(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number, continued = false): number {
    this.#continuedFrom = continued ? start : -1;
    return this.#encode(utf8, start, end, out, at);
  }

  #encodePiece(text: Uint8Array, start: number, end: number, out: Int32Array, at: number): number {
    if (end - start > this.#symbols.length) this.#symbols = new Int32Array((end - start) * 2);
    const symbols = this.#symbols;
    let count = 0;
    for (let from = start; from < end; ) {
      const lead = text[from]!;
      const width = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      const id = lead === BLANK ? this.#blankId : this.#characterIds.get(codePointAt(text, from, width));
      if (id !== undefined) symbols[count++] = id;
      else for (let i = 0; i < width; i++) symbols[count++] = this.#byteIds[text[from + i]!]!;
      from += width;
    }
    count = this.#merges.apply(symbols, count);
    for (let i = 0; i < count; i++) out[at + i] = symbols[i]!;
    return count;
  }

  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    let text = '';
    let bytes: number[] = [];
    const flush = (): void => {
      if (bytes.length > 0) text += fallbackText(Uint8Array.from(bytes));
      bytes = [];
    };
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      const token = this.#source.tokenOf(id);
      if (token === undefined || (options.skipSpecialTokens === true && this.#source.isSpecial(id))) continue;
      const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
      if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
      else {
        flush();
        text += token.replaceAll(BLANK_SYMBOL, ' ');
      }
    }
    flush();
    return text.startsWith(' ') ? text.slice(1) : text;
  }

  tokenToId(token: string): number | undefined {
    return this.#source.idOf(token);
  }

  idToToken(id: number): string | undefined {
    return this.#source.tokenOf(id);
  }
}

/** Splits into words with the blanks in front of them; a blank is U+0020 or U+2581. */
const splitWords: Splitter = (bytes, start, end, ends) => {
  let count = 0;
  for (let at = start; at < end && count < ends.length; ends[count++] = at) {
    for (let blank = blankWidth(bytes, at); at < end && blank > 0; blank = blankWidth(bytes, at)) at += blank;
    while (at < end) {
      const byte = bytes[at]!;
      if (byte === BLANK || (byte === BLANK_SYMBOL_BYTES[0] && blankWidth(bytes, at) > 0)) break;
      at++;
    }
  }
  return count;
};

function blankWidth(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead === BLANK) return 1;
  if (lead !== BLANK_SYMBOL_BYTES[0]) return 0;
  return bytes[at + 1] === BLANK_SYMBOL_BYTES[1] && bytes[at + 2] === BLANK_SYMBOL_BYTES[2] ? 3 : 0;
}

function codePointAt(bytes: Uint8Array, at: number, width: number): number {
  const lead = bytes[at]!;
  if (width === 1) return lead;
  let codePoint = lead & (0xff >> (width + 1));
  for (let i = 1; i < width; i++) codePoint = (codePoint << 6) | (bytes[at + i]! & 0x3f);
  return codePoint;
}

const byteTokens = (): string[] =>
  Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);

/** Bytes as text if they are UTF-8, else each as U+FFFD: so does Hugging Face's ByteFallback decoder. */
function fallbackText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return '\ufffd'.repeat(bytes.length);
  }
}

const LLAMA_NORMALIZER = JSON.stringify([
  { type: 'Prepend', prepend: BLANK_SYMBOL },
  { type: 'Replace', pattern: { String: ' ' }, content: BLANK_SYMBOL },
]);

const prependsAndReplacesBlanks = ({ normalizer }: TokenizerJson): boolean =>
  normalizer?.type === 'Sequence' && JSON.stringify(normalizer['normalizers']) === LLAMA_NORMALIZER;

/** Whether a merge joins something to a blank behind it. */
function joinsBlankBehind(merges: unknown): boolean {
  if (!Array.isArray(merges)) return true;
  return merges.some((merge: unknown) => {
    const [left, right]: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    return typeof left !== 'string' || typeof right !== 'string'
      ? true
      : !left.endsWith(BLANK_SYMBOL) && right.startsWith(BLANK_SYMBOL);
  });
}
