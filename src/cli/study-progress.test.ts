import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pc from 'picocolors';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { StudyOptions } from '../experiments/study/index.js';
import { showStudy } from './study-progress.js';
import { createTerminal, type MoreProgress, type Terminal } from './terminal.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-study-shown-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type OnPlan = NonNullable<StudyOptions['onPlan']>;
const planned = (name: string, wasDone = false): Parameters<OnPlan>[0]['runs'][number] => ({
  ...{ name, folder, part: 'a', isTuning: false, base: undefined },
  ...{ steps: 1000, flops: 4e12, flopsBefore: 0, wasDone },
});

describe('a study that is shown', () => {
  const said: string[] = [];
  const drawn: { done: number; total: number; detail: string | undefined; more: MoreProgress | undefined }[] = [];
  const terminal = (interactive: boolean): Terminal => ({
    ...{ json: false, interactive, colors: pc.createColors(false) as typeof pc, warn: () => {}, result: () => {} },
    say: (line) => void said.push(line),
    progress: () => ({
      update: (done, total, detail, more) => void drawn.push({ done, total, detail, more }),
      finish: () => void said.push('cleared'),
    }),
  });
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    said.length = drawn.length = 0;
    rmSync(join(folder, 'records.jsonl'), { force: true });
  });
  afterEach(() => vi.useRealTimers());

  /** One of four runs was done before; the second has done half of its FLOPs in 20 seconds. */
  function halfWay(interactive: boolean): { shown: ReturnType<typeof showStudy>; abort: AbortController } {
    const abort = new AbortController();
    const shown = showStudy(terminal(interactive), 'tiny', abort.signal);
    const runs = [planned('first', true), planned('second'), planned('third'), planned('fourth')];
    shown.callbacks.onPlan({ runs, cells: [], isTuned: true });
    shown.callbacks.onStart({ name: 'second', folder } as never);
    vi.advanceTimersByTime(10_000);
    const record = { kind: 'train', stage: 'a', step: 500, tokens: 1, flops: 2e12, loss: 3.5, tokensPerSecond: 1234.5 };
    for (const line of [{ kind: 'event', name: 'start', time: 1 }, record])
      appendFileSync(join(folder, 'records.jsonl'), `${JSON.stringify(line)}\n`);
    vi.advanceTimersByTime(10_000);
    return { shown, abort };
  }

  it('draws the whole and each run under way, and says what ended with share and time left', () => {
    const { shown } = halfWay(true);
    const { done, total, detail, more } = drawn.at(-1)!;
    expect([done, total, more!.secondsLeft]).toEqual([6e12, 16e12, 100]);
    expect(detail).toBe('1/4 runs  6.00e+12 of 1.60e+13 FLOPs  elapsed 0:20');
    expect(more!.below).toEqual(['  second  500/1,000  50%  loss 3.500  1,235 tokens/s']);
    expect(drawn[0]!.more).toEqual({ secondsLeft: undefined, below: ['  second  0/1,000   0%  no records yet'] });
    shown.callbacks.onResult(
      { name: 'second', role: 'cell', folder, coordinates: {}, status: 'done', validationLoss: 3.4, seconds: 20 },
      1,
      3,
    );
    expect(said).toEqual([
      '1 of 4 runs were done before.',
      'cleared',
      '2/4 second, done, validation loss 3.4000, 0:20; 50.0 % of FLOPs, 0:40 left',
    ]);
    shown.finish();
  });

  it('names the runs under way in the line itself where there is no terminal', () => {
    const { shown } = halfWay(false);
    expect(drawn.at(-1)!.detail).toMatch(/elapsed 0:20 {2}second 50\.0 %$/);
    shown.finish();
    vi.advanceTimersByTime(10_000);
    expect(drawn).toHaveLength(20);
  });

  it('leaves the screen alone once the runs are being stopped', () => {
    const { shown, abort } = halfWay(true);
    abort.abort();
    vi.advanceTimersByTime(10_000);
    shown.finish();
    expect(drawn).toHaveLength(20);
    expect(said).not.toContain('cleared');
  });
});

describe('a progress of several lines', () => {
  const written: string[] = [];
  const stream = process.stdout;
  const kept = { isTTY: stream.isTTY, columns: stream.columns, rows: stream.rows };
  beforeEach(() => {
    written.length = 0;
    vi.stubEnv('TERM', 'xterm');
    Object.assign(stream, { isTTY: true, columns: 40, rows: 4 });
    vi.spyOn(stream, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    Object.assign(stream, kept);
  });

  it('is drawn over itself, within the screen, and leaves nothing behind', () => {
    const bar = createTerminal({ json: false, quiet: false }).progress('x');
    bar.update(2, 1, 'detail', { secondsLeft: 61, below: ['a'.repeat(50), 'b', 'c', 'd'] });
    bar.update(2, 1, 'detail', { secondsLeft: undefined, below: [] });
    bar.finish('end');
    const [first, second, last] = written as [string, string, string];
    const rows = first.replace(/\x1b\[[JK]/g, '').split('\n');
    // The last row of the screen stays free.
    expect(rows).toEqual([expect.stringContaining('100%  ETA'), 'a'.repeat(39), 'b']);
    expect(rows[0]).toHaveLength(1 + 39);
    expect(second.startsWith('\x1b[2A\r')).toBe(true);
    expect(second.endsWith('\x1b[J')).toBe(true);
    expect(last).toBe('\r\x1b[Jend\n');
  });

  it('is a plain line now and then on a pipe', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    Object.assign(stream, { isTTY: false });
    const bar = createTerminal({ json: false, quiet: false }).progress('x', 60);
    for (let second = 0; second <= 130; second++) {
      bar.update(1, 4, 'detail', { secondsLeft: 3661, below: ['unseen'] });
      vi.advanceTimersByTime(1000);
    }
    vi.useRealTimers();
    expect(written).toEqual(['x 25%  ETA 1:01:01  detail\n', 'x 25%  ETA 1:01:01  detail\n']);
  });
});
