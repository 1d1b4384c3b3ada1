import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chainRecords } from '../src/report/card/statement.js';
import { startStrata, strata, strataCommand } from './support/strata.js';
import { buildTinyData, tinyRun } from './support/tiny-run.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-resume-'));
const config = join(folder, 'run.json');
const reference = join(folder, 'reference');
const STEPS = { base: 60, target: 240 };
const LAST = STEPS.base + STEPS.target;

const argsFor = (out: string, ...more: string[]): string[] => [
  'train',
  config,
  '--out',
  out,
  '--threads',
  '1',
  ...more,
];

beforeAll(async () => {
  strataCommand();
  const data = await buildTinyData(folder);
  writeFileSync(config, JSON.stringify(tinyRun(data, STEPS), null, 2));
  const { code, stderr } = await strata(argsFor(reference));
  if (code !== 0) throw new Error(stderr);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Line {
  readonly kind: string;
  readonly name?: string;
  readonly step: number;
}

/** Times, hashes over them, and what is only said about interruptions, are left out. */
const timeless = new Set(['time', 'tokensPerSecond', 'gflopPerSecond', 'hash']);
const linesOf = (run: string): Line[] =>
  readFileSync(join(run, 'records.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line, (key, value: unknown) => (timeless.has(key) ? undefined : value)) as Line);
const measured = (run: string): Line[] => linesOf(run).filter(({ kind }) => kind !== 'event');

function expectSameAsUninterrupted(run: string): void {
  const { stored, broken } = chainRecords(join(run, 'records.jsonl'));
  expect([stored, broken]).toEqual([true, undefined]);
  expect(measured(run)).toEqual(measured(reference));
  for (const file of ['model.safetensors', 'optimizer.safetensors', 'config.json', 'tokenizer.json'])
    expect(
      readFileSync(join(run, 'checkpoints', String(LAST), file)).equals(
        readFileSync(join(reference, 'checkpoints', String(LAST), file)),
      ),
      file,
    ).toBe(true);
}

/** Starts a run and waits until it writes records. */
async function startRun(out: string): ReturnType<typeof startStrata> extends infer S ? Promise<S> : never {
  const run = startStrata(argsFor(out));
  while (!existsSync(join(out, 'records.jsonl')) && run.child.exitCode === null) await setTimeout(5);
  return run;
}

async function kill(out: string, delay: number): Promise<void> {
  const { child, finished } = await startRun(out);
  await setTimeout(delay);
  child.kill('SIGKILL');
  await finished;
}

/** Kills a run as soon as a checkpoint under its temporary name shows up. */
async function killInCheckpoint(out: string): Promise<void> {
  const { child, finished } = await startRun(out);
  while (!existsSync(join(out, 'checkpoints')) && child.exitCode === null) await setTimeout(1);
  const watcher = watch(join(out, 'checkpoints'), (_, name) => {
    if (name?.endsWith('.partial')) child.kill('SIGKILL');
  });
  await finished;
  watcher.close();
}

const isHalfWritten = (out: string): boolean =>
  readdirSync(join(out, 'checkpoints')).some((name) => name.endsWith('.partial'));

describe('a run', () => {
  it('has records for every step of its stages, and one growth between them', () => {
    const steps = measured(reference).filter(({ kind }) => kind === 'train');
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: LAST }, (_, i) => i + 1));
    expect(measured(reference).filter(({ kind }) => kind === 'growth')).toMatchObject([
      { step: STEPS.base, operator: 'stack', optimizerState: 'fresh' },
    ]);
    const losses = measured(reference).filter(({ kind }) => kind === 'validation') as unknown as { loss: number }[];
    expect(losses.at(-1)!.loss).toBeLessThan(losses[0]!.loss);
  });

  it('killed at three random moments, one of them in a checkpoint, ends with the same bits', {
    timeout: 120_000,
  }, async () => {
    const out = join(folder, 'killed');
    const delays = [Math.random() * 400, 100 + Math.random() * 600];
    await kill(out, delays[0]!);
    for (let attempt = 0; attempt < 5; attempt++) {
      await killInCheckpoint(out);
      if (isHalfWritten(out)) break;
    }
    expect(isHalfWritten(out), 'a checkpoint was half-written').toBe(true);
    await kill(out, delays[1]!);
    const { code, stderr } = await strata(argsFor(out));
    expect(code, stderr).toBe(0);
    expectSameAsUninterrupted(out);
    expect(readdirSync(join(out, 'checkpoints')).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'stopped by %s saves, says so, leaves with 130 and goes on with the same bits',
    { timeout: 60_000 },
    async (signal) => {
      const out = join(folder, `stopped-${signal}`);
      const { child, finished } = await startRun(out);
      await setTimeout(200);
      child.kill(signal);
      const { code, stderr } = await finished;
      expect(code).toBe(130);
      const [, step] = /Stopped after step (\d+); .* the same command goes on from there\./.exec(stderr)!;
      expect(existsSync(join(out, 'checkpoints', step!, 'manifest.json'))).toBe(true);
      expect(existsSync(join(out, 'run.lock'))).toBe(false);
      expect((await strata(argsFor(out))).code).toBe(0);
      expectSameAsUninterrupted(out);
      expect(linesOf(out).filter(({ name }) => name === 'resume')).toMatchObject([
        { step: Number(step), bitwise: true },
      ]);
    },
  );

  it('with a damaged newest checkpoint goes on from the one before, and says so', { timeout: 60_000 }, async () => {
    const out = join(folder, 'damaged');
    cpSync(reference, out, { recursive: true });
    const path = join(out, 'checkpoints', String(LAST), 'optimizer.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(path, bytes);
    const { code, stderr } = await strata(argsFor(out));
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/optimizer\.safetensors: its SHA-256 is not the one in the manifest.*set aside as /);
    expect(existsSync(join(out, 'checkpoints', `${LAST}.damaged`))).toBe(true);
    expectSameAsUninterrupted(out);
  });

  it('that is finished is left alone', async () => {
    const before = readFileSync(join(reference, 'records.jsonl'));
    const { code, stdout } = await strata(argsFor(reference, '--json'));
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ wasFinished: true, steps: LAST });
    expect(readFileSync(join(reference, 'records.jsonl')).equals(before)).toBe(true);
  });

  it('refuses another config in the same folder, with the fields that differ', async () => {
    const { code, stderr } = await strata(argsFor(reference, '--set', 'stages.target.optimizer.lr=1e-3'));
    expect(code).toBe(2);
    expect(stderr).toMatch(/another config \(stages\.2\.optimizer\.lr is 0\.004 there and 0\.001 here\)/);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('keeps a second process out of its folder', { timeout: 60_000 }, async () => {
    const out = join(folder, 'locked');
    const { child, finished } = await startRun(out);
    const { code, stderr } = await strata(argsFor(out));
    child.kill('SIGKILL');
    await finished;
    expect(code).toBe(1);
    expect(stderr).toMatch(/is in use by process \d+/);
  });

  it('says that the disk is full in one sentence and leaves nothing half-written', () => {
    const out = join(folder, 'full');
    // Files of more than 300 KiB cannot be written, which is how a quota looks; weights and moments are larger.
    const script = `trap '' XFSZ; ulimit -f 300; exec "$0" "$@"`;
    const { status, stderr } = spawnSync('bash', ['-c', script, process.execPath, strataCommand(), ...argsFor(out)], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(/checkpoints\/20 could not be written: a file would pass the limit on file sizes/);
    expect(readdirSync(join(out, 'checkpoints'))).toEqual([]);
  });
});
