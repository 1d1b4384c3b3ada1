import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../errors.js';
import { publishFolder, writeFileAtomic } from '../../files/atomic.js';
import { dtypeFor, INDEX_FILE, type ShardIndex, maskFile } from '../shards/index-file.js';
import { ShardWriter } from '../shards/writer.js';
import { readBatches } from '../sources/batches.js';
import { expandInputs, type InputFile } from '../sources/inputs.js';
import { loadTokenizer } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/types.js';
import { encodeSegments, segmentsOf } from './encode.js';
import { type ChatTemplate, loadChatTemplate } from './template.js';

/** How conversations become shards. */
export interface ChatOptions {
  /** JSONL files, folders or globs: `{"messages": [{"role": "user", "content": "..."}, ...]}` a line. */
  readonly inputs: readonly string[];
  readonly validation?: readonly string[];
  /** tokenizer.json, or a folder with it and its chat template. */
  readonly tokenizer: string;
  /** A Jinja template in place of the tokenizer's. */
  readonly template?: string;
  /** Folder for train/ and validation/, which must not exist. */
  readonly out: string;
  readonly badRecords?: 'fail' | 'skip';
  readonly onProgress?: (readBytes: number, totalBytes: number) => void;
}

/** What became of a split. */
export interface ChatSplit {
  readonly folder: string;
  readonly conversations: number;
  readonly tokens: number;
  /** Tokens that are trained on. */
  readonly answerTokens: number;
}

/** What a build of conversations came to. */
export interface ChatResult {
  readonly splits: Readonly<Partial<Record<'train' | 'validation', ChatSplit>>>;
  readonly badRecords: number;
  /** Where the chat template came from. */
  readonly template: string;
}

const record = z.object({
  messages: z
    .array(z.object({ role: z.string(), content: z.string() }))
    .refine((messages) => messages.some(({ role }) => role === 'assistant'), 'expected an answer of the assistant'),
});

/**
 * Turns conversations into token shards with a mask of what the assistant says, so that training takes the loss on answers only.
 *
 * Each conversation is a document; the trainer packs them.
 *
 * @throws InputError for a record that is no conversation (unless they are skipped), or where `out` exists.
 */
export async function buildChat(options: ChatOptions): Promise<ChatResult> {
  const { out, badRecords = 'fail', onProgress } = options;
  if (existsSync(out)) throw new InputError(`${out}: expected a new folder, found one that exists.`);
  const tokenizer = loadTokenizer(options.tokenizer);
  const { eosId } = tokenizer;
  if (eosId === undefined)
    throw new InputError(`${tokenizer.file}: expected a tokenizer that names the token behind a document, found none.`);
  const template = await loadChatTemplate(options.tokenizer, tokenizer.idToToken(eosId)!, options.template);
  const files = {
    train: expandInputs(options.inputs, 'jsonl'),
    ...(options.validation === undefined ? {} : { validation: expandInputs(options.validation, 'jsonl') }),
  };
  const total = Object.values(files)
    .flat()
    .reduce((sum, { size }) => sum + size, 0);
  const temporary = `${out}.partial`;
  rmSync(temporary, { recursive: true, force: true });
  const splits: { -readonly [S in 'train' | 'validation']?: ChatSplit } = {};
  let [bad, read] = [0, 0];
  const context = {
    ...{ tokenizer, template, eosId },
    onBad(sentence: string): void {
      if (badRecords === 'fail') throw new InputError(sentence);
      bad++;
    },
    onRead: (bytes: number): void => onProgress?.((read += bytes), total),
  };
  for (const [split, inputs] of Object.entries(files) as ['train' | 'validation', InputFile[]][]) {
    const built = await buildSplit(join(temporary, split), split, inputs, context);
    splits[split] = { ...built, folder: join(out, split) };
  }
  publishFolder(temporary, out);
  return { splits, badRecords: bad, template: template.from };
}

interface ChatContext {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly eosId: number;
  readonly onBad: (sentence: string) => void;
  readonly onRead: (bytes: number) => void;
}

