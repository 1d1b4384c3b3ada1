import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isRunFolder } from './run.js';

const MAX_DEPTH = 6;

/**
 * Run folders at and under some folders, sorted; runs are not looked for inside runs.
 *
 * Folders that cannot be read and hidden ones are left out.
 */
export function findRunFolders(roots: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (folder: string, depth: number): void => {
    if (isRunFolder(folder)) {
      found.add(folder);
      return;
    }
    if (depth === MAX_DEPTH) return;
    for (const name of namesIn(folder)) {
      const path = folder === '.' ? name : join(folder, name);
      if (!name.startsWith('.') && name !== 'node_modules' && isFolder(path)) visit(path, depth + 1);
    }
  };
  for (const root of roots) visit(root.length > 1 ? root.replace(/\/+$/, '') : root, 0);
  return [...found].sort();
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
