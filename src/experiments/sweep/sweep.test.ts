import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunConfigInput } from '../../train/index.js';
import { forecastSweep, grid, type JobResult, planJobs, runSweep, type Sweep } from './index.js';

const root = mkdtempSync(join(tmpdir(), 'strata-sweep-'));
const out = join(root, 'out');
const log = join(root, 'calls.txt');
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(out, { recursive: true, force: true });
  writeFileSync(log, '');
});

/** Stands in for the command: notes when each run begins and ends, and fails for those named so. */
const standIn = join(root, 'strata.mjs');
writeFileSync(
  standIn,
  `import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
const [, , word, config, flag, out, threads, count] = process.argv;
const { name, from } = JSON.parse(readFileSync(config, 'utf8'));
appendFileSync(${JSON.stringify(log)}, 'begin ' + name + ' ' + [word, flag, threads, count].join(' ') + (from && !existsSync(from) ? ' without-base' : '') + '\\n');
setTimeout(() => {
  mkdirSync(out, { recursive: true });
  appendFileSync(${JSON.stringify(log)}, 'end ' + name + '\\n');
  if (name.startsWith('bad')) { console.error('note\\nstrata: no luck with ' + name + '.'); process.exit(1); }
  console.log(JSON.stringify({ validationLoss: 2.5, flopsExact: '1000' }));
}, 150);
`,
);

const model = { hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64, vocab_size: 320 };
const run = (changes: Partial<RunConfigInput> = {}): RunConfigInput => ({
  name: 'x',
  model,
  data: { train: 'no-shards', sequenceLength: 64, batchTokens: 128 },
  stages: [{ name: 'train', kind: 'train', until: { steps: 5 }, optimizer: { lr: 1e-3 } }],
  ...changes,
});
const { model: _, ...grownFields } = run({
  stages: [
    { name: 'grow', kind: 'grow', operator: 'stack', factor: 2 },
    { name: 'train', kind: 'train', until: { steps: 3 }, optimizer: { lr: 1e-3 } },
  ],
});

const sweepOf = (base = 'small'): Sweep => ({
  name: 'test',
  bases: { [base]: run() },
  cells: [
    { name: 'scratch', run: run(), coordinates: { seed: 1 } },
    { name: 'bad-one', run: run({ seed: 2 }) },
    { name: 'grown', base, run: grownFields, coordinates: { operator: 'stack' } },
    { name: 'grown-too', base, run: { ...grownFields, seed: 3 } },
  ],
});
const calls = (): string[] => readFileSync(log, 'utf8').trimEnd().split('\n').filter(Boolean);
const go = (sweep: Sweep, processes = 2): Promise<JobResult[]> =>
  runSweep(planJobs(sweep, 'recipe.ts', out).jobs, out, {
    command: [process.execPath, standIn],
    processes,
    threads: 4,
  });
const statuses = (results: readonly JobResult[]): Record<string, string> =>
  Object.fromEntries(results.map(({ name, status }) => [name, status]));

describe('a sweep', () => {
  it('grids every combination', () => {
    expect(grid({ layers: [2, 4], seed: [1, 2, 3] })).toHaveLength(6);
    expect(grid({ layers: [2, 4], operator: ['stack'] })).toEqual([
      { layers: 2, operator: 'stack' },
      { layers: 4, operator: 'stack' },
    ]);
  });

  it('trains bases once and first, several runs at a time with their share of the threads, and goes on after a failure', async () => {
    const results = await go(sweepOf());
    expect(statuses(results)).toEqual({
      small: 'done',
      scratch: 'done',
      'bad-one': 'failed',
      grown: 'done',
      'grown-too': 'done',
    });
    expect(results.find(({ name }) => name === 'bad-one')!.error).toBe('strata: no luck with bad-one.');
    const lines = calls();
    expect(lines.filter((line) => line.startsWith('begin small'))).toEqual(['begin small train --out --threads 2']);
    expect(lines.some((line) => line.endsWith('without-base'))).toBe(false);
    let [running, most] = [0, 0];
    for (const line of lines) {
      running += line.startsWith('begin') ? 1 : -1;
      most = Math.max(most, running);
    }
    expect(most).toBe(2);
  });

  it('goes on where it stopped: only what is not done is run again', async () => {
    await go(sweepOf());
    writeFileSync(log, '');
    const again = await go(sweepOf());
    expect(
      calls()
        .filter((line) => line.startsWith('begin'))
        .map((line) => line.split(' ')[1]),
    ).toEqual(['bad-one']);
    expect(again.find(({ name }) => name === 'grown')).toMatchObject({
      wasDone: true,
      validationLoss: 2.5,
      coordinates: { operator: 'stack' },
    });
    // A changed run is another run.
    writeFileSync(log, '');
    const changed = sweepOf();
    await go({
      ...changed,
      cells: changed.cells.map((cell) => (cell.name === 'scratch' ? { ...cell, run: run({ seed: 9 }) } : cell)),
    });
    expect(
      calls()
        .filter((line) => line.startsWith('begin'))
        .map((line) => line.split(' ')[1])
        .sort(),
    ).toEqual(['bad-one', 'scratch']);
  });

  it('skips what starts from a base that failed', async () => {
    const results = await go(sweepOf('bad-base'));
    expect(statuses(results)).toMatchObject({
      'bad-base': 'failed',
      grown: 'skipped',
      'grown-too': 'skipped',
      scratch: 'done',
    });
    expect(results.find(({ name }) => name === 'grown')!.error).toBe('its base "bad-base" failed');
    expect(existsSync(join(out, 'grown'))).toBe(false);
  });

  it('forecasts FLOPs by hand, the base once, and disk', () => {
    const forecast = forecastSweep(planJobs(sweepOf(), 'recipe.ts', out).jobs);
    // 6 P_mat + 12 L h T a token with h 32, f 64, T 64; 128 tokens a step.
    const perToken = (layers: number): number =>
      6 * (layers * (4 * 32 * 32 + 3 * 32 * 64) + 320 * 32) + 12 * layers * 32 * 64;
    const byName = Object.fromEntries(forecast.runs.map(({ name, flops }) => [name, flops]));
    expect(byName['small']).toBe(5 * 128 * perToken(2));
    expect(byName['grown']).toBe(3 * 128 * perToken(4));
    expect(forecast.flops).toBe(3 * 5 * 128 * perToken(2) + 2 * 3 * 128 * perToken(4));
    const parameters = 4 * (4 * 32 * 32 + 3 * 32 * 64 + 64) + 2 * 320 * 32 + 32;
    // Two kept and one being written, weights and two moments of four bytes.
    expect(forecast.runs.find(({ name }) => name === 'grown')!.diskBytes).toBe(3 * 12 * parameters);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'unknown base',
      { name: 's', cells: [{ name: 'a', base: 'b', run: run() }] },
      /cell "a" starts from "b", but the bases are none/,
    ],
    [
      'two names',
      {
        name: 's',
        cells: [
          { name: 'a', run: run() },
          { name: 'a', run: run() },
        ],
      },
      /two runs are called "a"/,
    ],
    [
      'a bad run',
      { name: 's', cells: [{ name: 'a', run: { ...run(), sed: 1 } }] },
      /cell "a": unknown field "sed" \(did you mean "seed"\?\)/,
    ],
    ['no cells', { name: 's', cells: [] }, /cells/],
  ])('refuses: %s', (_name, value, message) => {
    expect(() => planJobs(value, 'recipe.ts', out)).toThrow(message);
  });
});
