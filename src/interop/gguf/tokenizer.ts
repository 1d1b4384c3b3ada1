import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TokenizerFile } from '../../data/index.js';
import { bool, type GgufValue, text, u32 } from './format.js';

const enum TokenType {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6,
}

/** Words that tell llama.cpp which expression splits text into pieces, by what the expression has that others lack. */
const splitters: readonly (readonly [pre: string, sign: string])[] = [
  ['qwen2', '|\\p{N}| ?[^\\s\\p{L}\\p{N}]+'],
  ['llama-bpe', '\\p{N}{1,3}'],
];

/**
 * What llama.cpp needs to tokenize, from a folder's tokenizer.json; empty where there is none or of a kind that it does not know.
 *
 * Byte-level BPE becomes its `gpt2` model with merges; BPE with byte fallback (Llama 2) its `llama` model, with scores that fall with the rank of the
 * merge that makes a token, so that the same pieces join first.
 */
export function tokenizerMetadata(folder: string, vocabulary: number): Map<string, GgufValue> {
  if (!existsSync(join(folder, 'tokenizer.json'))) return new Map();
  const file = new TokenizerFile(folder);
  const { model } = file.json;
  if (model.type !== 'BPE') return new Map();
  const isFallback = model['byte_fallback'] === true;
  const tokens = Array.from({ length: vocabulary }, (_, id) => file.tokenOf(id));
  const types = tokens.map((token, id) => typeOf(file, token, id, isFallback));
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', text(isFallback ? 'llama' : 'gpt2')],
    ['tokenizer.ggml.pre', text(isFallback ? 'default' : splitterOf(file))],
    ['tokenizer.ggml.tokens', { type: 'strings', value: tokens.map((token, id) => token ?? `[PAD${id}]`) }],
    ['tokenizer.ggml.token_type', { type: 'i32s', value: types }],
  ]);
  if (isFallback) metadata.set('tokenizer.ggml.scores', { type: 'f32s', value: scoresOf(file, tokens, types) });
  else metadata.set('tokenizer.ggml.merges', { type: 'strings', value: mergesOf(file) });
  if (file.bosId !== undefined) metadata.set('tokenizer.ggml.bos_token_id', u32(file.bosId));
  if (file.eosId !== undefined) metadata.set('tokenizer.ggml.eos_token_id', u32(file.eosId));
  const unknown = typeof model['unk_token'] === 'string' ? file.idOf(model['unk_token']) : undefined;
  if (unknown !== undefined) metadata.set('tokenizer.ggml.unknown_token_id', u32(unknown));
  metadata.set(
    'tokenizer.ggml.add_bos_token',
    bool(JSON.stringify(file.json.post_processor ?? null).includes('"SpecialToken"')),
  );
  const template = chatTemplate(folder, file);
  if (template !== undefined) metadata.set('tokenizer.chat_template', text(template));
  return metadata;
}

function typeOf(file: TokenizerFile, token: string | undefined, id: number, isFallback: boolean): TokenType {
  if (token === undefined) return TokenType.Unused;
  if (token === file.json.model['unk_token']) return TokenType.Unknown;
  if (file.isSpecial(id)) return TokenType.Control;
  if (isFallback && /^<0x[0-9A-F]{2}>$/.test(token)) return TokenType.Byte;
  return file.vocab.get(token) === id ? TokenType.Normal : TokenType.UserDefined;
}

function splitterOf({ json }: TokenizerFile): string {
  const expressions = JSON.stringify(json.pre_tokenizer ?? null);
  const plain = (sign: string): string => JSON.stringify(sign).slice(1, -1);
  return splitters.find(([, sign]) => expressions.includes(plain(sign)))?.[0] ?? 'gpt-2';
}

const mergesOf = (file: TokenizerFile): string[] =>
  file.mergeIds().map(([left, right]) => `${file.tokenOf(left)} ${file.tokenOf(right)}`);

function scoresOf(file: TokenizerFile, tokens: readonly (string | undefined)[], types: readonly TokenType[]): number[] {
  const ranks = new Map<number, number>();
  file.mergeIds().forEach(([, , merged], rank) => {
    if (!ranks.has(merged)) ranks.set(merged, rank);
  });
  const lowest = ranks.size + 1;
  return tokens.map((_, id) => (types[id] === TokenType.Normal ? -(ranks.get(id) ?? lowest) : 0));
}

function chatTemplate(folder: string, { config }: TokenizerFile): string | undefined {
  const path = join(folder, 'chat_template.jinja');
  if (existsSync(path)) return readFileSync(path, 'utf8');
  return typeof config['chat_template'] === 'string' ? config['chat_template'] : undefined;
}
