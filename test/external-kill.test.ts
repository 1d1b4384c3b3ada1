import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunConfigInput } from '../src/train/index.js';
import { openEngine } from '../src/train/engine.js';
import { trainExternally } from './support/external-trainer.js';
import { startStrata, strata } from './support/strata.js';
import { buildTinyData, tinyRun } from './support/tiny-run.js';

const root = mkdtempSync(join(tmpdir(), 'strata-external-kill-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const calls = join(root, 'calls.txt');
const prepared = join(root, 'prepared');
/** Stands in for a long training: it notes that it began, takes its time, and puts down what was prepared, result.json last. */
const trainer = join(root, 'trainer.mjs');
writeFileSync(
  trainer,
  `import { appendFileSync, cpSync, copyFileSync } from 'node:fs';
const [, , output] = process.argv;
appendFileSync(${JSON.stringify(calls)}, 'begin\\n');
setTimeout(() => {
  cpSync(${JSON.stringify(prepared)}, output, { recursive: true, filter: (path) => !path.endsWith('result.json') });
  copyFileSync(${JSON.stringify(join(prepared, 'result.json'))}, output + '/result.json');
  appendFileSync(${JSON.stringify(calls)}, 'end\\n');
}, 1500);
`,
);

let data: string;
const configFile = join(root, 'run.json');
const args = (folder: string): string[] => [
  'train',
  configFile,
  '--out',
  join(root, folder),
  '--threads',
  '1',
  '--quiet',
  '--json',
];
const count = (word: string): number => readFileSync(calls, 'utf8').split(word).length - 1;
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await setTimeout(20);
};

beforeAll(async () => {
  data = await buildTinyData(join(root, 'data'));
  openEngine(1);
  writeFileSync(calls, '');
  const [base, stack, target] = tinyRun(data, { base: 6, target: 5 }).stages;
  const config = (external: object): RunConfigInput => ({
    ...tinyRun(data),
    stages: [base!, stack!, { ...target!, external } as RunConfigInput['stages'][number]],
  });
  writeFileSync(configFile, JSON.stringify(config({ command: 'none', where: 'elsewhere' })));
  const stopped = await strata(args('plain'));
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(/Stage "target" is handed over\. Run this where the trainer is/);
  trainExternally(join(root, 'plain', 'external', 'target', 'input'), prepared);
  writeFileSync(
    configFile,
    JSON.stringify(config({ command: `${process.execPath} {adapter} {output}`, adapter: trainer })),
  );
}, 180_000);

it('kill -9 before, while and after another trainer works ends with the same run, and never starts it twice', async () => {
  const undisturbed = await strata(args('undisturbed'));
  expect(undisturbed.code).toBe(0);
  writeFileSync(calls, '');
  const disturbed = join(root, 'disturbed');
  const stage = join(disturbed, 'external', 'target');
  // Killed while Strata's own base trains or has just been saved.
  const first = startStrata(args('disturbed'));
  await until(() => existsSync(join(disturbed, 'checkpoints', '6', 'manifest.json')));
  first.child.kill('SIGKILL');
  await first.finished;
  // Killed while the trainer works, which outlives it.
  const second = startStrata(args('disturbed'));
  await until(() => count('begin') === 1);
  second.child.kill('SIGKILL');
  await second.finished;
  expect(count('end')).toBe(0);
  // Waits for that trainer instead of starting another; killed as soon as the output is there.
  const third = startStrata(args('disturbed'));
  await until(() => existsSync(join(stage, 'output', 'result.json')));
  third.child.kill('SIGKILL');
  await third.finished;
  const last = await strata(args('disturbed'));
  expect(last.code).toBe(0);
  expect(count('begin')).toBe(1);
  const outcome = ({ stdout }: { stdout: string }) => {
    const {
      folder: _folder,
      checkpoint: _checkpoint,
      seconds: _seconds,
      wasFinished: _was,
      ...rest
    } = JSON.parse(stdout) as Record<string, unknown>;
    return rest;
  };
  expect(outcome(last)).toEqual(outcome(undisturbed));
  const weights = (folder: string) => readFileSync(join(root, folder, 'checkpoints', '11', 'model.safetensors'));
  expect(weights('disturbed').equals(weights('undisturbed'))).toBe(true);
}, 180_000);

it('says what the trainer said where it fails, and starts it again', async () => {
  writeFileSync(
    configFile,
    readFileSync(configFile, 'utf8').replace(/"command":"[^"]+"/, '"command":"echo out of memory >&2; exit 3"'),
  );
  const failed = await strata(args('failing'));
  expect(failed.code).toBe(1);
  expect(failed.stderr).toMatch(
    /The trainer failed \(exit status 3: out of memory\).*the same command starts it again/,
  );
  cpSync(prepared, join(root, 'failing', 'external', 'target', 'output'), { recursive: true });
  expect((await strata(args('failing'))).code).toBe(0);
}, 180_000);
