import { createHash, type Hash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { WorkError } from '../../errors.js';
import { syncFolder } from '../../files/atomic.js';
import { encodeFloats } from './convert.js';
import type { FloatDType, StoredDType } from './dtype.js';
import { storedDtypeBytes } from './dtype.js';
import { encodeHeader } from './header.js';

type Floats = Float32Array | Float64Array;

/** A tensor that will be written. */
export interface TensorPlan {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

/** What was written: for manifests. */
export interface WrittenFile {
  readonly bytes: number;
  readonly sha256: string;
}

const CHUNK_ELEMENTS = 1 << 20;

/**
 * Writes a safetensors file tensor by tensor, in the order given at the start.
 *
 * Memory stays bounded by what is handed over at once. The file appears under its name only when `finish` has synced it.
 */
export class SafetensorsWriter {
  readonly path: string;
  readonly #temporary: string;
  readonly #descriptor: number;
  readonly #hash: Hash = createHash('sha256');
  readonly #fileBytes: number;
  #written = 0;
  #closed = false;

  constructor(path: string, tensors: readonly TensorPlan[], metadata: Readonly<Record<string, string>> = {}) {
    this.path = path;
    this.#temporary = `${path}.${process.pid}.partial`;
    const { header, fileBytes } = encodeHeader(tensors, { format: 'pt', ...metadata });
    this.#fileBytes = fileBytes;
    mkdirSync(dirname(path), { recursive: true });
    this.#descriptor = openSync(this.#temporary, 'w');
    this.writeBytes(header);
  }

  /** Appends stored bytes of the tensor whose turn it is. */
  writeBytes(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done);
    } catch (error) {
      this.abandon();
      throw new WorkError(
        `${this.path}: cannot be written (${(error as NodeJS.ErrnoException).code ?? String(error)}).`,
      );
    }
    this.#hash.update(bytes);
    this.#written += bytes.length;
  }

  /** Appends numbers of the tensor whose turn it is, converted to its type. */
  writeFloats(dtype: FloatDType, values: Floats): void {
    const size = storedDtypeBytes[dtype];
    for (let start = 0; start < values.length; start += CHUNK_ELEMENTS) {
      const part = values.subarray(start, start + CHUNK_ELEMENTS);
      const out = new Uint8Array(part.length * size);
      encodeFloats(dtype, part, out);
      this.writeBytes(out);
    }
  }

  /** Syncs and names the file. Throws where not exactly the announced bytes were written. */
  finish(): WrittenFile {
    if (this.#written !== this.#fileBytes) {
      this.abandon();
      throw new Error(`${this.path}: ${this.#written} bytes written, ${this.#fileBytes} announced`);
    }
    fsyncSync(this.#descriptor);
    closeSync(this.#descriptor);
    this.#closed = true;
    renameSync(this.#temporary, this.path);
    syncFolder(dirname(this.path));
    return { bytes: this.#fileBytes, sha256: this.#hash.digest('hex') };
  }

  /** Removes what was written so far. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#descriptor);
    rmSync(this.#temporary, { force: true });
  }
}

/** Writes a whole safetensors file from numbers in memory. */
export function writeSafetensors(
  path: string,
  tensors: readonly { name: string; dtype: FloatDType; shape: readonly number[]; values: Floats }[],
  metadata: Readonly<Record<string, string>> = {},
): WrittenFile {
  const writer = new SafetensorsWriter(path, tensors, metadata);
  for (const { dtype, values } of tensors) writer.writeFloats(dtype, values);
  return writer.finish();
}
