import { createHash } from 'node:crypto';
import { existsSync, fstatSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { writeFileAtomic } from '../../files/atomic.js';
import { type Checkpoint, readJsonObject, type WrittenFile } from '../../interop/index.js';

/** How far an interrupted execution came. */
export interface Journal {
  /** What it belongs to: another plan, source or dtype starts anew. */
  readonly key: string;
  readonly finished: Readonly<Record<string, WrittenFile>>;
  /** The unfinished file: its durable bytes, and how many of its tensors they hold. */
  readonly current?: { readonly file: string; readonly tensors: number; readonly bytes: number };
}

const JOURNAL_FILE = '.growing.json';

/** The journal of a folder under work if it belongs to the same execution. */
export function readJournal(folder: string, key: string): Journal | undefined {
  const path = join(folder, JOURNAL_FILE);
  if (!existsSync(path)) return undefined;
  const journal = readJsonObject(path) as unknown as Journal;
  return journal.key === key ? journal : undefined;
}

export const writeJournal = (folder: string, journal: Journal): void =>
  writeFileAtomic(join(folder, JOURNAL_FILE), JSON.stringify(journal));

export const removeJournal = (folder: string): void => rmSync(join(folder, JOURNAL_FILE), { force: true });

/** Names a source without reading its weights: names, sizes, times and headers of its weight files. */
export function sourceFingerprint(checkpoint: Checkpoint): string {
  const hash = createHash('sha256');
  for (const file of new Set([...checkpoint.tensors.values()].map((stored) => stored.file))) {
    const { size, mtimeMs } = fstatSync(file.descriptor);
    hash.update(`${basename(file.path)} ${size} ${mtimeMs}\n`);
    hash.update(JSON.stringify([...file.header.tensors.values()]));
  }
  return hash.digest('hex');
}
