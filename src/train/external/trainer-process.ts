import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { WorkError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { isAlive, type Owner, startOf } from '../../files/lock.js';

const PROCESS_FILE = 'trainer.json';
const LOG_FILE = 'trainer.log';
const POLL_MS = 500;
/** Bytes at the end of the log among which a failed trainer's last line is looked for. */
const KEPT = 1 << 14;

/**
 * Runs a command of another trainer to its end, in a process group of its own; its output goes to `trainer.log`.
 *
 * A trainer that an earlier process started, and that outlived it, is waited for instead.
 *
 * @param folder Where log and process number are kept.
 * @returns Whether it ended by itself: false where `signal` stopped it.
 * @throws WorkError with its last line where it failed.
 */
export async function runTrainer(folder: string, command: string, signal: AbortSignal | undefined): Promise<boolean> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, PROCESS_FILE);
  const before = readOwner(file);
  if (before !== undefined && isAlive(before)) {
    while (isAlive(before)) {
      if (signal?.aborted === true) return stop(before.pid);
      await setTimeout(POLL_MS);
    }
    rmSync(file, { force: true });
    return true;
  }
  const log = join(folder, LOG_FILE);
  const descriptor = openSync(log, 'a');
  const child = spawn(command, { shell: true, detached: true, stdio: ['ignore', descriptor, descriptor] });
  closeSync(descriptor);
  const { pid } = child;
  if (pid !== undefined)
    writeFileAtomic(file, JSON.stringify({ pid, host: hostname(), started: startOf(pid) } satisfies Owner));
  const halt = (): void => void (pid !== undefined && stop(pid));
  signal?.addEventListener('abort', halt);
  try {
    const [code, error] = await new Promise<[number | null, Error | undefined]>((resolve) => {
      child.on('error', (reason) => resolve([null, reason])).on('close', (status) => resolve([status, undefined]));
    });
    if (signal?.aborted === true) return false;
    if (code !== 0)
      throw new WorkError(
        `The trainer failed (${error?.message ?? `exit status ${code}: ${lastLine(log)}`}); ${log} has what it said, and the same command starts it again.`,
      );
    return true;
  } finally {
    signal?.removeEventListener('abort', halt);
    rmSync(file, { force: true });
  }
}

function stop(pid: number): false {
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // It has ended by then.
  }
  return false;
}

function readOwner(file: string): Owner | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

const lastLine = (log: string): string => readFileSync(log, 'utf8').slice(-KEPT).trimEnd().split('\n').at(-1) ?? '';
