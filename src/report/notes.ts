import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../files/atomic.js';

const notesPath = (folder: string): string => join(folder, 'notes.txt');

/** What was written about a run; empty where nothing was. */
export const readNotes = (folder: string): string =>
  existsSync(notesPath(folder)) ? readFileSync(notesPath(folder), 'utf8') : '';

/** Keeps notes beside the run that they are about. */
export const writeNotes = (folder: string, notes: string): void => writeFileAtomic(notesPath(folder), notes);
