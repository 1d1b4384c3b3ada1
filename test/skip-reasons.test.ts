import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strata-skip-reasons-'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs vitest on one file with the reporter that `npm test` counts with. */
function runTests(source: string) {
  writeFileSync(join(folder, 'fixture.test.js'), `import { beforeAll, describe, it } from 'vitest';\n${source}`);
  const summary = join(folder, 'summary.json');
  const reporter = join(root, 'scripts', 'reporter.mjs');
  const args = ['run', '--root', folder, '--reporter', reporter];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), ...args],
    {
      encoding: 'utf8',
      env: { ...process.env, STRATA_TEST_SUMMARY: summary },
    },
  );
  return { status, output: stdout + stderr, counts: JSON.parse(readFileSync(summary, 'utf8')) as object };
}

it('a skip with a reason is counted and its reason printed; one without fails the run', () => {
  const { status, output, counts } = runTests(`
    it('passes', () => {});
    it('is skipped', (context) => context.skip('no GPU here'));
    it.skip('is switched off', () => {});
  `);
  expect(counts).toEqual({ passed: 1, failed: 1, skipped: 1 });
  expect(output).toContain('skipped: fixture.test.js > is skipped: no GPU here');
  expect(output).toContain('failed: fixture.test.js > is switched off: skipped without a reason');
  expect(status).not.toBe(0);
});

it('counts what fails before any of its tests runs: a hook, and a worker that dies', () => {
  const hook = runTests(`describe('d', () => { beforeAll(() => { throw new Error('hook'); }); it('x', () => {}); });`);
  expect(hook.counts).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(hook.status).not.toBe(0);
  const death = runTests(`it('dies', () => process.kill(process.pid, 'SIGKILL'));`);
  expect(death.counts).toMatchObject({ passed: 0, skipped: 0 });
  expect(death.status).not.toBe(0);
});
