import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { WorkError } from '../errors.js';
import { syncFolder } from '../files/atomic.js';

/** A file that is written piece by piece and appears under its name only when it is whole. */
export class AtomicFile {
  readonly path: string;
  readonly #temporary: string;
  readonly #descriptor: number;
  #bytes = 0;

  constructor(path: string) {
    this.path = path;
    this.#temporary = `${path}.${process.pid}.partial`;
    mkdirSync(dirname(path), { recursive: true });
    this.#descriptor = openSync(this.#temporary, 'w');
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  write(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      throw new WorkError(`${this.path}: cannot be written (${code}).`, { cause: error });
    }
    this.#bytes += bytes.length;
  }

  /** Syncs the file and gives it its name. */
  publish(): void {
    fsyncSync(this.#descriptor);
    closeSync(this.#descriptor);
    renameSync(this.#temporary, this.path);
    syncFolder(dirname(this.path));
  }

  /** Removes what was written. */
  abandon(): void {
    closeSync(this.#descriptor);
    rmSync(this.#temporary, { force: true });
  }
}

/** Writes a file by a function; where that throws nothing is left behind. */
export function writeAtomically(path: string, write: (file: AtomicFile) => void): number {
  const file = new AtomicFile(path);
  try {
    write(file);
  } catch (error) {
    file.abandon();
    throw error;
  }
  file.publish();
  return file.bytes;
}
