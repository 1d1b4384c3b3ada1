import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { type Dataset, openDataset } from '../dataset.js';
import { bytesPerToken, endsFile, fileSha256, maskFile } from './index-file.js';

const TOKENS_AT_ONCE = 2 ** 18;

/**
 * Checks every byte of a data set: checksums, ids within the vocabulary, documents that end with EOS.
 *
 * @throws InputError naming the file and what is wrong.
 */
export function verifyDataset(folder: string, onProgress: (done: number, total: number) => void = () => {}): void {
  using dataset = openDataset(folder);
  const { index } = dataset;
  const total = 2 * index.tokens * bytesPerToken(index.dtype);
  let done = 0;
  const advance = (bytes: number): void => onProgress((done += bytes), total);
  const tokenizer = createHash('sha256').update(readFileSync(dataset.tokenizerFile)).digest('hex');
  if (tokenizer !== index.tokenizer.sha256)
    throw new InputError(`${dataset.tokenizerFile}: expected SHA-256 ${index.tokenizer.sha256}, found ${tokenizer}.`);
  let firstToken = 0;
  index.shards.forEach((shard, number) => {
    if (shard.maskSha256 !== undefined) {
      const mask = join(folder, maskFile(shard.file));
      const found = fileSha256(mask);
      if (found !== shard.maskSha256)
        throw new InputError(`${mask}: expected SHA-256 ${shard.maskSha256}, found ${found}.`);
    }
    for (const [path, expected] of [
      [join(folder, shard.file), shard.sha256],
      [join(folder, endsFile(shard.file)), shard.endsSha256],
    ] as const) {
      const found = fileSha256(path, advance);
      if (found !== expected) throw new InputError(`${path}: expected SHA-256 ${expected}, found ${found}.`);
    }
    verifyContent(dataset, number, firstToken, advance);
    firstToken += shard.tokens;
  });
}

function verifyContent(dataset: Dataset, number: number, firstToken: number, advance: (bytes: number) => void): void {
  const { index, folder } = dataset;
  const shard = index.shards[number]!;
  const path = join(folder, shard.file);
  const tokens = new Int32Array(Math.min(TOKENS_AT_ONCE, shard.tokens));
  const ends = dataset.shardEnds(number);
  let next = 0;
  for (let at = 0; at < shard.tokens; at += tokens.length) {
    const count = Math.min(tokens.length, shard.tokens - at);
    dataset.read(firstToken + at, count, tokens);
    for (let i = 0; i < count; i++)
      if (tokens[i]! >= index.vocabSize)
        throw new InputError(`${path}: token ${at + i}: expected an id below ${index.vocabSize}, found ${tokens[i]}.`);
    for (; next < ends.length && ends[next]! <= at + count; next++) {
      const end = ends[next]!;
      if (end <= (next === 0 ? 0 : ends[next - 1]!) || tokens[end - 1 - at] !== index.tokenizer.eosId)
        throw new InputError(`${path}: document ${next}: expected EOS in front of token ${end}, found another id.`);
    }
    advance(count * bytesPerToken(index.dtype));
  }
  if (next < ends.length)
    throw new InputError(
      `${path}: document ${next}: expected an end within ${shard.tokens} tokens, found ${ends[next]}.`,
    );
}
