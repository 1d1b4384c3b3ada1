import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../src/engine/libtorch/find.js';
import { WorkError } from '../src/errors.js';
import { writeFileAtomic } from '../src/files/atomic.js';

/** The torch that peers run on: the release that Strata pins, in its CPU build. */
export const TORCH = 'torch==2.13.0';
/** What Hugging Face's models and Trainer run on, beside torch. */
export const HUGGING_FACE = ['accelerate==1.15.0', 'safetensors', 'transformers==5.23.0'];
/** Where PyTorch keeps CPU builds; pip prefers them to the CUDA builds of its usual index. */
const CPU_INDEX = 'https://download.pytorch.org/whl/cpu';

/**
 * The Python of a virtual environment with these packages, made on first use below Strata's cache.
 *
 * @param packages Requirements as pip takes them; torch and numpy are always there.
 * @throws WorkError where Python or pip fail, with pip's last line.
 */
export function peerPython(packages: readonly string[], log: (line: string) => void): string {
  const wanted = [...new Set([TORCH, 'numpy', ...packages])].sort();
  const name = createHash('sha256').update(wanted.join('\n')).digest('hex').slice(0, 8);
  const folder = join(cacheFolder(), 'bench-venv', name);
  const python = join(folder, 'bin', 'python');
  const stamp = join(folder, 'strata-packages.txt');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted.join('\n')) return python;
  log(`Making a Python environment for the peers: ${wanted.join(', ')} (some minutes the first time)`);
  run('python3', ['-m', 'venv', folder]);
  run(python, ['-m', 'pip', 'install', '--quiet', '--retries', '1', '--extra-index-url', CPU_INDEX, ...wanted]);
  writeFileAtomic(stamp, wanted.join('\n'));
  return python;
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1) ?? 'no message';
  throw new WorkError(
    `The bench's Python environment could not be made: ${command} ${args[1] ?? ''} failed: ${reason}`,
  );
}
