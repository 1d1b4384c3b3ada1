import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  readRun,
  recordsPath,
  RecordWriter,
  writeRunManifest,
  type Run,
  type RunManifest,
} from '../../records/index.js';
import { writeSyntheticRun, type SyntheticRun } from '../../records/testing/synthetic.js';
import { compareRuns } from './compare.js';
import { isAnnealed } from './annealed.js';
import { compareEndPoints, compareGroups } from './groups.js';
import { comparePair } from './pair.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-compare-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let numRuns = 0;

type Point = readonly [flops: number, loss: number];
interface Planted {
  readonly growthFlops?: number;
  readonly seed?: number;
  readonly sixND?: number;
  readonly annealed?: boolean;
  readonly manifest?: Partial<RunManifest>;
}

/** A run folder with given validation points; its step and tokens are its FLOPs. */
function planted(points: readonly Point[], options: Planted = {}): Run {
  const path = join(folder, `planted-${numRuns++}`);
  writeRunManifest(path, {
    format: 1,
    name: 'planted',
    config: { seed: options.seed ?? 1 },
    sources: {},
    versions: {},
    machine: {},
    parents: [],
    data: {},
    ...options.manifest,
  });
  const writer = RecordWriter.open(recordsPath(path));
  const { growthFlops } = options;
  if (growthFlops !== undefined)
    writer.append({
      kind: 'growth',
      stage: 'grow',
      step: growthFlops,
      tokens: growthFlops,
      flops: growthFlops,
      operator: 'stack',
    });
  const end = points.at(-1)?.[0] ?? 0;
  for (const [flops, loss] of points) {
    const at = { stage: 'target', step: flops, tokens: flops, flops, flops6nd: flops * (options.sixND ?? 1) };
    writer.append({
      kind: 'train',
      ...at,
      loss,
      lr: flops === end && options.annealed !== false ? 0 : 1,
      tokensPerSecond: 10,
    });
    writer.append({ kind: 'validation', ...at, loss });
  }
  writer.append({ kind: 'event', name: 'end' });
  writer.close();
  return readRun(path);
}

function synthetic(options: Omit<SyntheticRun, 'name'>): Run {
  const path = join(folder, `synthetic-${numRuns++}`);
  writeSyntheticRun(path, { name: 'synthetic', ...options });
  return readRun(path);
}

