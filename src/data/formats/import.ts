import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { Conversion } from '../shards/conversion.js';
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
  readonly tokensPerShard?: number;
  readonly onProgress?: (tokens: number, total: number) => void;
}

/** The file that is read, and its tokens that were. */
interface TokenPosition {
  readonly file: number;
  readonly tokens: number;
}

/**
 * Makes a data set out of token files that another program wrote. Documents end where EOS stands.
 *
 * After a kill the same call goes on at the last whole shard, to the same result.
 *
 * @throws InputError if a file is none, or holds ids beyond the tokenizer's vocabulary.
 */
export function importTokens(options: ImportOptions): ShardIndex {
  const { out, split = 'train', tokensPerShard = TOKENS_PER_SHARD } = options;
  const tokenizer = loadTokenizer(options.tokenizer);
  const eosId = options.eos === undefined ? tokenizer.eosId : tokenizer.tokenToId(options.eos);
  if (eosId === undefined)
    throw new InputError(`${tokenizer.file}: expected a token that ends a document, found none; name it with --eos.`);
  const files = options.inputs.map(describeTokenFile);
  const total = files.reduce((sum, { tokens }) => sum + tokens, 0);
  const stamps = files.map(({ path, format, tokens }) => [path, format, tokens, statSync(path).mtimeMs]);
  const conversion = new Conversion<TokenPosition>(out, {
    ...{ kind: 'import', files: stamps, tokenizer: tokenizer.hash, eosId, split, tokensPerShard },
  });
  const dtype = dtypeFor(tokenizer.vocabSize);
  const writer = new ShardWriter(conversion.folder, dtype, tokensPerShard, conversion.writerState);
  const start = conversion.position ?? { file: 0, tokens: 0 };
  try {
    let done = writer.totals.tokens;
    for (const [number, file] of files.entries()) {
      if (number < start.file) continue;
      let at = number === start.file ? start.tokens : 0;
      for (const tokens of readTokenFile(file, { from: at })) {
        const high = tokens.find((id) => id >= tokenizer.vocabSize);
        if (high !== undefined)
          throw new InputError(
            `${file.path}: expected ids below ${tokenizer.vocabSize}, found ${high}: another tokenizer?`,
          );
        const own = dtype === 'uint16' ? Uint16Array.from(tokens) : Uint32Array.from(tokens);
        const text = tokenizer.decode(own, { skipSpecialTokens: true });
        at += own.length;
        const closed = writer.append(own, endsOf(own, eosId), Buffer.byteLength(text));
        if (closed) conversion.save({ file: number, tokens: at }, writer);
        options.onProgress?.((done += own.length), total);
      }
    }
    writeFileAtomic(join(conversion.folder, 'tokenizer.json'), readFileSync(tokenizer.file));
    const index = writer.finish({
      split,
      vocabSize: tokenizer.vocabSize,
      tokenizer: { file: 'tokenizer.json', sha256: tokenizer.hash, eosId },
      sources: files.map(({ path, tokens, bytesPerToken }) => ({ path, bytes: tokens * bytesPerToken })),
      steps: [{ name: 'import', formats: [...new Set(files.map(({ format }) => format))] }],
    });
    conversion.publish();
    return index;
  } catch (error) {
    writer.abandon();
    // What a full disk has stopped can go on; what is wrong in the files stays wrong.
    if (error instanceof InputError) conversion.discard();
    throw error;
  }
}

function endsOf(tokens: Uint16Array | Uint32Array, eosId: number): Uint32Array {
  const ends: number[] = [];
  for (let at = tokens.indexOf(eosId); at >= 0; at = tokens.indexOf(eosId, at + 1)) ends.push(at + 1);
  return Uint32Array.from(ends);
}
