import { describe, expect, it } from 'vitest';
import { holm, pairedTest } from '../statistics.js';
import { compareAll, compareBestSize, rankArms } from './analyse.js';
import type { EndPoint } from './end-points.js';
import type { Role } from './expand.js';
import { nextRates, type Trial } from './tuning.js';

const end = (
  arm: string,
  role: Role,
  seed: number,
  flops: number,
  loss: number,
  more: Partial<EndPoint> = {},
): EndPoint => ({
  ...{ part: 'p', arm, role, seed, pairedWith: seed, budget: 1, job: 'j', annealed: true },
  ...{ flops, loss, flops6nd: flops, flopsNonEmbedding: flops, tokens: flops / 10, seconds: flops / 100 },
  ...more,
});
/** Scratch costs 100 for a loss of 4 and 400 for 3, whatever the seed. */
const scratch = [1, 2].flatMap((seed) => [
  end('scratch', 'scratch', seed, 100, 4, { budget: 0.25 }),
  end('scratch', 'scratch', seed, 400, 3),
]);

describe('end points of a study', () => {
  it('cost what scratch costs between its own, in the logarithm: by hand', () => {
    // At 3.5 scratch costs 200; runs that reach it for 100 and 160 are 100 % and 25 % faster: a geometric mean of sqrt(2.5).
    const [found] = compareAll([...scratch, end('stack', 'arm', 1, 100, 3.5), end('stack', 'arm', 2, 160, 3.5)]);
    expect(found!.seeds.map(({ speedup }) => speedup)).toEqual([expect.closeTo(1, 9), expect.closeTo(0.25, 9)]);
    expect(found!.speedup!.mean).toBeCloseTo(Math.sqrt(2.5) - 1, 9);
    expect(found!.saved!.mean).toBeCloseTo(1 - 1 / Math.sqrt(2.5), 9);
    // t(1) = 12.7062, standard error of the mean of the logs = ln(1.6) / 2.
    expect(found!.speedup!.low).toBeCloseTo(Math.sqrt(2.5) * Math.exp((-12.7062047 * Math.log(1.6)) / 2) - 1, 5);
    expect(found!.verdict).toBe('undecided');
    expect(found!.seeds[0]).toMatchObject({
      tokensRatio: expect.closeTo(0.5, 9) as number,
      secondsRatio: expect.closeTo(0.5, 9) as number,
    });
  });

  it('are faster only where every convention says so', () => {
    const runs = (nonEmbedding: number) =>
      [1, 2].map((seed) =>
        end('stack', 'arm', seed, 100 + seed / 100, 3.5, { flopsNonEmbedding: nonEmbedding + seed / 100 }),
      );
    expect(compareAll([...scratch, ...runs(100)])[0]!.verdict).toBe('faster');
    expect(compareAll([...scratch, ...runs(300)])[0]).toMatchObject({
      verdict: 'undecided',
      sixNDNonEmbedding: { mean: expect.closeTo(-1 / 3, 3) as number },
    });
  });

  it('are never extrapolated, and one seed that is not bracketed leaves no interval', () => {
    const [found] = compareAll([...scratch, end('stack', 'arm', 1, 100, 3.5), end('stack', 'arm', 2, 100, 2.9)]);
    expect(found).toMatchObject({ speedup: null, verdict: 'not bracketed' });
    expect(found!.seeds[1]!.reason).toMatch(/not bracketed/);
  });

  it('do not count where the schedule has not ended', () => {
    const [found] = compareAll([
      ...scratch,
      end('stack', 'arm', 1, 100, 3.5, { annealed: false }),
      end('stack', 'arm', 2, 100, 3.5),
    ]);
    expect(found!.seeds[0]!.reason).toBe('its schedule has not ended');
  });

  it('pair A/A with the seed that is reported', () => {
    const again = [11, 12].map((seed, i) =>
      end('again', 'again', seed, i === 0 ? 190 : 210, 3.5, { pairedWith: i + 1 }),
    );
    const [found] = compareAll([...scratch, ...again]);
    expect(found!.speedup!.mean).toBeCloseTo(200 / Math.sqrt(190 * 210) - 1, 9);
  });

  it('are held against the best size, not only the target itself', () => {
    const small = [1, 2].flatMap((seed) => [
      end('layers-2', 'size', seed, 50, 4, { budget: 0.25 }),
      end('layers-2', 'size', seed, 100 + seed, 3.4),
    ]);
    const grown = [end('stack', 'arm', 1, 100, 3.5), end('stack', 'arm', 2, 100, 3.5)];
    const [found] = compareBestSize([...scratch, ...small, ...grown]);
    expect(found!.baseline).toBe('layers-2');
    // Between 50 and 101: 50 (101 / 50)^(5/6).
    expect(found!.seeds[0]!.speedup).toBeCloseTo((50 * (101 / 50) ** (5 / 6)) / 100 - 1, 9);
  });

  it('rank arms by paired tests, and call ties ties', () => {
    const arm = (name: string, costs: number[]): EndPoint[] =>
      costs.map((flops, i) => end(name, 'arm', i + 1, flops, 3.5));
    const base = [1, 2, 3].flatMap((seed) => [
      end('scratch', 'scratch', seed, 100, 4, { budget: 0.25 }),
      end('scratch', 'scratch', seed, 400, 3),
    ]);
    const ends = [
      ...base,
      ...arm('good', [100, 110, 120]),
      ...arm('bad', [150, 165.1, 179.9]),
      ...arm('same', [101, 108, 121]),
    ];
    const ranks = rankArms(compareAll(ends));
    expect(ranks.find(({ better, worse }) => better === 'good' && worse === 'bad')!.tie).toBe(false);
    expect(ranks.find(({ worse, better }) => [better, worse].sort().join() === 'good,same')!.tie).toBe(true);
  });
});

