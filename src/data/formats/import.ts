import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { publishFolder, writeFileAtomic } from '../../files/atomic.js';
import { type ShardIndex, dtypeFor } from '../shards/index-file.js';
import { ShardWriter } from '../shards/writer.js';
import { loadTokenizer } from '../tokenizer/load.js';
import { describeTokenFile, readTokenFile } from './token-file.js';

const TOKENS_PER_SHARD = 2 ** 27;

export interface ImportOptions {
  /** Token files of nanoGPT, llm.c or Megatron, in order. */
  readonly inputs: readonly string[];
  /** The tokenizer that made them. */
  readonly tokenizer: string;
  /** Folder for the data set, which must not exist. */
  readonly out: string;
  readonly split?: 'train' | 'validation';
  /** The token that ends a document, where the tokenizer does not tell. */
  readonly eos?: string;
  readonly onProgress?: (tokens: number, total: number) => void;
}

/**
 * Makes a data set out of token files that another program wrote. Documents end where EOS stands.
 *
 * @throws InputError if a file is none, or holds ids beyond the tokenizer's vocabulary.
 */
export function importTokens(options: ImportOptions): ShardIndex {
  const { out, split = 'train' } = options;
  if (existsSync(out)) throw new InputError(`${out}: expected a new folder, found one that exists.`);
  const tokenizer = loadTokenizer(options.tokenizer);
  const eosId = options.eos === undefined ? tokenizer.eosId : tokenizer.tokenToId(options.eos);
  if (eosId === undefined)
    throw new InputError(`${tokenizer.file}: expected a token that ends a document, found none; name it with --eos.`);
  const files = options.inputs.map(describeTokenFile);
  const total = files.reduce((sum, { tokens }) => sum + tokens, 0);
  const temporary = `${out}.partial`;
  rmSync(temporary, { recursive: true, force: true });
  const dtype = dtypeFor(tokenizer.vocabSize);
  const writer = new ShardWriter(temporary, dtype, TOKENS_PER_SHARD);
  try {
    let done = 0;
    for (const file of files)
      for (const tokens of readTokenFile(file)) {
        const high = tokens.find((id) => id >= tokenizer.vocabSize);
        if (high !== undefined)
          throw new InputError(
            `${file.path}: expected ids below ${tokenizer.vocabSize}, found ${high}: another tokenizer?`,
          );
        const own = dtype === 'uint16' ? Uint16Array.from(tokens) : Uint32Array.from(tokens);
        const text = tokenizer.decode(own, { skipSpecialTokens: true });
        writer.append(own, endsOf(own, eosId), Buffer.byteLength(text));
        options.onProgress?.((done += own.length), total);
      }
    writeFileAtomic(join(temporary, 'tokenizer.json'), readFileSync(tokenizer.file));
    const index = writer.finish({
      split,
      vocabSize: tokenizer.vocabSize,
      tokenizer: { file: 'tokenizer.json', sha256: tokenizer.hash, eosId },
      sources: files.map(({ path, tokens, bytesPerToken }) => ({ path, bytes: tokens * bytesPerToken })),
      steps: [{ name: 'import', formats: [...new Set(files.map(({ format }) => format))] }],
    });
    publishFolder(temporary, out);
    return index;
  } catch (error) {
    writer.abandon();
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

function endsOf(tokens: Uint16Array | Uint32Array, eosId: number): Uint32Array {
  const ends: number[] = [];
  for (let at = tokens.indexOf(eosId); at >= 0; at = tokens.indexOf(eosId, at + 1)) ends.push(at + 1);
  return Uint32Array.from(ends);
}
