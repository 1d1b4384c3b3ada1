import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { InputError } from '../../errors.js';
import type { TokenizerFile } from './file.js';
import type { Tokenizer } from './types.js';
import { decodeBytes } from './utf8.js';

// The library's declarations do not resolve under nodenext: these are the parts that are used.
interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
}
const Constructor = LibraryTokenizer as unknown as new (tokenizer: object, config: object) => Library;

/** Any tokenizer.json through Hugging Face's JavaScript library: right, and slower than our own encoders. */
export class LibraryBackedTokenizer implements Tokenizer {
  readonly kind = 'library';
  readonly splitsAtBlanks = false;
  readonly note: string;
  readonly vocabSize: number;
  readonly hash: string;
  readonly file: string;
  readonly eosId: number | undefined;
  readonly bosId: number | undefined;
  readonly #source: TokenizerFile;
  readonly #library: Library;

  constructor(source: TokenizerFile, reason: string) {
    this.#source = source;
    this.note = `${source.file}: ${reason}, so Hugging Face's JavaScript library encodes (about 1 MB/s a core).`;
    this.vocabSize = source.vocabSize;
    this.hash = source.hash;
    this.file = source.file;
    this.eosId = source.eosId;
    this.bosId = source.bosId;
    try {
      this.#library = new Constructor(source.json, source.config);
    } catch (error) {
      const found = error instanceof Error ? error.message : String(error);
      throw new InputError(`${source.file}: expected a tokenizer that Hugging Face's library reads, found: ${found}.`);
    }
  }

  encode(text: string, options: { addSpecialTokens?: boolean } = {}): Int32Array {
    const { ids } = this.#library.encode(Buffer.from(text).toString(), {
      add_special_tokens: options.addSpecialTokens ?? false,
    });
    return Int32Array.from(ids);
  }

  maxTokens(bytes: number): number {
    // One token a byte at most, but normalizers lengthen text: NFKC up to eighteenfold, and a prefix may be added.
    return bytes * 18 + 8;
  }

  encodeInto(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number): number {
    const ids = this.encode(decodeBytes(utf8.subarray(start, end)));
    out.set(ids, at);
    return at + ids.length;
  }

  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    if (ids.length === 0) return '';
    return this.#library.decode(Array.from(ids), {
      skip_special_tokens: options.skipSpecialTokens ?? false,
      clean_up_tokenization_spaces: false,
    });
  }

  tokenToId(token: string): number | undefined {
    return this.#source.idOf(token);
  }

  idToToken(id: number): string | undefined {
    return this.#source.tokenOf(id);
  }
}
