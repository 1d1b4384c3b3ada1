import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Makes the names in a folder durable (a rename is only safe once its folder is synced). */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Writes a file so that readers and crashes see the old content or the new, nothing between.
 *
 * @param mode Permissions, before the process's umask.
 */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o666): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.partial`;
  const descriptor = openSync(temporary, 'w', mode);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
    fsyncSync(descriptor);
  } catch (error) {
    closeSync(descriptor);
    rmSync(temporary, { force: true });
    throw error;
  }
  closeSync(descriptor);
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** Publishes a finished folder under its name: sync, rename, sync the parent. */
export function publishFolder(temporary: string, folder: string): void {
  syncFolder(temporary);
  renameSync(temporary, folder);
  syncFolder(dirname(folder));
}