describe('statistics of the ranking', () => {
  it('Holm as in R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")', () => {
    holm([0.01, 0.04, 0.03, 0.005]).forEach((p, i) => expect(p).toBeCloseTo([0.03, 0.06, 0.06, 0.02][i]!, 12));
  });

  it('the paired t-test by hand', () => {
    // Differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees of freedom, where F(t) = 1/2 + t / (2 sqrt(2 + t^2)).
    const t = 2 * Math.sqrt(3);
    expect(pairedTest([1, 2, 3], [0, 0, 0])).toBeCloseTo(1 - t / Math.sqrt(2 + t * t), 9);
  });
});

describe('the next rates to try', () => {
  const rates = [1e-3, 2e-3, 4e-3, 8e-3, 16e-3];
  const trials = (losses: number[]): Trial[] =>
    losses.map((loss, i) => ({ lr: 1e-3 * 2 ** i, baseLr: 1e-3 * 2 ** i, loss }));
  const next = (losses: number[]) => nextRates(trials(losses), { rates, refine: true });

  it('begin with the range, extend it where the best lies at its edge, then refine by sqrt 2', () => {
    expect(nextRates([], { rates, refine: true })).toHaveLength(5);
    expect(next([5, 4, 3, 2, 1])).toEqual([{ lr: 32e-3, baseLr: 32e-3 }]);
    expect(next([1, 4, 3, 2, 5])).toEqual([{ lr: 0.5e-3, baseLr: 0.5e-3 }]);
    expect(next([5, 4, 1, 2, 3])).toEqual([
      { lr: 4e-3 / Math.SQRT2, baseLr: 4e-3 },
      { lr: 4e-3 * Math.SQRT2, baseLr: 4e-3 },
    ]);
    const refined = [
      ...trials([5, 4, 1, 2, 3]),
      { lr: 4e-3 * Math.SQRT2, baseLr: 4e-3, loss: 0.9 },
      { lr: 4e-3 / Math.SQRT2, baseLr: 4e-3, loss: 2 },
    ];
    expect(nextRates(refined, { rates, refine: true })).toEqual([]);
    expect(next([5, Infinity, 4, Infinity, Infinity]).map(({ lr }) => lr)[0]).toBeCloseTo(4e-3 / Math.SQRT2, 12);
  });
});
