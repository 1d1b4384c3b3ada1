import { appendFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { JobResult } from '../sweep/index.js';
import type { PlannedRun } from './plan.js';
import { StudyProgress } from './progress.js';
import { RunTail } from './run-tail.js';

const root = mkdtempSync(join(tmpdir(), 'strata-study-progress-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const lines = (...records: object[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const train = (step: number, flops: number, loss = 4) => ({
  ...{ kind: 'train', stage: 'trunk', step, tokens: step, flops, loss, tokensPerSecond: 1000, time: step },
});
const event = (name: string) => ({ kind: 'event', name, time: 0 });

function folder(name: string, text?: string): string {
  const made = join(root, name);
  mkdirSync(made, { recursive: true });
  if (text !== undefined) writeFileSync(join(made, 'records.jsonl'), text);
  return made;
}
const append = (path: string, text: string): void => appendFileSync(join(path, 'records.jsonl'), text);

describe('the tail of a run', () => {
  it('reads only what was appended, whole lines only', () => {
    const run = folder('appended', lines(event('start'), train(10, 100)));
    const tail = new RunTail(run);
    tail.look();
    expect(tail).toMatchObject({ step: 10, flops: 100, tokensPerSecond: 1000, begun: { flops: undefined } });
    // What was read once is not read again: a change there goes unseen.
    writeFileSync(join(run, 'records.jsonl'), lines({ ...event('start'), time: 9 }, train(10, 100)));
    const [whole, torn] = [lines(train(20, 200)), lines(train(30, 300))];
    append(run, whole + torn.slice(0, 20));
    tail.look();
    expect(tail.step).toBe(20);
    append(run, torn.slice(20));
    tail.look();
    expect(tail).toMatchObject({ step: 30, flops: 300, begun: { time: 0 } });
  });

  it('tells what an earlier process did from what the present one does', () => {
    const before = lines(event('start'), train(10, 100));
    const run = folder('resumed', before + lines(train(20, 200)));
    const tail = new RunTail(run, { onlyChanged: true });
    tail.look();
    expect(tail.flops).toBeUndefined();
    // A run that resumes cuts its records at its checkpoint.
    truncateSync(join(run, 'records.jsonl'), before.length);
    append(run, lines(event('resume'), train(15, 150)));
    tail.look();
    expect(tail).toMatchObject({ step: 15, flops: 150, begun: { flops: 100 } });
  });

  it('begins again where the file became shorter', () => {
    const run = folder('cut', lines(event('start'), train(10, 100), train(20, 200), train(30, 300)));
    const tail = new RunTail(run);
    tail.look();
    writeFileSync(join(run, 'records.jsonl'), lines(event('start'), train(10, 100)));
    tail.look();
    expect(tail.flops).toBe(100);
  });
});

describe('the progress of a study', () => {
  const planned = (name: string, changes: Partial<PlannedRun> = {}): PlannedRun => ({
    ...{ name, folder: join(root, name), part: 'a', isTuning: false, base: undefined },
    ...{ steps: 100, flops: 1000, flopsBefore: 0, wasDone: false },
    ...changes,
  });
  const result = (name: string, status: JobResult['status']): JobResult => ({
    ...{ name, status, role: 'cell', folder: join(root, name), coordinates: {} },
  });

  it('divides the FLOPs that are left by those of this sitting in its time', () => {
    let now = 50;
    const progress = new StudyProgress(() => now);
    progress.plan({
      runs: [
        planned('old', { wasDone: true, flops: 4000 }),
        planned('base'),
        planned('grown', { base: 'base', flops: 3000, flopsBefore: 1000 }),
        planned('resumed', { flops: 2000 }),
      ],
      cells: [],
      isTuned: true,
    });
    expect(progress.state()).toMatchObject({ flops: { all: 10_000, done: 4000, left: 6000 }, secondsLeft: undefined });
    folder('resumed', lines(event('start'), train(10, 500)));
    for (const name of ['base', 'resumed']) progress.begin({ name, folder: folder(name) });
    now += 10;
    expect(progress.state()).toMatchObject({ runs: { running: 2, left: 1, done: 1 }, elapsed: 10 });
    expect(progress.state().secondsLeft).toBeUndefined();
    append(folder('base'), lines(event('start'), train(10, 100)));
    append(folder('resumed'), lines(event('resume'), train(20, 600, 3.5)));
    const half = progress.state();
    // 4000 before, 100, and 600 of which this sitting did 100: 200 in 10 s.
    expect(half).toMatchObject({ flops: { done: 4700, left: 5300 }, secondsLeft: 5300 / 20 });
    expect(half.running.map(({ name, step, loss }) => [name, step, loss])).toEqual([
      ['base', 10, 4],
      ['resumed', 20, 3.5],
    ]);
    now += 10;
    progress.end(result('base', 'done'));
    progress.begin({ name: 'grown', folder: folder('grown', lines(event('start'))) });
    append(folder('grown'), lines(train(10, 1300)));
    // 1000 of the base, 300 behind it, 100 of the other: 1400 in 20 s.
    expect(progress.state()).toMatchObject({ flops: { done: 5900, left: 4100 }, secondsLeft: 4100 / 70 });
    // What failed is not tried again in this sitting, but has taken its time.
    progress.end(result('grown', 'failed'));
    expect(progress.state()).toMatchObject({
      runs: { all: 4, done: 2, failed: 1, running: 1 },
      flops: { all: 10_000, left: 1400 },
      secondsLeft: 1400 / 70,
    });
    now += 10;
    progress.end(result('resumed', 'done'));
    expect(progress.state()).toMatchObject({ flops: { left: 0 }, secondsLeft: 0 });
  });
});
