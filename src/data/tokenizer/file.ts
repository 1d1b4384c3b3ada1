import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../errors.js';
import { type AddedToken, AddedTokenFinder } from './added-tokens.js';

const MAX_FILE_BYTES = 2 ** 28;
const MAX_ID = 2 ** 24;

/** Names that the end-of-text token goes by where no tokenizer_config.json tells. */
const EOS_NAMES = [
  '<|endoftext|>',
  '</s>',
  '<|end_of_text|>',
  '<|eot_id|>',
  '<|im_end|>',
  '<eos>',
  '<|end▁of▁sentence|>',
  '[EOS]',
];
const BOS_NAMES = ['<s>', '<|begin_of_text|>', '<bos>', '<|begin▁of▁sentence|>', '[BOS]'];

const addedTokenSchema = z.looseObject({
  id: z.int().min(0).max(MAX_ID),
  content: z.string(),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(true),
  special: z.boolean().default(false),
});

const partSchema = z.nullish(z.looseObject({ type: z.string() }));

const fileSchema = z.looseObject({
  added_tokens: z.nullish(z.array(addedTokenSchema)),
  normalizer: partSchema,
  pre_tokenizer: partSchema,
  post_processor: partSchema,
  decoder: partSchema,
  model: z.looseObject({ type: z.string().optional(), vocab: z.unknown(), merges: z.unknown().optional() }),
});

/** The parts of a tokenizer.json as parsed. */
export type TokenizerJson = z.infer<typeof fileSchema>;

/** A tokenizer.json, read and checked, with what every encoder needs from it. */
export class TokenizerFile {
  readonly file: string;
  readonly hash: string;
  readonly json: TokenizerJson;
  readonly config: Record<string, unknown>;
  /** Model vocabulary; empty for kinds whose vocabulary is no table of strings (Unigram). */
  readonly vocab: ReadonlyMap<string, number>;
  readonly vocabSize: number;
  readonly eosId: number | undefined;
  readonly bosId: number | undefined;
  readonly #added: readonly AddedToken[];
  readonly #tokens: (string | undefined)[] = [];
  readonly #special = new Set<number>();

  constructor(path: string) {
    this.file = findFile(path);
    const bytes = readFileSync(this.file);
    this.hash = createHash('sha256').update(bytes).digest('hex');
    this.json = parse(this.file, bytes);
    this.config = readConfig(dirname(this.file));
    this.vocab = readVocab(this.file, this.json.model.vocab);
    for (const [token, id] of this.vocab) this.#tokens[id] = token;
    this.#added = this.json.added_tokens ?? [];
    for (const token of this.#added) {
      this.#tokens[token.id] = token.content;
      if (token.special) this.#special.add(token.id);
    }
    this.vocabSize = this.#tokens.length;
    if (this.vocabSize === 0)
      throw new InputError(`${this.file}: model.vocab: expected at least one entry, found none.`);
    this.eosId = this.#namedToken('eos_token', EOS_NAMES);
    this.bosId = this.#namedToken('bos_token', BOS_NAMES);
  }

