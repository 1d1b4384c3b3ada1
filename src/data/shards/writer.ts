import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { WorkError } from '../../errors.js';
import { syncFolder, writeFileAtomic } from '../../files/atomic.js';
import {
  FORMAT,
  FORMAT_VERSION,
  INDEX_FILE,
  type ShardEntry,
  type ShardIndex,
  bytesPerToken,
  endsFile,
  sampleChecksum,
} from './index-file.js';

/** Where a writer stood at a checkpoint. */
export interface WriterState {
  readonly shards: readonly ShardEntry[];
  readonly open: { readonly tokens: number; readonly documents: number };
  readonly textBytes: number;
}

export const EMPTY_STATE: WriterState = { shards: [], open: { tokens: 0, documents: 0 }, textBytes: 0 };

/**
 * Writes token shards of one split into a folder, the index last.
 *
 * A shard is closed by the first `append` that fills it, so shards end where batches end. `checkpoint` makes all that was
 * appended durable; a writer made from its state goes on there.
 */
export class ShardWriter {
  readonly #folder: string;
  readonly #dtype: ShardIndex['dtype'];
  readonly #tokensPerShard: number;
  readonly #shards: ShardEntry[];
  #textBytes: number;
  #tokenFile: HashedFile | undefined;
  #endsFile: HashedFile | undefined;
  #tokens: number;
  #documents: number;

  constructor(folder: string, dtype: ShardIndex['dtype'], tokensPerShard: number, state: WriterState = EMPTY_STATE) {
    this.#folder = folder;
    this.#dtype = dtype;
    this.#tokensPerShard = tokensPerShard;
    this.#shards = [...state.shards];
    this.#textBytes = state.textBytes;
    this.#tokens = state.open.tokens;
    this.#documents = state.open.documents;
    if (this.#tokens > 0 || this.#documents > 0) this.#open();
  }

  /** Totals of all that was appended. */
  get totals(): { tokens: number; documents: number; textBytes: number } {
    return {
      tokens: this.#shards.reduce((sum, shard) => sum + shard.tokens, this.#tokens),
      documents: this.#shards.reduce((sum, shard) => sum + shard.documents, this.#documents),
      textBytes: this.#textBytes,
    };
  }

  /**
   * Appends tokens.
   *
   * @param ends Where documents end in `tokens` (behind their EOS), ascending.
   * @returns True if that closed a shard.
   */
  append(tokens: Uint16Array | Uint32Array, ends: Uint32Array, textBytes: number): boolean {
    if (tokens.length === 0) return false;
    if (this.#tokenFile === undefined) this.#open();
    const shifted = ends.map((end) => end + this.#tokens);
    this.#tokenFile?.write(tokens);
    this.#endsFile?.write(shifted);
    this.#tokens += tokens.length;
    this.#documents += ends.length;
    this.#textBytes += textBytes;
    if (this.#tokens < this.#tokensPerShard) return false;
    this.#close();
    return true;
  }

  checkpoint(): WriterState {
    this.#tokenFile?.sync();
    this.#endsFile?.sync();
    return {
      shards: [...this.#shards],
      open: { tokens: this.#tokens, documents: this.#documents },
      textBytes: this.#textBytes,
    };
  }

  /** Closes the last shard and writes the index. */
  finish(about: Pick<ShardIndex, 'split' | 'vocabSize' | 'tokenizer' | 'sources' | 'steps'>): ShardIndex {
    this.#close();
    const { split, vocabSize, tokenizer, sources, steps } = about;
    const index: ShardIndex = {
      format: FORMAT,
      version: FORMAT_VERSION,
      split,
      dtype: this.#dtype,
      vocabSize,
      tokenizer,
      ...this.totals,
      shards: this.#shards,
      sources,
      steps,
    };
    writeFileAtomic(join(this.#folder, INDEX_FILE), `${JSON.stringify(index, null, 1)}\n`);
    return index;
  }

  /** Closes files without finishing (after an error). */
  abandon(): void {
    this.#tokenFile?.close();
    this.#endsFile?.close();
  }

  #open(): void {
    mkdirSync(this.#folder, { recursive: true });
    const name = this.#name();
    this.#tokenFile = new HashedFile(join(this.#folder, `${name}.partial`), this.#tokens * bytesPerToken(this.#dtype));
    this.#endsFile = new HashedFile(join(this.#folder, `${endsFile(name)}.partial`), this.#documents * 4);
  }

  #close(): void {
    if (this.#tokenFile === undefined || this.#endsFile === undefined) return;
    const name = this.#name();
    const sample = this.#tokenFile.sample();
    const sha256 = this.#tokenFile.finish(join(this.#folder, name));
    const endsSha256 = this.#endsFile.finish(join(this.#folder, endsFile(name)));
    syncFolder(this.#folder);
    this.#shards.push({ file: name, tokens: this.#tokens, documents: this.#documents, sha256, endsSha256, sample });
    this.#tokenFile = undefined;
    this.#endsFile = undefined;
    this.#tokens = 0;
    this.#documents = 0;
  }

  #name(): string {
    return `${String(this.#shards.length).padStart(5, '0')}.bin`;
  }
}

/** A file that is appended to and hashed on the way. */
class HashedFile {
  readonly #path: string;
  readonly #descriptor: number;
  readonly #hash: Hash = createHash('sha256');
  #size = 0;

  /** Opens a file and keeps its first `size` bytes. A shard that was closed after the checkpoint is opened again. */
  constructor(path: string, size: number) {
    const closed = path.replace(/\.partial$/, '');
    if (size > 0 && !existsSync(path) && existsSync(closed)) renameSync(closed, path);
    this.#path = path;
    this.#descriptor = openSync(path, size > 0 ? 'r+' : 'w+');
    ftruncateSync(this.#descriptor, size);
    const buffer = Buffer.allocUnsafe(2 ** 20);
    while (this.#size < size) {
      const read = readSync(this.#descriptor, buffer, 0, Math.min(buffer.length, size - this.#size), this.#size);
      this.#hash.update(buffer.subarray(0, read));
      this.#size += read;
    }
  }

  write(data: Uint16Array | Uint32Array): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#hash.update(bytes);
    try {
      for (let written = 0; written < bytes.length; )
        written += writeSync(this.#descriptor, bytes, written, bytes.length - written, this.#size + written);
    } catch (error) {
      throw new WorkError(`${this.#path}: cannot write (${error instanceof Error ? error.message : String(error)}).`);
    }
    this.#size += bytes.length;
  }

  sample(): string {
    return sampleChecksum(this.#descriptor);
  }

  sync(): void {
    fsyncSync(this.#descriptor);
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  finish(name: string): string {
    this.sync();
    this.close();
    renameSync(this.#path, name);
    return this.#hash.digest('hex');
  }
}
