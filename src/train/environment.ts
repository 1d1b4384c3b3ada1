import { execFileSync, type StdioOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { cpuDevice } from '../engine/device.js';
import type { RunManifest } from '../records/index.js';
import { version } from '../version.js';

/** What the bits of a result depend on beside config and data. */
export const environmentSchema = z.strictObject({
  cpu: z.string(),
  libtorch: z.string(),
  /** Identity of the compiled kernels, or "off". */
  kernels: z.string(),
  threads: z.int(),
});
export type Environment = z.output<typeof environmentSchema>;

/** Differences that end bitwise reproducibility, as "threads 2 -> 4"; empty where there are none. */
export function environmentDifferences(before: Environment, now: Environment): string[] {
  const fields = Object.keys(environmentSchema.shape) as (keyof Environment)[];
  return fields
    .filter((field) => before[field] !== now[field])
    .map((field) => `${field} ${before[field]} -> ${now[field]}`);
}

/** What run.json says of the machine. */
export function machine(): RunManifest['machine'] {
  const { model, features, memoryBytes } = cpuDevice();
  return { cpu: model, cores: cpus().length, memoryBytes, features: [...features] };
}

/** What run.json says of the software; the commit where Strata runs from a checkout. */
export function versions(libtorch: string): RunManifest['versions'] {
  const commit = checkoutCommit();
  return { strata: version, node: process.versions.node, libtorch, ...(commit === undefined ? {} : { commit }) };
}

/** Commit of the checkout that this file belongs to; an installed package may lie in someone else's repository. */
function checkoutCommit(): string | undefined {
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'package.json')) && root !== dirname(root)) root = dirname(root);
  if (!existsSync(join(root, '.git'))) return undefined;
  try {
    const stdio: StdioOptions = ['ignore', 'pipe', 'ignore'];
    return execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8', stdio }).trim();
  } catch {
    return undefined;
  }
}
