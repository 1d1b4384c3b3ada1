import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { WorkError } from '../../errors.js';
import type { WrittenFile } from '../../interop/index.js';

const BUFFER_BYTES = 8 << 20;

/** Appends to a file and hashes it: while one buffer is written by another thread the next is filled and hashed. */
export class HashingSink {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #hash: Hash;
  #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #other = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #used = 0;
  #position: number;
  #pending: Promise<void> = Promise.resolve();
  #syncing: Promise<void> = Promise.resolve();

  private constructor(path: string, handle: FileHandle, hash: Hash, position: number) {
    this.path = path;
    this.#handle = handle;
    this.#hash = hash;
    this.#position = position;
  }

  /** Opens a file, keeping its first `keep` bytes, which are read again for the hash. */
  static async open(path: string, keep = 0): Promise<HashingSink> {
    const handle = await open(path, keep > 0 ? 'r+' : 'w+');
    await handle.truncate(keep);
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    for (let done = 0; done < keep; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, keep - done), done);
      if (bytesRead === 0) throw new WorkError(`${path}: ended before what was already written.`);
      hash.update(buffer.subarray(0, bytesRead));
      done += bytesRead;
    }
    return new HashingSink(path, handle, hash, keep);
  }

  /** Bytes appended so far. */
  get bytes(): number {
    return this.#position + this.#used;
  }

  /** Room for at most `wanted` bytes in the current buffer, at least one; say with `advance` how many were filled. */
  async room(wanted: number): Promise<Uint8Array> {
    if (this.#used === this.#buffer.length) await this.flush();
    return this.#buffer.subarray(this.#used, Math.min(this.#buffer.length, this.#used + wanted));
  }

  advance(bytes: number): void {
    this.#used += bytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const room = await this.room(bytes.length - done);
      room.set(bytes.subarray(done, done + room.length));
      this.advance(room.length);
      done += room.length;
    }
  }

  /** Hands the current buffer to the writing thread. */
  async flush(): Promise<void> {
    if (this.#used === 0) return;
    await this.#pending;
    const full = this.#buffer.subarray(0, this.#used);
    this.#pending = this.#writeAt(full, this.#position);
    this.#pending.catch(() => {});
    this.#hash.update(full);
    this.#position += full.length;
    [this.#buffer, this.#other] = [this.#other, this.#buffer];
    this.#used = 0;
  }

  /** Makes what was written so far durable, in the background; then calls `done`. */
  async checkpoint(done: (bytes: number) => void): Promise<void> {
    await this.flush();
    await this.#pending;
    await this.#syncing;
    const { bytes } = this;
    this.#syncing = this.#handle.datasync().then(() => done(bytes));
    this.#syncing.catch(() => {});
  }

  /** Syncs and closes. */
  async finish(): Promise<WrittenFile> {
    await this.flush();
    await this.#pending;
    await this.#syncing;
    await this.#handle.sync();
    await this.#handle.close();
    return { bytes: this.#position, sha256: this.#hash.digest('hex') };
  }

  async abandon(): Promise<void> {
    await this.#pending.catch(() => {});
    await this.#syncing.catch(() => {});
    await this.#handle.close().catch(() => {});
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
  }
}
