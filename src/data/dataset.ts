import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import { type ShardIndex, bytesPerToken, endsFile, maskFile, readIndex, sampleChecksum } from './shards/index-file.js';

/** One token file of a data set. */
interface OpenShard {
  readonly path: string;
  readonly descriptor: number;
  readonly firstToken: number;
  readonly tokens: number;
  readonly endsDescriptor: number;
  /** The mask of tokens that are trained on. */
  readonly maskDescriptor: number | undefined;
  readonly firstDocument: number;
  readonly documents: number;
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
  readonly #end = Buffer.alloc(4);

  constructor(folder: string, index: ShardIndex, shards: readonly OpenShard[]) {
    this.folder = folder;
    this.index = index;
    this.#shards = shards;
    this.#bytesPerToken = bytesPerToken(index.dtype);
    this.#buffer = Buffer.alloc(2 ** 13);
    const identity = createHash('sha256').update(`${index.dtype} ${index.tokenizer.sha256}`);
    for (const shard of index.shards)
      identity.update(
        ` ${shard.tokens} ${shard.sha256}${shard.maskSha256 === undefined ? '' : ` ${shard.maskSha256}`}`,
      );
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

  /** Whether only some of the tokens are trained on: answers in conversations. */
  get masked(): boolean {
    return this.#shards.some(({ maskDescriptor }) => maskDescriptor !== undefined);
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

  /** Which of `out.length` tokens from position `start` on are trained on: 1 or 0 each. */
  readMask(start: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(start) || start < 0 || start + out.length > this.index.tokens)
      throw new RangeError(`${this.folder}: tokens ${start} to ${start + out.length} of ${this.index.tokens}`);
    for (let done = 0; done < out.length; ) {
      const shard = this.#shardOf(start + done);
      const from = start + done - shard.firstToken;
      const here = Math.min(out.length - done, shard.tokens - from);
      const part = out.subarray(done, done + here);
      if (shard.maskDescriptor === undefined) part.fill(1);
      else readFully(shard.maskDescriptor, part, from);
      done += here;
    }
  }

  /** Where document `document` lies in the row of tokens, its EOS included. */
  documentRange(document: number): { start: number; end: number } {
    if (!Number.isSafeInteger(document) || document < 0 || document >= this.index.documents)
      throw new RangeError(`${this.folder}: document ${document} of ${this.index.documents}`);
    return { start: document === 0 ? 0 : this.#endOf(document - 1), end: this.#endOf(document) };
  }

  /** The document that token `position` belongs to; `documents` behind the last end. */
  documentAt(position: number): number {
    let low = 0;
    let high = this.index.documents;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#endOf(middle) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Ends of a shard's documents, in tokens from the shard's start. */
  shardEnds(shard: number): Uint32Array {
    const { endsDescriptor, documents } = this.#shards[shard]!;
    const bytes = new Uint8Array(documents * 4);
    readFully(endsDescriptor, bytes, 0);
    return new Uint32Array(bytes.buffer);
  }

  #endOf(document: number): number {
    const shard = findLast(this.#shards, (candidate) => candidate.firstDocument <= document);
    readFully(shard.endsDescriptor, this.#end, (document - shard.firstDocument) * 4);
    return shard.firstToken + this.#end.readUInt32LE(0);
  }

  close(): void {
    closeShards(this.#shards);
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
      const read = readSync(shard.descriptor, buffer, got, size - got, from * width + got);
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
    return (this.#last = findLast(this.#shards, (shard) => shard.firstToken <= position));
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
  let firstDocument = 0;
  try {
    for (const { file, tokens, documents, sample, maskSha256 } of index.shards) {
      const path = join(folder, file);
      const descriptor = openOr(path);
      const ends = join(folder, endsFile(file));
      const endsDescriptor = openOr(ends, () => closeSync(descriptor));
      const shard = { path, descriptor, firstToken, tokens, endsDescriptor, firstDocument, documents };
      const mask = join(folder, maskFile(file));
      shards.push({ ...shard, maskDescriptor: undefined });
      if (maskSha256 !== undefined) {
        const maskDescriptor = openOr(mask);
        shards[shards.length - 1] = { ...shard, maskDescriptor };
        checkSize(mask, maskDescriptor, tokens, `${tokens} tokens`);
      }
      checkSize(path, descriptor, tokens * bytesPerToken(index.dtype), `${tokens} tokens`);
      if (sampleChecksum(descriptor) !== sample)
        throw new InputError(
          `${path}: expected the checksum in ${folder}/index.json, found another: the file has changed.`,
        );
      checkSize(ends, endsDescriptor, documents * 4, `${documents} documents`);
      firstToken += tokens;
      firstDocument += documents;
    }
    return new Dataset(folder, index, shards);
  } catch (error) {
    closeShards(shards);
    throw error;
  }
}

function closeShards(shards: readonly OpenShard[]): void {
  for (const { descriptor, endsDescriptor, maskDescriptor } of shards)
    for (const file of [descriptor, endsDescriptor, maskDescriptor]) if (file !== undefined) closeSync(file);
}

function openOr(path: string, onFailure: () => void = () => {}): number {
  try {
    return openSync(path, 'r');
  } catch {
    onFailure();
    throw new InputError(`${path}: expected a shard that index.json lists, found no file that can be read.`);
  }
}

/** The last of an ascending list that fits; the first always does. */
function findLast<T>(list: readonly T[], fits: (item: T) => boolean): T {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits(list[middle]!)) low = middle;
    else high = middle - 1;
  }
  return list[low]!;
}

function readFully(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let got = 0; got < bytes.length; ) {
    const read = readSync(descriptor, bytes, got, bytes.length - got, position + got);
    if (read === 0) throw new InputError('a file of document ends was cut off while it was read.');
    got += read;
  }
}

function checkSize(path: string, descriptor: number, expected: number, what: string): void {
  const { size } = fstatSync(descriptor);
  if (size !== expected) throw new InputError(`${path}: expected ${expected} bytes (${what}), found ${size}.`);
}
