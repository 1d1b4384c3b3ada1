import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonCommand } from './find.js';

/** Where pip is to look: an index named by its URL, or whatever this machine's pip is configured for. */
export interface PipSource {
  readonly title: string;
  readonly indexUrl?: string;
}

/** A wheel that pip would take, before anything is downloaded. */
export interface OfferedWheel {
  readonly url: string;
  readonly fileName: string;
  /** Undefined where the server does not say. */
  readonly bytes: number | undefined;
  /** Whether the build needs NVIDIA's libraries. */
  readonly cuda: boolean;
}

/** What pip said; `failure` is one line. */
export type PipAnswer<T> = { readonly value: T } | { readonly failure: string };

const QUICK = ['--timeout', '8', '--retries', '0'];
const PATIENT = ['--timeout', '60', '--retries', '5'];
const COMMON = ['--no-deps', '--only-binary', ':all:', '--disable-pip-version-check', '--no-input'];
const HEAD_TIMEOUT_MS = 8000;

const indexArguments = ({ indexUrl }: PipSource): string[] => (indexUrl === undefined ? [] : ['--index-url', indexUrl]);

/** Whether there is a Python with pip, and which. */
export async function pipVersion(): Promise<string | undefined> {
  const { code, stdout } = await runPip(['--version']);
  return code === 0 ? /^pip (\S+)/.exec(stdout)?.[1] : undefined;
}

/**
 * Asks pip which wheel it would take.
 *
 * @returns undefined as value where this pip (before 22.2) cannot say without downloading.
 */
export async function offeredWheel(
  requirement: string,
  source: PipSource,
): Promise<PipAnswer<OfferedWheel | undefined>> {
  const report = ['--dry-run', '--ignore-installed', '--quiet', '--report', '-'];
  const { code, stdout, stderr } = await runPip([
    'install',
    ...report,
    ...COMMON,
    ...QUICK,
    ...indexArguments(source),
    requirement,
  ]);
  if (code !== 0) {
    const cannot = /no such option|externally-managed/.test(stderr);
    if (cannot) return { value: undefined };
    const none = stderr.includes('from versions: none');
    return { failure: none ? `cannot be reached, or has no ${requirement} for this Python` : lastError(stderr) };
  }
  const parsed = JSON.parse(stdout) as {
    install: { download_info: { url: string }; metadata: { requires_dist?: string[] } }[];
  };
  const chosen = parsed.install[0];
  if (chosen === undefined) return { failure: 'pip offers nothing' };
  const { url } = chosen.download_info;
  const fileName = decodeURIComponent(basename(new URL(url).pathname));
  const cuda = (chosen.metadata.requires_dist ?? []).some((name) => name.startsWith('nvidia-'));
  return { value: { url, fileName, bytes: await sizeOf(url), cuda } };
}

async function sizeOf(url: string): Promise<number | undefined> {
  try {
    if (url.startsWith('file:')) return (await stat(fileURLToPath(url))).size;
    const response = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(HEAD_TIMEOUT_MS) });
    const length = Number(response.headers.get('content-length'));
    return response.ok && length > 0 ? length : undefined;
  } catch {
    return undefined;
  }
}

/** Downloads a wheel into a folder; pip shows its own progress where `output` is a terminal. */
export async function downloadWheel(
  requirement: string,
  source: PipSource,
  folder: string,
  output: 'stdout' | 'stderr' | 'ignore',
): Promise<PipAnswer<void>> {
  const { code, stderr } = await runPip(
    ['download', '--dest', folder, ...COMMON, ...PATIENT, ...indexArguments(source), requirement],
    output,
  );
  return code === 0 ? { value: undefined } : { failure: lastError(stderr) };
}

interface PipResult {
  code: number;
  stdout: string;
  stderr: string;
}

async function runPip(
  args: readonly string[],
  output: 'pipe' | 'stdout' | 'stderr' | 'ignore' = 'pipe',
): Promise<PipResult> {
  const stdout = output === 'stdout' ? 1 : output === 'stderr' ? 2 : output;
  const child = spawn(pythonCommand(), ['-m', 'pip', ...args], { stdio: ['ignore', stdout, 'pipe'] });
  const collected = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (collected.stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (collected.stderr += text));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: 127, stdout: '', stderr: `ERROR: ${error.message}` }));
    child.on('close', (code) => resolve({ code: code ?? 1, ...collected }));
  });
}

/** The last thing that pip called an error, or its last line: the others are retries and hints. */
function lastError(stderr: string): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  const error = lines.findLast((line) => line.startsWith('ERROR:')) ?? lines.at(-1) ?? 'pip failed without a word';
  return error.replace(/^ERROR:\s*/, '').replace(/\.$/, '');
}
