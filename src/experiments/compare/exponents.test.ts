import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../architecture/index.js';
import { compareEndPointExponents, type EndPoint } from './exponents.js';

const BUDGETS = [1e10, 2e10, 4e10, 8e10];
const law = (factor: number, exponent: number, noise: (i: number) => number = () => 0, irreducible = 0): EndPoint[] =>
  BUDGETS.flatMap((flops, i) =>
    [0, 1, 2].map((seed) => ({
      flops,
      loss: irreducible + factor * flops ** -exponent * Math.exp(noise(3 * i + seed)),
    })),
  );

describe('exponents of two ways of training', () => {
  it('are those of exact laws, with no interval left', () => {
    const { baseline, other, difference } = compareEndPointExponents(law(40, 0.1), law(50, 0.12));
    expect(baseline).toMatchObject({ runs: 12, budgets: 4 });
    expect(baseline.exponent.mean).toBeCloseTo(0.1, 10);
    expect(baseline.factor).toBeCloseTo(40, 6);
    expect(other.exponent.mean).toBeCloseTo(0.12, 10);
    for (const value of [difference.mean, difference.low, difference.high]) expect(value).toBeCloseTo(0.02, 6);
  });

  it('are taken of what lies above an irreducible loss', () => {
    const { baseline } = compareEndPointExponents(law(40, 0.3, undefined, 1.7), law(40, 0.3, undefined, 1.7), 1.7);
    expect(baseline.exponent.mean).toBeCloseTo(0.3, 8);
  });

  it('by hand: four points each', () => {
    // log C = 0 .. 3, log L = 0, -1, -1, -2: slope -.6, residuals +-.1, .3; and 0, -1, -2, -3: slope -1.
    const points = (logs: readonly number[]): EndPoint[] =>
      logs.map((log, i) => ({ flops: Math.exp(i), loss: Math.exp(log) }));
    const { baseline, other, difference } = compareEndPointExponents(points([0, -1, -1, -2]), points([0, -1, -2, -3]));
    expect(baseline.exponent.mean).toBeCloseTo(0.6, 12);
    expect(other.exponent.mean).toBeCloseTo(1, 12);
    // Squares .2, 4 degrees of freedom, spread 5 each; Student's 97.5 % quantile is 2.776445.
    const half = 2.776445 * Math.sqrt((0.2 / 4) * (2 / 5));
    expect(difference.mean).toBeCloseTo(0.4, 12);
    expect(difference.high - difference.mean).toBeCloseTo(half, 5);
  });

  it('cover the true difference about as often as they say', () => {
    const draws = new Float64Array(24 * 400);
    new RandomStream(5, 'exponents').fillNormal(draws, 0.01);
    let covered = 0;
    for (let trial = 0; trial < 400; trial++) {
      const noise = (offset: number) => (i: number) => draws[24 * trial + offset + i]!;
      const { difference } = compareEndPointExponents(law(40, 0.1, noise(0)), law(40, 0.11, noise(12)));
      if (difference.low <= 0.01 && 0.01 <= difference.high) covered++;
    }
    // 95 % of 400, three standard deviations on both sides.
    expect(covered).toBeGreaterThan(367);
    expect(covered).toBeLessThan(394);
  });

  it('need four budgets, and losses above the irreducible one', () => {
    expect(() => compareEndPointExponents(law(40, 0.1).slice(0, 9), law(40, 0.1))).toThrow(
      'An exponent needs at least 4 budgets; the baseline runs have 3.',
    );
    expect(() => compareEndPointExponents(law(40, 0.1), law(40, 0.1), 9)).toThrow(/above the irreducible 9/);
  });
});
