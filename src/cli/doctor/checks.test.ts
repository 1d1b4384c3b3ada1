import { availableParallelism } from 'node:os';
import { afterEach, expect, it, vi } from 'vitest';
import { examine, type Finding } from './checks.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

const named = (findings: readonly Finding[], name: string): Finding | undefined =>
  findings.find((finding) => finding.name === name);

/** The first look compiles the kernels where the cache lacks them. */
const COMPILING_MS = 120_000;

it(
  'finds a machine with libtorch fit, part by part',
  async () => {
    const findings = await examine();
    expect(findings.filter(({ state }) => state === 'problem')).toEqual([]);
    expect(named(findings, 'Node')?.found).toBe(process.version);
    expect(named(findings, 'libtorch')?.found).toMatch(/^2\.\d+\.\d+\S* \(ABI 2\.\d+\.\d+\), .*loaded in \d/);
    expect(named(findings, 'threads')?.found).toContain(`using ${availableParallelism()} of`);
    if (process.platform === 'linux') expect(named(findings, 'OpenMP')).toMatchObject({ state: 'ok' });
  },
  COMPILING_MS,
);

it('names the variable and the fix where libtorch is set to a wrong place, and notes the missing compiler', async () => {
  vi.stubEnv('STRATA_LIBTORCH', '/etc');
  vi.stubEnv('CC', 'no-such-compiler');
  const findings = await examine();
  expect(named(findings, 'libtorch')).toMatchObject({
    state: 'problem',
    fix: expect.stringContaining('engine install'),
  });
  expect(named(findings, 'compiler')).toMatchObject({ state: 'note', found: 'CC=no-such-compiler does not run' });
  expect(named(findings, 'kernels')).toBeUndefined();
});

it('says that kernels are switched off', async () => {
  vi.stubEnv('STRATA_KERNELS', 'off');
  expect(named(await examine(), 'kernels')).toMatchObject({ state: 'note', fix: 'unset STRATA_KERNELS' });
});
