import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi, { type LibraryHandle } from 'koffi';
import { publishFolder } from '../../files/atomic.js';
import { cpuDevice, openMpRuntimes } from '../device.js';
import { cacheFolder } from '../libtorch/find.js';
import { libtorch } from '../libtorch/load.js';

/** Kernels in machine code, loaded. */
export interface CompiledKernels {
  readonly library: LibraryHandle;
  readonly path: string;
  /** First line of the compiler's version. */
  readonly compiler: string;
  /** Whether they had been compiled before. */
  readonly cached: boolean;
}

/** The kernels, or in one line why there are none. */
export type KernelBuild = CompiledKernels | { readonly reason: string };

/**
 * Never `-ffast-math`: it assumes away the NaN that the loss policy looks for, and sets flush-to-zero for the whole process.
 */
const FLAGS = [
  '-O3',
  process.arch === 'arm64' ? '-mcpu=native' : '-march=native',
  '-fPIC',
  '-fno-math-errno',
  '-fno-trapping-math',
];
const OPENMP_FLAGS = process.platform === 'darwin' ? ['-Xclang', '-fopenmp'] : ['-fopenmp'];
/** A function that the OpenMP runtime lacks has to fail here, not at its first call. */
const LINK_FLAGS = process.platform === 'darwin' ? ['-shared'] : ['-shared', '-Wl,--no-undefined'];
const LIBRARY_NAME = process.platform === 'darwin' ? 'kernels.dylib' : 'kernels.so';
const COMPILE_TIMEOUT_MS = 300_000;

/**
 * Compiles Strata's C kernels for this machine, or takes them from the cache, and loads them.
 *
 * libtorch must be loaded before: the kernels are linked to the OpenMP runtime that it brought, so that both share one.
 * @param sources Folder of the C files; those of the package where left out.
 */
export function loadKernels(sources = packagedSources()): KernelBuild {
  if (process.env['STRATA_KERNELS'] === 'off') return { reason: 'switched off by STRATA_KERNELS=off' };
  const openMp = openMpOfLibtorch();
  if (openMp === undefined) return { reason: 'libtorch brought no OpenMP runtime to share' };
  const compiler = findCompiler();
  const named = process.env['CC'];
  if (compiler === undefined)
    return {
      reason: named
        ? `the compiler that CC names (${named}) does not run`
        : 'no C compiler (cc, gcc or clang) was found',
    };
  try {
    return build(sources, compiler, openMp);
  } catch (error) {
    return { reason: firstError(error) };
  }
}

/** The C files lie beside this file in src/, and are shipped there; the compiled JavaScript lies in dist/src/. */
function packagedSources(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  return existsSync(join(here, 'common.h')) ? here : join(here, '../../../../src/engine/kernels');
}

interface Compiler {
  readonly command: string;
  /** What `CC` has behind the command, as in "ccache gcc". */
  readonly leading: readonly string[];
  readonly version: string;
}

/** The compiler that `CC` names, or the first of the usual ones. */
export function findCompiler(): Compiler | undefined {
  const named = process.env['CC'];
  for (const words of named ? [named] : ['cc', 'gcc', 'clang']) {
    const [command = '', ...leading] = words.trim().split(/\s+/);
    try {
      const output = execFileSync(command, [...leading, '--version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return { command, leading, version: output.split('\n', 1)[0] ?? '' };
    } catch {
      // The next one may be there.
    }
  }
  return undefined;
}

/** The file of the OpenMP runtime that libtorch loaded. */
function openMpOfLibtorch(): string | undefined {
  const { folder } = libtorch().place;
  if (process.platform !== 'darwin') return openMpRuntimes()[0];
  const name = readdirSync(folder).find((file) => /^libi?omp\d*\.dylib$/.test(file));
  return name === undefined ? undefined : join(folder, name);
}

function build(sources: string, compiler: Compiler, openMp: string): CompiledKernels {
  const files = readdirSync(sources)
    .filter((name) => /\.[ch]$/.test(name))
    .sort();
  const folder = join(cacheFolder(), 'kernels', buildKey(sources, files, compiler, openMp));
  const path = join(folder, LIBRARY_NAME);
  const result = { path, compiler: compiler.version };
  if (existsSync(path)) {
    try {
      return { ...result, library: koffi.load(path), cached: true };
    } catch {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const units = files.filter((name) => name.endsWith('.c'));
  compile(sources, units, folder, compiler, openMp);
  return { ...result, library: koffi.load(path), cached: false };
}

/** Everything that the machine code depends on. */
function buildKey(sources: string, files: readonly string[], compiler: Compiler, openMp: string): string {
  const hash = createHash('sha256');
  for (const name of files)
    hash
      .update(`${name}\0`)
      .update(readFileSync(join(sources, name)))
      .update('\0');
  const { model, features } = cpuDevice();
  hash.update(JSON.stringify([compiler, openMp, model, features, FLAGS, OPENMP_FLAGS, LINK_FLAGS]));
  return hash.digest('hex').slice(0, 32);
}

/** Compiles beside the cache and publishes whole; where another process was first, its result is as good. */
function compile(sources: string, units: readonly string[], folder: string, compiler: Compiler, openMp: string): void {
  const temporary = `${folder}.${process.pid}.partial`;
  const run = (words: readonly string[], input = ''): void => {
    const [command = '', ...args] = words;
    execFileSync(command, args, {
      cwd: temporary,
      encoding: 'utf8',
      stdio: 'pipe',
      input,
      timeout: COMPILE_TIMEOUT_MS,
    });
  };
  const words = [compiler.command, ...compiler.leading];
  try {
    mkdirSync(temporary, { recursive: true });
    const names = units.map((name) => basename(name, '.c'));
    const objects = names.map((name) => `${name}.o`);
    // xargs keeps all cores busy, which nothing in Node does while this function waits.
    const compileOne = [...words, ...FLAGS, ...OPENMP_FLAGS, '-c', join(sources, '{}.c'), '-o', '{}.o'];
    run(['xargs', '-P', String(availableParallelism()), '-I', '{}', ...compileOne], `${names.join('\n')}\n`);
    // Linked without -fopenmp, which would bring the compiler's own runtime in beside libtorch's.
    run([...words, ...LINK_FLAGS, '-o', LIBRARY_NAME, ...objects, openMp, '-lm']);
    for (const name of objects) rmSync(join(temporary, name));
    if (!existsSync(folder)) publish(temporary, folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function publish(temporary: string, folder: string): void {
  try {
    publishFolder(temporary, folder);
  } catch (error) {
    if (!existsSync(join(folder, LIBRARY_NAME))) throw error;
  }
}

/** The compiler's first complaint, or what else went wrong. */
function firstError(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  const lines = (stderr || message).split('\n').filter(Boolean);
  return `the compiler failed: ${lines.find((line) => /error|undefined/.test(line)) ?? lines[0] ?? message}`;
}
