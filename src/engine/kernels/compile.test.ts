import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { Memory } from '../buffers.js';
import { openMpRuntimes } from '../device.js';
import { loadLibtorch } from '../libtorch/load.js';
import { findCompiler, loadKernels, type CompiledKernels, type KernelBuild } from './compile.js';

const engine = loadLibtorch({ threads: 2 });
const folder = mkdtempSync(join(tmpdir(), 'strata-kernels-'));
const sources = join(folder, 'sources');

mkdirSync(sources);
writeFileSync(join(sources, 'half.h'), '#define HALF 0.5f\n');
writeFileSync(
  join(sources, 'scale.c'),
  `#include <stdint.h>
#include "half.h"
void halve(float *x, int64_t n) {
#pragma omp parallel for
  for (int64_t i = 0; i < n; i++) x[i] *= HALF;
}
`,
);
writeFileSync(
  join(sources, 'threads.c'),
  `#include <omp.h>
int max_threads(void) { return omp_get_max_threads(); }
void set_threads(int n) { omp_set_num_threads(n); }
int team_size(void) {
  int n = 0;
#pragma omp parallel
#pragma omp single
  n = omp_get_num_threads();
  return n;
}
int nan_is_seen(float x) { return x != x; }
`,
);

beforeEach(() => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  vi.stubEnv('STRATA_KERNELS', undefined);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function compiled(build: KernelBuild): CompiledKernels {
  if ('reason' in build) throw new Error(build.reason);
  return build;
}

const reasonOf = (build: KernelBuild): string => ('reason' in build ? build.reason : 'compiled');

describe.skipIf(findCompiler() === undefined)('with a compiler', () => {
  it('compiles once, loads, and computes', () => {
    const first = compiled(loadKernels(sources));
    const second = compiled(loadKernels(sources));
    expect([first.cached, second.cached]).toEqual([false, true]);
    expect(second.path).toBe(first.path);
    expect(readdirSync(join(folder, 'cache/strata/kernels')).filter((name) => name.endsWith('.partial'))).toEqual([]);
    using memory = new Memory(400);
    memory.write(new Float32Array(100).fill(3));
    const halve = second.library.func('void halve(uint64_t, int64_t)') as (x: bigint, n: number) => void;
    halve(memory.address, 100);
    expect([...memory.asFloat32()]).toEqual(new Array(100).fill(1.5));
    const nanIsSeen = second.library.func('int nan_is_seen(float)') as (x: number) => number;
    expect([nanIsSeen(NaN), nanIsSeen(1)]).toEqual([1, 0]);
  });

  it('shares one OpenMP runtime with libtorch', () => {
    const { library } = compiled(loadKernels(sources));
    const call = (declaration: string) => library.func(declaration) as (n?: number) => number;
    const [maxThreads, teamSize, setThreads] = ['int max_threads()', 'int team_size()', 'void set_threads(int)'].map(
      call,
    );
    if (process.platform === 'linux') expect(openMpRuntimes()).toHaveLength(1);
    engine.setThreads(3);
    expect([maxThreads?.(), teamSize?.(), engine.getThreads()]).toEqual([3, 3, 3]);
    setThreads?.(2);
    expect([maxThreads?.(), teamSize?.(), engine.getThreads()]).toEqual([2, 2, 2]);
  });

  it('compiles again when a source changes, and when the cached library is damaged', () => {
    const before = compiled(loadKernels(sources));
    const changed = join(folder, 'changed');
    cpSync(sources, changed, { recursive: true });
    writeFileSync(join(changed, 'half.h'), '#define HALF 0.25f\n');
    const after = compiled(loadKernels(changed));
    expect(after.cached).toBe(false);
    expect(after.path).not.toBe(before.path);
    // A second cache, as a library that this process has loaded is not read again.
    const damaged = after.path.replace(join(folder, 'cache'), join(folder, 'damaged'));
    mkdirSync(dirname(damaged), { recursive: true });
    writeFileSync(damaged, 'not a library');
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'damaged'));
    expect(compiled(loadKernels(changed))).toMatchObject({ cached: false, path: damaged });
    expect(statSync(damaged).size).toBeGreaterThan(1000);
  });

  it('gives the first error of a source that does not compile', () => {
    const broken = join(folder, 'broken');
    mkdirSync(broken);
    writeFileSync(join(broken, 'broken.c'), 'int f(void) { return missing; }\n');
    expect(reasonOf(loadKernels(broken))).toMatch(/^the compiler failed: .*broken\.c:1.*missing/);
    writeFileSync(join(broken, 'broken.c'), 'int g(void);\nint f(void) { return g(); }\n');
    expect(reasonOf(loadKernels(broken))).toMatch(/^the compiler failed: .*undefined reference/);
  });
});

it('says so when there is no compiler, or kernels are switched off', () => {
  vi.stubEnv('CC', 'no-such-compiler');
  expect(reasonOf(loadKernels(sources))).toBe('the compiler that CC names (no-such-compiler) does not run');
  vi.stubEnv('STRATA_KERNELS', 'off');
  expect(reasonOf(loadKernels(sources))).toBe('switched off by STRATA_KERNELS=off');
});
