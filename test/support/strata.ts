import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What a finished `strata` left. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let command: string | undefined;

/** The built command; built first where sources have changed since. `STRATA_TEST_COMMAND` names another build. */
export function strataCommand(): string {
  if (command !== undefined) return command;
  command = process.env['STRATA_TEST_COMMAND'] ?? join(root, 'dist', 'src', 'cli', 'main.js');
  if (process.env['STRATA_TEST_COMMAND'] === undefined) {
    const script = "import('./scripts/setup.mjs').then((setup) => setup.build())";
    const built = spawnSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' });
    if (built.status !== 0 || !existsSync(command))
      throw new Error(`the build failed:\n${built.stdout}${built.stderr}`);
  }
  return command;
}

/** Starts `strata` in a process of its own. */
export function startStrata(
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): { readonly child: ChildProcess; readonly finished: Promise<Finished> } {
  const child = spawn(process.execPath, [strataCommand(), ...args], {
    cwd: options.cwd,
    env: { ...process.env, OMP_NUM_THREADS: undefined, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, finished };
}

/** Runs `strata` to its end. */
export const strata = (
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Finished> => startStrata(args, options).finished;
