import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import { type ShardIndex, bytesPerToken, endsFile, readIndex, sampleChecksum } from './shards/index-file.js';

/** One token file of a data set. */
interface OpenShard {
  readonly path: string;
  readonly descriptor: number;
  /** Bytes in front of the first token (headers of others' formats). */
  readonly offset: number;
  readonly firstToken: number;
  readonly tokens: number;
}

/** A data set: its shards as one long row of tokens. Close it when done. */
export class Dataset {
  readonly folder: string;
  readonly index: ShardIndex;
  /** SHA-256 of what the tokens are: equal for data sets with the same tokens, dtype and tokenizer. */
  readonly identity: string;
  readonly #shards: readonly OpenShard[];
  readonly #bytesPerToken: number;
  #buffer: Buffer;
  #last: OpenShard | undefined;

  constructor(folder: string, index: ShardIndex, shards: readonly OpenShard[]) {
    this.folder = folder;
    this.index = index;
    this.#shards = shards;
    this.#bytesPerToken = bytesPerToken(index.dtype);
    this.#buffer = Buffer.alloc(2 ** 13);
    const identity = createHash('sha256').update(`${index.dtype} ${index.tokenizer.sha256}`);
    for (const shard of index.shards) identity.update(` ${shard.tokens} ${shard.sha256}`);
    this.identity = identity.digest('hex');
  }

  get tokens(): number {
    return this.index.tokens;
  }

  get documents(): number {
    return this.index.documents;
  }

  get vocabSize(): number {
    return this.index.vocabSize;
  }

  /** Bytes of text for each token: turns a loss per token into bits per byte. */
  get bytesPerToken(): number {
    return this.index.textBytes / this.index.tokens;
  }

  /** Path of the tokenizer.json that made the tokens. */
  get tokenizerFile(): string {
    return join(this.folder, this.index.tokenizer.file);
  }

  /** Copies `count` tokens from position `start` to `out[at..]`. */
  read(start: number, count: number, out: Int32Array, at = 0): void {
    if (!Number.isSafeInteger(start) || start < 0 || start + count > this.index.tokens)
      throw new RangeError(`${this.folder}: tokens ${start} to ${start + count} of ${this.index.tokens}`);
    let position = start;
    let to = at;
    let left = count;
    while (left > 0) {
      const shard = this.#shardOf(position);
      const here = Math.min(left, shard.firstToken + shard.tokens - position);
      this.#readShard(shard, position - shard.firstToken, here, out, to);
      position += here;
      to += here;
      left -= here;
    }
  }

  close(): void {
    for (const shard of this.#shards) closeSync(shard.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #readShard(shard: OpenShard, from: number, count: number, out: Int32Array, at: number): void {
    const width = this.#bytesPerToken;
    const size = count * width;
    if (size > this.#buffer.length) this.#buffer = Buffer.alloc(size * 2);
    const buffer = this.#buffer;
    for (let got = 0; got < size; ) {
      const read = readSync(shard.descriptor, buffer, got, size - got, shard.offset + from * width + got);
      if (read === 0) throw new InputError(`${shard.path}: expected ${shard.tokens} tokens, found the file cut off.`);
      got += read;
    }
    if (width === 2)
      for (let i = 0, byte = 0; i < count; i++, byte += 2) out[at + i] = buffer[byte]! | (buffer[byte + 1]! << 8);
    else for (let i = 0; i < count; i++) out[at + i] = buffer.readInt32LE(i * 4);
  }

  #shardOf(position: number): OpenShard {
    const last = this.#last;
    if (last !== undefined && position >= last.firstToken && position < last.firstToken + last.tokens) return last;
    let low = 0;
    let high = this.#shards.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#shards[middle]!.firstToken <= position) low = middle;
      else high = middle - 1;
    }
    return (this.#last = this.#shards[low]!);
  }
}

/**
 * Opens a folder of token shards and checks it cheaply: index, sizes, checksums of both ends of each file.
 *
 * @throws InputError naming file and field.
 */
export function openDataset(folder: string): Dataset {
  const index = readIndex(folder);
  const shards: OpenShard[] = [];
  let firstToken = 0;
  try {
    for (const { file, tokens, documents, sample } of index.shards) {
      const path = join(folder, file);
      const descriptor = open(path);
      shards.push({ path, descriptor, offset: 0, firstToken, tokens });
      checkSize(path, descriptor, tokens * bytesPerToken(index.dtype), `${tokens} tokens`);
      if (sampleChecksum(descriptor) !== sample)
        throw new InputError(
          `${path}: expected the checksum in ${folder}/index.json, found another: the file has changed.`,
        );
      const ends = join(folder, endsFile(file));
      const endsDescriptor = open(ends);
      try {
        checkSize(ends, endsDescriptor, documents * 4, `${documents} documents`);
      } finally {
        closeSync(endsDescriptor);
      }
      firstToken += tokens;
    }
    return new Dataset(folder, index, shards);
  } catch (error) {
    for (const { descriptor } of shards) closeSync(descriptor);
    throw error;
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'r');
  } catch {
    throw new InputError(`${path}: expected a shard that index.json lists, found no file that can be read.`);
  }
}

function checkSize(path: string, descriptor: number, expected: number, what: string): void {
  const { size } = fstatSync(descriptor);
  if (size !== expected) throw new InputError(`${path}: expected ${expected} bytes (${what}), found ${size}.`);
}
