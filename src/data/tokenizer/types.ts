/** A text's way to token ids and back. */
export interface Tokenizer {
  /** `byte-level` and `byte-fallback` are Strata's own encoders, `library` is Hugging Face's JavaScript library. */
  readonly kind: 'byte-level' | 'byte-fallback' | 'library';
  /** Why the library is used, for people; undefined for our own encoders. */
  readonly note: string | undefined;
  /** Number of ids: the highest one, added tokens included, plus one. */
  readonly vocabSize: number;
  /** SHA-256 of `tokenizer.json`, in hex. */
  readonly hash: string;
  /** Path of `tokenizer.json`. */
  readonly file: string;
  readonly eosId: number | undefined;
  readonly bosId: number | undefined;
  /** Whether text may be encoded in parts, cut in front of a blank behind a visible ASCII character. */
  readonly splitsAtBlanks: boolean;
  /**
   * Token ids of a text, equal to Hugging Face's.
   *
   * Lone surrogates count as U+FFFD. Special tokens written out in the text become their ids.
   *
   * @param addSpecialTokens Adds what the tokenizer's post-processor adds (BOS, EOS); off by default.
   */
  encode(text: string, options?: { addSpecialTokens?: boolean }): Int32Array;
  /**
   * Encodes UTF-8 bytes into `out` from `at`, without special tokens, allocating nothing per call.
   *
   * @param continued The bytes go on with a text that was cut where `splitsAtBlanks` allows it.
   * @returns Where the ids end in `out`. `out` must have room for `maxTokens(end - start)` more.
   */
  encodeInto(utf8: Uint8Array, start: number, end: number, out: Int32Array, at: number, continued?: boolean): number;
  /** The most tokens that this many bytes of UTF-8 can give. */
  maxTokens(bytes: number): number;
  /** Text of token ids; invalid UTF-8 becomes U+FFFD. */
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
}
