import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { WorkError } from '../errors.js';

const LOCK_FILE = 'run.lock';

/** A process, so that it can be told from another that got its number later. */
export interface Owner {
  readonly pid: number;
  readonly host: string;
  /** When the process started, in the system's own words: process numbers are used again. */
  readonly started: string;
}

/** A name that this process holds until `release`. */
export interface Lock {
  release(): void;
}

/**
 * Keeps a second process out of a run folder until `release`.
 *
 * @throws WorkError naming the process that holds the folder.
 */
export function lockFolder(folder: string): Lock {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, LOCK_FILE);
  takeLock(path, folder);
  return { release: () => unlock(folder, path) };
}

/** The process that holds a run folder now; undefined where none does. */
export function holderOf(folder: string): Owner | undefined {
  const holder = read(join(folder, LOCK_FILE));
  return holder !== undefined && isAlive(holder) ? holder : undefined;
}

/**
 * Keeps a second process from making the same file or folder until `release`: the lock lies beside it, as `NAME.lock`.
 *
 * @throws WorkError naming the process that makes it.
 */
export function lockBeside(target: string): Lock {
  const path = `${target}.lock`;
  mkdirSync(dirname(path), { recursive: true });
  takeLock(path, target);
  return { release: () => rmSync(path, { force: true }) };
}

/**
 * A process that was killed leaves its lock behind; it is taken over at once, since its process is gone. (Locks that expire by time would
 * make people wait after a crash, and would be lost while a long step keeps this process from renewing them.)
 */
function takeLock(path: string, what: string): void {
  const owner: Owner = { pid: process.pid, host: hostname(), started: startOf(process.pid) };
  while (!create(path, owner)) {
    const holder = read(path);
    if (holder !== undefined && isAlive(holder))
      throw new WorkError(
        `${what} is in use by process ${holder.pid} on ${holder.host}; wait for it to end (or, if it is gone, delete ${path}).`,
      );
    rmSync(path, { force: true });
  }
}

/** Also removes the folder, if nothing came of the run that made it. */
function unlock(folder: string, path: string): void {
  rmSync(path, { force: true });
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Makes the lock under its name with its content, or finds it there: a hard link does both at once. */
function create(path: string, owner: Owner): boolean {
  const temporary = `${path}.${process.pid}.partial`;
  const descriptor = openSync(temporary, 'w');
  writeSync(descriptor, JSON.stringify(owner));
  closeSync(descriptor);
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

function read(path: string): Owner | undefined {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as Partial<Owner>;
    return typeof value.pid === 'number' && typeof value.host === 'string'
      ? { pid: value.pid, host: value.host, started: String(value.started) }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Processes of other machines cannot be asked, so they count as alive. */
export function isAlive({ pid, host, started }: Owner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return startOf(pid) === started;
}

/** Start time of a process in clock ticks since boot, where the system tells (Linux); else always the same text. */
export function startOf(pid: number): string {
  const path = `/proc/${pid}/stat`;
  if (!existsSync('/proc/self/stat')) return 'unknown';
  try {
    // Field 22; the command's name in field 2 may hold blanks and parentheses.
    const stat = readFileSync(path, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch {
    return 'gone';
  }
}
