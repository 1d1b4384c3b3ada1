import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { InputError, WorkError } from '../errors.js';

/**
 * Opens a file to be read.
 *
 * @returns Its descriptor, which the caller closes.
 * @throws InputError where there is none, it may not be read, or is no file.
 */
export function openToRead(path: string): number {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new InputError(
      code === 'ENOENT' ? `${path}: there is no such file.` : `${path}: cannot be opened (${code}).`,
    );
  }
  if (fstatSync(descriptor).isFile()) return descriptor;
  closeSync(descriptor);
  throw new InputError(`${path}: expected a file.`);
}

/**
 * Fills a buffer with what a file holds from a position on.
 *
 * @throws WorkError where the file ends before, having been cut since it was opened.
 */
export function readFully(descriptor: number, out: Uint8Array, position: number, path: string): void {
  for (let done = 0; done < out.length; ) {
    const count = readSync(descriptor, out, done, out.length - done, position + done);
    if (count === 0) throw new WorkError(`${path}: the file ended while it was read.`);
    done += count;
  }
}