async function buildSplit(
  folder: string,
  split: ShardIndex['split'],
  files: readonly InputFile[],
  { tokenizer, template, eosId, onBad, onRead }: ChatContext,
): Promise<Omit<ChatSplit, 'folder'>> {
  mkdirSync(folder, { recursive: true });
  const dtype = dtypeFor(tokenizer.vocabSize);
  const writer = new ShardWriter(folder, dtype, Infinity);
  const masks: Uint8Array[] = [];
  try {
    for (const file of files)
      for await (const { text, line } of lines(file, onRead)) {
        const segments = conversation(text, template);
        if (typeof segments === 'string') {
          onBad(`${file.path}:${line}: ${segments}.`);
          continue;
        }
        const { ids, mask } = encodeSegments(segments, tokenizer, eosId);
        const tokens = dtype === 'uint16' ? Uint16Array.from(ids) : Uint32Array.from(ids);
        writer.append(
          tokens,
          Uint32Array.of(ids.length),
          Buffer.byteLength(segments.map((part) => part.text).join('')),
        );
        masks.push(mask);
      }
    if (masks.length === 0) throw new InputError(`${files[0]!.path}: expected conversations for ${split}, found none.`);
    writeFileAtomic(join(folder, 'tokenizer.json'), readFileSync(tokenizer.file));
    writeFileAtomic(join(folder, 'tokenizer_config.json'), tokenizerConfig(tokenizer, template, eosId));
    const index = writer.finish({
      split,
      vocabSize: tokenizer.vocabSize,
      tokenizer: { file: 'tokenizer.json', sha256: tokenizer.hash, eosId },
      sources: files.map(({ path, size }) => ({ path, bytes: size })),
      steps: [{ name: 'chat', template: template.source }],
    });
    return { conversations: masks.length, tokens: index.tokens, answerTokens: writeMask(folder, index, masks) };
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

/** Writes the mask beside the one shard, then names it in the index. */
function writeMask(folder: string, index: ShardIndex, masks: readonly Uint8Array[]): number {
  const [shard] = index.shards;
  const mask = Buffer.concat(masks);
  writeFileAtomic(join(folder, maskFile(shard!.file)), mask);
  const maskSha256 = createHash('sha256').update(mask).digest('hex');
  const masked = { ...index, shards: [{ ...shard, maskSha256 }] };
  writeFileAtomic(join(folder, INDEX_FILE), `${JSON.stringify(masked, null, 1)}\n`);
  return mask.reduce((sum, bit) => sum + bit, 0);
}

/** What transformers reads of a tokenizer beside tokenizer.json: the template travels with every checkpoint. */
const tokenizerConfig = (tokenizer: Tokenizer, template: ChatTemplate, eosId: number): string => {
  const eos = tokenizer.idToToken(eosId);
  const bos = tokenizer.bosId === undefined ? eos : tokenizer.idToToken(tokenizer.bosId);
  const fields = {
    ...{ tokenizer_class: 'PreTrainedTokenizerFast', bos_token: bos, eos_token: eos },
    ...{ clean_up_tokenization_spaces: false, chat_template: template.source },
  };
  return `${JSON.stringify(fields, null, 2)}\n`;
};

/** Segments of one line, or what is wrong with it. */
function conversation(text: string, template: ChatTemplate): ReturnType<typeof segmentsOf> | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'expected JSON, found a line that is none';
  }
  const parsed = record.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return `${z.core.toDotPath(issue!.path) || 'record'}: ${issue!.message.replace(/^Invalid input: /, '')}`;
  }
  try {
    return segmentsOf(parsed.data.messages, template);
  } catch (error) {
    return (error as Error).message.replace(/\.$/, '');
  }
}

async function* lines(
  file: InputFile,
  onRead: (bytes: number) => void,
): AsyncGenerator<{ text: string; line: number }> {
  for await (const { bytes, firstLine } of readBatches(file, { field: 'messages', cutText: false, onRead })) {
    const texts = Buffer.from(bytes).toString('utf8').split('\n');
    for (const [i, text] of texts.entries()) if (text.trim() !== '') yield { text, line: firstLine + i };
  }
}