describe('speedup at equal loss', () => {
  it('is 54.6 % where scratch takes 300 and grown 194', () => {
    const scratch = planted([
      [100, 4],
      [200, 3.5],
      [300, 3.2],
    ]);
    const grown = planted(
      [
        [50, 3.9],
        [120, 3.7],
        [194, 3.2],
      ],
      { growthFlops: 60 },
    );
    const { atEqualLoss, annealed, finalLoss } = comparePair(scratch, grown);
    expect(atEqualLoss).toMatchObject({ loss: 3.2, baselineFlops: 300, runFlops: 194 });
    expect(atEqualLoss?.speedup).toBeCloseTo(0.546, 3);
    expect(atEqualLoss?.saved).toBeCloseTo(0.3533, 4);
    // 10 tokens a second throughout.
    expect(atEqualLoss?.baselineSeconds).toBeCloseTo(30, 9);
    expect(atEqualLoss?.runSeconds).toBeCloseTo(19.4, 9);
    expect([annealed, finalLoss]).toEqual([true, 3.2]);
  });

  it('interpolates the running minimum in the logarithm of FLOPs', () => {
    // The baseline's minimum is 4, 3.5, 3.5, 3: it crosses 3.1 at 80 % of the way from 400 to 1600, at 400 * 4^0.8.
    const scratch = planted([
      [100, 4],
      [200, 3.5],
      [400, 3.7],
      [1600, 3],
    ]);
    const run = planted(
      [
        [100, 3.9],
        [500, 3.1],
      ],
      { growthFlops: 10 },
    );
    const { atEqualLoss } = comparePair(scratch, run);
    expect(atEqualLoss?.loss).toBe(3.1);
    expect(atEqualLoss?.baselineFlops).toBeCloseTo(400 * 4 ** 0.8, 9);
    expect(atEqualLoss?.runFlops).toBe(500);
  });

  it('has the sign of a loss, too', () => {
    const { atEqualLoss } = comparePair(
      planted([
        [100, 4],
        [200, 3],
      ]),
      planted(
        [
          [100, 4.5],
          [300, 3],
        ],
        { growthFlops: 10 },
      ),
    );
    expect(atEqualLoss?.speedup).toBeCloseTo(200 / 300 - 1, 12);
  });

  it('gives the whole curve, at losses that both have', () => {
    const scratch = planted([
      [100, 4],
      [200, 3.5],
      [300, 3],
    ]);
    const run = planted(
      [
        [50, 4.2],
        [100, 3.5],
        [150, 3],
        [200, 2.5],
      ],
      { growthFlops: 10 },
    );
    expect(comparePair(scratch, run).curve).toEqual([
      { loss: 3.5, baselineFlops: 200, runFlops: 100, speedup: 1 },
      { loss: 3, baselineFlops: 300, runFlops: 150, speedup: 1 },
    ]);
  });

  it('takes only points behind the last growth and says what is not bracketed', () => {
    const scratch = planted([
      [100, 4],
      [300, 3.2],
    ]);
    const grown = planted(
      [
        [50, 3.1],
        [194, 3.15],
      ],
      { growthFlops: 60 },
    );
    expect(comparePair(scratch, grown)).toMatchObject({
      atEqualLoss: null,
      reason: 'not bracketed by the run: loss 3.2000',
    });
    const early = planted([[50, 3.1]], { growthFlops: 60 });
    expect(comparePair(scratch, early).reason).toMatch(/behind its last growth/);
  });

  it('names an unknown cost of the parent instead of a speedup', () => {
    const scratch = planted([
      [100, 4],
      [300, 3.2],
    ]);
    const grown = planted(
      [
        [100, 4],
        [194, 3.2],
      ],
      { manifest: { parentFlops: 'unknown' } },
    );
    expect(comparePair(scratch, grown)).toMatchObject({
      atEqualLoss: null,
      reason: expect.stringMatching(/^parentFlops unknown/) as string,
    });
  });

  it('is undecided where the sign depends on the convention', () => {
    const scratch = planted([
      [100, 4],
      [300, 3],
    ]);
    const grown = planted(
      [
        [100, 4],
        [290, 3],
      ],
      { growthFlops: 10, sixND: 1.1 },
    );
    const { conventions } = comparePair(scratch, grown);
    expect(conventions?.exact).toBeCloseTo(300 / 290 - 1, 12);
    expect(conventions?.sixND).toBeCloseTo(300 / 319 - 1, 12);
    expect(conventions?.sixNDNonEmbedding).toBeNull();
    expect(conventions?.verdict).toBe('undecided');
  });

  it('reads smoothed training losses in paper mode and says so', () => {
    const scratch = synthetic({ steps: 600 });
    const comparison = compareRuns([scratch], [synthetic({ growthStep: 100, cost: 0.8 })], { mode: 'paper' });
    expect(comparison.runs[0]?.atEqualLoss?.speedup).toBeGreaterThan(0);
    expect(comparison.notes.join(' ')).toMatch(/Paper mode/);
  });
});

describe('A/A', () => {
  it('finds no speedup between seeds of the same thing', () => {
    const seeds = [1, 2, 3, 4, 5];
    const noisy = (seed: number, other: number): Run => {
      const shift = [0.004, -0.003, 0.001, -0.002, 0.002][(seed * other) % 5] ?? 0;
      return planted(
        Array.from({ length: 20 }, (_, i): Point => [(i + 1) * 1e9, 2 + 10 * ((i + 1) * 1e9) ** -0.12 + shift]),
        { seed },
      );
    };
    const { speedup, pairs } = compareGroups(
      seeds.map((seed) => noisy(seed, 1)),
      seeds.map((seed) => noisy(seed, 2)),
    );
    expect(pairs).toHaveLength(5);
    expect(speedup?.low).toBeLessThan(0);
    expect(speedup?.high).toBeGreaterThan(0);
    const same = noisy(1, 1);
    expect(comparePair(same, same).atEqualLoss?.speedup).toBe(0);
  });
});

