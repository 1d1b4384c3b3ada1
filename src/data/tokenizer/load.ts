import { ByteFallbackTokenizer } from './byte-fallback.js';
import { ByteLevelTokenizer } from './byte-level.js';
import { TokenizerFile, type TokenizerJson } from './file.js';
import { LibraryBackedTokenizer } from './library.js';
import { type Splitter, splitCl100k, splitGpt2 } from './split.js';
import type { Tokenizer } from './types.js';

const cl100k = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** Split expressions that we have scanners for. */
const splitters: Record<string, Splitter> = {
  [cl100k('\\p{N}{1,3}')]: splitCl100k(3),
  [cl100k('\\p{N}')]: splitCl100k(1),
};

/**
 * Loads a `tokenizer.json`, or the one in a folder.
 *
 * Byte-level BPE of the shapes that GPT-2, Llama 3 and Qwen have, and BPE with byte fallback as Llama 2 has it, are encoded
 * by Strata; any other by Hugging Face's JavaScript library, which `note` then says.
 *
 * @throws InputError naming file and field if it is no tokenizer.
 */
export function loadTokenizer(path: string): Tokenizer {
  const source = new TokenizerFile(path);
  const split = byteLevelSplitter(source.json);
  if (split === undefined) {
    const reason = ByteFallbackTokenizer.unsupported(source);
    return reason === undefined ? new ByteFallbackTokenizer(source) : new LibraryBackedTokenizer(source, reason);
  }
  const reason = unsupported(source);
  if (reason !== undefined) return new LibraryBackedTokenizer(source, reason);
  return new ByteLevelTokenizer(source, {
    split,
    nfc: source.json.normalizer?.type === 'NFC',
    ignoreMerges: source.json.model['ignore_merges'] === true,
  });
}

/** The scanner for a byte-level pre-tokenizer, or undefined if it is none or its expression is not known. */
function byteLevelSplitter(json: TokenizerJson): Splitter | undefined {
  const part = json.pre_tokenizer;
  if (part === null || part === undefined) return undefined;
  if (part.type === 'ByteLevel')
    return part['add_prefix_space'] === false && part['use_regex'] !== false ? splitGpt2 : undefined;
  const [split, byteLevel, ...more] = part.type === 'Sequence' ? objects(part['pretokenizers']) : [];
  if (split === undefined || byteLevel === undefined || more.length > 0) return undefined;
  if (split['type'] !== 'Split' || split['behavior'] !== 'Isolated' || split['invert'] !== false) return undefined;
  if (byteLevel['type'] !== 'ByteLevel' || byteLevel['add_prefix_space'] !== false || byteLevel['use_regex'] !== false)
    return undefined;
  const expression = objects([split['pattern']])[0]?.['Regex'];
  return typeof expression === 'string' ? splitters[expression] : undefined;
}

/** Why a byte-level tokenizer is beyond our encoder, or undefined. */
function unsupported({ json, hasContextualAddedTokens }: TokenizerFile): string | undefined {
  const { model, normalizer, decoder } = json;
  if (model.type !== undefined && model.type !== 'BPE') return `its model is ${model.type}`;
  if (normalizer !== null && normalizer !== undefined && normalizer.type !== 'NFC')
    return `its normalizer is ${normalizer.type}`;
  if (decoder?.type !== 'ByteLevel') return 'its decoder is not byte-level';
  if (hasContextualAddedTokens) return 'it has added tokens that strip blanks or stand for whole words';
  for (const field of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix'])
    if (model[field]) return `its model has ${field}`;
  return model['byte_fallback'] === true ? 'its model falls back to bytes' : undefined;
}

const objects = (list: unknown): Record<string, unknown>[] =>
  Array.isArray(list)
    ? list.map((item: unknown) => (typeof item === 'object' && item !== null ? { ...item } : {}))
    : [];
