import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findCompiler } from '../kernels/compile.js';
import { libraryFile, MINIMUM_VERSION } from './find.js';
import { libtorch, loadLibtorch } from './load.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-load-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = findCompiler();

/** A library in libtorch's place that has a version and nothing else. */
function pretend(version: string, code: string): { folder: string; version: string; source: 'cache' } {
  const place = mkdtempSync(join(folder, 'lib-'));
  writeFileSync(join(place, 'fake.c'), code);
  execFileSync(compiler?.command ?? 'cc', ['-shared', '-fPIC', '-o', libraryFile('torch_cpu'), 'fake.c'], {
    cwd: place,
  });
  return { folder: place, version, source: 'cache' };
}

const versionFunction = (major: number, minor: number): string =>
  `unsigned long long aoti_torch_abi_version(void) { return ${major}ull << 56 | ${minor}ull << 48; }\n`;

it('refuses to work before anything was loaded', () => {
  expect(() => libtorch()).toThrow(/before libtorch was loaded/);
});

describe.skipIf(compiler === undefined)('a library that does not fit', () => {
  it.each([
    ['is too old', '2.9.0', versionFunction(2, 9), /is version 2\.9\.0, but Strata needs 2\.10 or later/],
    [
      'lacks functions',
      '2.13.0',
      versionFunction(2, 13),
      /lacks functions that Strata calls: .*aoti_torch_cpu_mm_out, /,
    ],
    ['has no version', 'unknown', 'int nothing;\n', /is version unknown, but Strata needs 2\.10/],
  ])('is refused in one sentence when it %s', (_, version, code, message) => {
    expect(() => loadLibtorch({ place: pretend(version, code) })).toThrow(message);
  });

  it('is refused when it is no library', () => {
    const place = mkdtempSync(join(folder, 'lib-'));
    writeFileSync(join(place, libraryFile('torch_cpu')), 'text');
    expect(() => loadLibtorch({ place: { folder: place, version: '2.13.0', source: 'cache' } })).toThrow(
      /cannot be loaded: /,
    );
  });
});

it('loads the real one once, with the number of threads that is asked for', () => {
  const engine = loadLibtorch({ threads: 2 });
  expect(engine.getThreads()).toBe(2);
  expect(Number(engine.abiVersion >> 56n)).toBe(2);
  expect(Number((engine.abiVersion >> 48n) & 0xffn)).toBeGreaterThanOrEqual(Number(MINIMUM_VERSION.split('.')[1]));
  expect(loadLibtorch({ threads: 1 })).toBe(engine);
  expect(engine.getThreads()).toBe(1);
  expect(() => engine.setThreads(0)).toThrow(/at least 1/);
});