describe('groups', () => {
  it('pairs by seed and takes the interval over log ratios', () => {
    const scratch = (seed: number): Run =>
      planted(
        [
          [100, 4],
          [400, 3],
        ],
        { seed },
      );
    const grown = (seed: number, flops: number): Run =>
      planted(
        [
          [50, 4],
          [flops, 3],
        ],
        { seed, growthFlops: 10 },
      );
    const { speedup, seeds, leftOut } = compareGroups(
      [scratch(1), scratch(2), scratch(3)],
      [grown(2, 200), grown(1, 100), grown(9, 100)],
    );
    expect(seeds).toEqual([1, 2]);
    // Ratios 4 and 2: their geometric mean is sqrt(8); t(1) = 12.706 with standard error ln(2) / 2.
    expect(speedup?.mean).toBeCloseTo(Math.sqrt(8) - 1, 9);
    expect(speedup?.high).toBeCloseTo(Math.sqrt(8) * Math.exp((12.7062047 * Math.LN2) / 2) - 1, 2);
    expect(leftOut).toEqual([{ run: expect.any(String) as string, reason: 'no baseline has seed 9' }]);
  });

  it('reads between annealed end points of several budgets and never beyond them', () => {
    const end = (flops: number, loss: number): Run =>
      planted([
        [10, 9],
        [flops, loss],
      ]);
    const budgets = [end(100, 4), end(200, 3.5), end(400, 3)];
    const { atEqualLoss } = compareEndPoints(
      budgets,
      planted(
        [
          [60, 5],
          [150, 3.25],
        ],
        { growthFlops: 50 },
      ),
    );
    expect(atEqualLoss?.baselineFlops).toBeCloseTo(200 * Math.SQRT2, 9);
    expect(atEqualLoss?.runFlops).toBe(150);
    expect(compareEndPoints(budgets, planted([[150, 2.9]])).reason).toMatch(/not bracketed/);
    expect(compareEndPoints(budgets, planted([[150, 4.1]])).reason).toMatch(/not bracketed/);
    expect(compareEndPoints(budgets, planted([[150, 3.2]], { annealed: false })).reason).toMatch(
      /schedule has not ended/,
    );
  });
});

describe('an annealed end', () => {
  const points: Point[] = [
    [10, 4],
    [40, 3.5],
    [100, 3],
  ];
  const cosine = { kind: 'cosine', floor: 0.1 };
  const annealed = (...stages: object[]): boolean =>
    isAnnealed(planted(points, { manifest: { config: { seed: 1, stages } }, annealed: false }));
  const target = (schedule: object, more = {}): object => ({
    name: 'target',
    kind: 'train',
    until: { steps: 100 },
    schedule,
    ...more,
  });

  it('is that of the schedule in run.json, whatever the rates', () => {
    expect(annealed(target(cosine))).toBe(true);
    expect(annealed(target({ kind: 'wsd', floor: 0 }))).toBe(true);
    expect(annealed(target({ kind: 'linear', floor: 0 }))).toBe(true);
    expect(annealed(target({ kind: 'constant' }))).toBe(false);
    // It falls to half of the peak only.
    expect(annealed(target({ kind: 'linear', floor: 0.5 }))).toBe(false);
  });

  it('is not reached where the schedule was made for more steps', () => {
    expect(annealed(target({ ...cosine, horizon: 101 }))).toBe(false);
    expect(annealed(target({ ...cosine, horizon: 100 }))).toBe(true);
  });

  it('counts a schedule that goes on over a growth from its beginning', () => {
    const base = (horizon: number): object => ({ ...target({ ...cosine, horizon }), name: 'base' });
    const run = (horizon: number): Run => {
      const made = planted(points, {
        manifest: { config: { stages: [base(horizon), { name: 'g', kind: 'grow' }, target({ kind: 'continue' })] } },
        annealed: false,
      });
      const [first, ...rest] = made.records.validation;
      return { ...made, records: { ...made.records, validation: [{ ...first!, stage: 'base' }, ...rest] } };
    };
    expect(isAnnealed(run(100))).toBe(true);
    expect(isAnnealed(run(101))).toBe(false);
  });

  it('is told by the rates where a loss may have ended the stage before its schedule', () => {
    expect(annealed(target(cosine, { until: { steps: 1000, loss: 3 } }))).toBe(false);
  });

  it('needs a run that has ended', () => {
    const run = planted(points);
    expect(isAnnealed(run)).toBe(true);
    expect(isAnnealed({ ...run, records: { ...run.records, events: [] } })).toBe(false);
  });
});

describe('compareRuns', () => {
  it('refuses runs that were validated on different data', () => {
    const other = synthetic({ dataHash: 'c'.repeat(64) });
    expect(() => compareRuns([synthetic({})], [other])).toThrow(/different data.*bbbbbbbbbbbb.*cccccccccccc/);
  });

  it('says that a short run flatters growth and what the baseline is', () => {
    const { notes } = compareRuns([synthetic({})], [synthetic({ growthStep: 100, cost: 0.8 })]);
    expect(notes.join('\n')).toMatch(/0\.85 tokens per parameter.*flatters growth/);
    expect(notes.join('\n')).toMatch(/own architecture from scratch/);
  });
});
