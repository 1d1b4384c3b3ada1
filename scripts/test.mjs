// `npm test`: set-up, type check, lint and every test. The last line is `N passed, N failed`, with `, N skipped` if any.
// `npm test -- src/data` runs a part: those tests, without type check and lint. `--slow` adds the slow tests.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SUMMARY_VARIABLE } from './reporter.mjs';
import { SetupError, root, say, setup, timed } from './setup.mjs';
import { installSystemPackages } from './system-packages.mjs';

const CHECKS = ['typecheck', 'lint'];
const counts = { passed: 0, failed: 0, skipped: 0 };

/** Runs an npm script as one check. */
function check(name) {
  const npm = process.env.npm_execpath;
  const [command, args] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  let status;
  timed(`Checking: ${name}`, () => {
    ({ status } = spawnSync(command, [...args, 'run', '--silent', name], { cwd: root, stdio: ['ignore', 2, 2] }));
  });
  counts[status === 0 ? 'passed' : 'failed']++;
  if (status !== 0) say(`failed: ${name}`);
}

function runTests(args) {
  const summary = join(root, 'node_modules', '.cache', 'strata', `tests-${process.pid}.json`);
  mkdirSync(join(summary, '..'), { recursive: true });
  const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, [SUMMARY_VARIABLE]: summary },
  });
  const found = existsSync(summary) ? JSON.parse(readFileSync(summary, 'utf8')) : { passed: 0, failed: 0, skipped: 0 };
  rmSync(summary, { force: true });
  for (const kind of Object.keys(counts)) counts[kind] += found[kind];
  if (found.passed + found.failed === 0) {
    counts.failed++;
    say('failed: no test ran');
  } else if (status !== 0 && found.failed === 0) {
    counts.failed++;
    say(`failed: vitest ended with exit code ${status}`);
  }
}

function finish() {
  const { passed, failed, skipped } = counts;
  process.exitCode = failed > 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
}

const args = process.argv.slice(2).filter((arg) => arg !== '--slow');
if (process.argv.includes('--slow')) process.env.STRATA_SLOW = '1';
try {
  await setup();
  if (args.length === 0) {
    installSystemPackages();
    CHECKS.forEach(check);
  }
  runTests(args);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(`failed: ${error.message}`);
  counts.failed++;
}
finish();
