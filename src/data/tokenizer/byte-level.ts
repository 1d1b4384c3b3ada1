import { type EncodeText, encodeAroundAddedTokens } from './added-tokens.js';
import { byteCharacters, tokenBytes } from './bytes.js';
import type { TokenizerFile } from './file.js';
import { Merges } from './merges.js';
import { PieceEncoder } from './piece-encoder.js';
import type { Splitter } from './split.js';
import { decodeBytes, encodeUtf8 } from './utf8.js';
import type { Tokenizer } from './types.js';
import { InputError } from '../../errors.js';

/** How a byte-level BPE differs from the next: its split expression, its normalizer, whole pieces first. */
export interface ByteLevelOptions {
  readonly split: Splitter;
  /** Text outside ASCII is put into Unicode's composed form first (Qwen). */
  readonly nfc: boolean;
  /** A piece that is a vocabulary entry as a whole is not merged (Llama 3). */
  readonly ignoreMerges: boolean;
}

/** Byte-level BPE (GPT-2, Llama 3, Qwen) on UTF-8 bytes, with a cache of pieces. */
export class ByteLevelTokenizer implements Tokenizer {
  readonly kind = 'byte-level';
  readonly note = undefined;
  readonly vocabSize: number;
  readonly splitsAtBlanks: boolean;
  readonly hash: string;
  readonly file: string;
  readonly eosId: number | undefined;
  readonly bosId: number | undefined;
  readonly #source: TokenizerFile;
  readonly #options: ByteLevelOptions;
  readonly #merges: Merges;
  readonly #byteIds = new Int32Array(256);
  readonly #wholePieces: Map<string, number> | undefined;
  readonly #pieces: PieceEncoder;
  readonly #encode: EncodeText;
  #symbols = new Int32Array(1024);
  #tokenBytes: (Uint8Array | undefined)[] | undefined;

  constructor(source: TokenizerFile, options: ByteLevelOptions) {
    this.#source = source;
    this.#options = options;
    this.vocabSize = source.vocabSize;
    this.splitsAtBlanks = !source.hasAddedTokenWithBlank;
    this.hash = source.hash;
    this.file = source.file;
    this.eosId = source.eosId;
    this.bosId = source.bosId;
    this.#merges = new Merges(source.mergeIds());
    byteCharacters.forEach((character, byte) => {
      const id = source.vocab.get(character);
      if (id === undefined)
        throw new InputError(
          `${source.file}: model.vocab: expected an entry "${character}" for byte ${byte}, found none.`,
        );
      this.#byteIds[byte] = id;
    });
    this.#wholePieces = options.ignoreMerges ? wholePieces(source.vocab) : undefined;
    this.#pieces = new PieceEncoder(options.split, (text, start, end, out, at) =>
      this.#encodePiece(text, start, end, out, at),
    );
    this.#encode = encodeAroundAddedTokens(source.addedTokenFinders(), (utf8, start, end, out, at) =>
      this.#encodePlain(utf8, start, end, out, at),
    );
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
    // Composition can lengthen text: by Unicode's stability policy at most threefold in UTF-8.
    return this.#options.nfc ? bytes * 3 : bytes;
  }

  encodeInto(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number): number {
    return this.#encode(utf8, start, end, out, at);
  }

  #encodePlain(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number): number {
    if (!this.#options.nfc || isAscii(utf8, start, end)) return this.#pieces.encode(utf8, start, end, out, at);
    const composed = encodeUtf8(decodeBytes(utf8.subarray(start, end)).normalize('NFC'));
    return this.#pieces.encode(composed, 0, composed.length, out, at);
  }

  #encodePiece(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number): number {
    const length = end - start;
    const whole = this.#wholePieces?.get(Buffer.from(utf8.buffer, utf8.byteOffset + start, length).toString('latin1'));
    let count = 1;
    if (whole !== undefined) {
      out[at] = whole;
    } else {
      if (length > this.#symbols.length) this.#symbols = new Int32Array(length * 2);
      const symbols = this.#symbols;
      for (let i = 0; i < length; i++) symbols[i] = this.#byteIds[utf8[start + i]!]!;
      count = this.#merges.apply(symbols, length);
      for (let i = 0; i < count; i++) out[at + i] = symbols[i]!;
    }
    return count;
  }

  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    this.#tokenBytes ??= Array.from({ length: this.vocabSize }, (_, id) => {
      const token = this.#source.tokenOf(id);
      return token === undefined ? undefined : (tokenBytes(token) ?? Buffer.from(token));
    });
    const parts: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (options.skipSpecialTokens === true && this.#source.isSpecial(id)) continue;
      const bytes = this.#tokenBytes[id];
      if (bytes !== undefined) parts.push(bytes);
    }
    return decodeBytes(Buffer.concat(parts));
  }

  tokenToId(token: string): number | undefined {
    return this.#source.idOf(token);
  }

  idToToken(id: number): string | undefined {
    return this.#source.tokenOf(id);
  }
}

/** Vocabulary entries by their bytes (one Latin-1 character each). */
function wholePieces(vocab: ReadonlyMap<string, number>): Map<string, number> {
  const pieces = new Map<string, number>();
  for (const [token, id] of vocab) {
    const bytes = tokenBytes(token);
    if (bytes !== undefined) pieces.set(Buffer.from(bytes).toString('latin1'), id);
  }
  return pieces;
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! >= 0x80) return false;
  return true;
}