  idOf(token: string): number | undefined {
    return this.#added.find(({ content }) => content === token)?.id ?? this.vocab.get(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /** Merges as ids, in order of rank. */
  mergeIds(): [left: number, right: number, merged: number][] {
    const merges: unknown = this.json.model.merges;
    if (!Array.isArray(merges))
      throw new InputError(`${this.file}: model.merges: expected a list, found ${describe(merges)}.`);
    return merges.map((merge: unknown, rank) => {
      const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
      const [left, right]: unknown[] = Array.isArray(pair) && pair.length === 2 ? pair : [];
      const ids =
        typeof left === 'string' && typeof right === 'string'
          ? ([this.vocab.get(left), this.vocab.get(right), this.vocab.get(left + right)] as const)
          : [];
      if (ids[0] === undefined || ids[1] === undefined || ids[2] === undefined)
        throw new InputError(
          `${this.file}: model.merges[${rank}]: expected two entries of model.vocab that join to a third, found ${JSON.stringify(merge)}.`,
        );
      return [ids[0], ids[1], ids[2]];
    });
  }

  /** True if an added token asks for more than to be found in the text. */
  get hasContextualAddedTokens(): boolean {
    return (this.json.added_tokens ?? []).some((token) => token.lstrip || token.rstrip || token.single_word);
  }

  get hasAddedTokenWithBlank(): boolean {
    return this.#added.some(({ content }) => content.includes(' '));
  }

  /** Finders for added tokens, in the order in which they are applied: those outside normalization first. */
  addedTokenFinders(): AddedTokenFinder[] {
    return [false, true]
      .map((normalized) => this.#added.filter((token) => token.normalized === normalized))
      .filter((tokens) => tokens.length > 0)
      .map((tokens) => new AddedTokenFinder(tokens));
  }

  /** Ids with what the post-processor puts before and behind a single text. */
  withSpecialTokens(ids: Int32Array): Int32Array {
    const { before, behind } = specialTokens(this.file, this.json.post_processor);
    return Int32Array.from([...before, ...ids, ...behind]);
  }

  #namedToken(field: string, names: readonly string[]): number | undefined {
    const configured: unknown = this.config[field];
    const name =
      typeof configured === 'object' && configured !== null && 'content' in configured
        ? configured.content
        : configured;
    if (typeof name === 'string') return this.idOf(name);
    const known = names.find((candidate) => this.idOf(candidate) !== undefined);
    return known === undefined ? undefined : this.idOf(known);
  }
}

function findFile(path: string): string {
  if (!existsSync(path))
    throw new InputError(`${path}: expected a tokenizer.json or a folder with one, found nothing.`);
  if (!statSync(path).isDirectory()) return path;
  const file = join(path, 'tokenizer.json');
  if (!existsSync(file)) throw new InputError(`${path}: expected a tokenizer.json in this folder, found none.`);
  return file;
}

function parse(file: string, bytes: Buffer): TokenizerJson {
  if (bytes.length > MAX_FILE_BYTES)
    throw new InputError(`${file}: expected at most ${MAX_FILE_BYTES} bytes, found ${bytes.length}.`);
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new InputError(`${file}: expected JSON, found ${error instanceof Error ? error.message : String(error)}.`);
  }
  const result = fileSchema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new InputError(
    `${file}: ${issue ? `${z.core.toDotPath(issue.path)}: ${issue.message}` : 'not a tokenizer.json'}.`,
  );
}

function readConfig(folder: string): Record<string, unknown> {
  const file = join(folder, 'tokenizer_config.json');
  if (!existsSync(file)) return {};
  try {
    const json: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return typeof json === 'object' && json !== null ? { ...json } : {};
  } catch (error) {
    throw new InputError(`${file}: expected JSON, found ${error instanceof Error ? error.message : String(error)}.`);
  }
}

function readVocab(file: string, vocab: unknown): Map<string, number> {
  if (Array.isArray(vocab)) return readUnigramVocab(file, vocab);
  if (typeof vocab !== 'object' || vocab === null)
    throw new InputError(`${file}: model.vocab: expected a table of ids, found ${describe(vocab)}.`);
  const ids = new Map<string, number>();
  const seen = new Set<number>();
  for (const [token, id] of Object.entries(vocab)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > MAX_ID)
      throw new InputError(
        `${file}: model.vocab[${JSON.stringify(token)}]: expected a whole number of at most ${MAX_ID}, found ${describe(id)}.`,
      );
    if (seen.has(id))
      throw new InputError(
        `${file}: model.vocab[${JSON.stringify(token)}]: expected an id of its own, found ${id} a second time.`,
      );
    seen.add(id);
    ids.set(token, id);
  }
  return ids;
}

function readUnigramVocab(file: string, vocab: readonly unknown[]): Map<string, number> {
  return new Map(
    vocab.map((entry, id) => {
      if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'number')
        throw new InputError(`${file}: model.vocab[${id}]: expected a token and its score, found ${describe(entry)}.`);
      return [entry[0], id] as const;
    }),
  );
}

const templateSchema = z.looseObject({
  single: z.array(z.looseObject({ SpecialToken: z.looseObject({ id: z.string() }).optional() })),
  special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int()) })),
});

function specialTokens(
  file: string,
  processor: TokenizerJson['post_processor'],
): { before: number[]; behind: number[] } {
  const before: number[] = [];
  const behind: number[] = [];
  const parts =
    processor?.type === 'Sequence' && Array.isArray(processor['processors']) ? processor['processors'] : [processor];
  for (const part of parts as unknown[]) {
    if (typeof part !== 'object' || part === null || !('type' in part) || part.type !== 'TemplateProcessing') continue;
    const template = templateSchema.safeParse(part);
    if (!template.success)
      throw new InputError(`${file}: post_processor: expected a template of tokens, found another shape.`);
    let list = before;
    for (const piece of template.data.single) {
      if (piece.SpecialToken === undefined) list = behind;
      else list.push(...(template.data.special_tokens[piece.SpecialToken.id]?.ids ?? []));
    }
  }
  return { before, behind };
}

/** A value in a message: short and in words. */
function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  return JSON.stringify(value).slice(0, 60);
}
