import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../architecture/index.js';
import { growthTokens } from '../timing.js';
import { fitIsoFlop, fitTiming } from './iso-flop.js';
import { leastSquares, robustLinear } from './linear.js';
import { nelderMead } from './nelder-mead.js';
import { fitIrreducibleLaw, fitPowerLaw } from './power-law.js';

const normal = (name: string, count: number, std: number): Float64Array => {
  const out = new Float64Array(count);
  new RandomStream(7, name).fillNormal(out, std);
  return out;
};
const budgets = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => 10 ** (17 + (4 * i) / (count - 1)));

describe('linear fits', () => {
  it('solves a line by hand: through (0, 1), (1, 3), (2, 5)', () => {
    expect(
      leastSquares(
        [
          [1, 0],
          [1, 1],
          [1, 2],
        ],
        [1, 3, 5],
      )?.map((value) => Number(value.toFixed(12))),
    ).toEqual([1, 2]);
    expect(
      leastSquares(
        [
          [1, 1],
          [1, 1],
        ],
        [1, 2],
      ),
    ).toBeUndefined();
  });

  it('is hardly moved by an outlier', () => {
    const rows = Array.from({ length: 20 }, (_, i) => [1, i]);
    const noise = normal('line', 20, 0.01);
    const values = rows.map(([, x], i) => 2 + 3 * x! + noise[i]! + (i === 15 ? 50 : 0));
    expect(robustLinear(rows, values)?.[1]).toBeCloseTo(3, 2);
    expect(Math.abs((leastSquares(rows, values)?.[1] ?? 0) - 3)).toBeGreaterThan(0.3);
  });

  it("finds the minimum of Rosenbrock's function at (1, 1)", () => {
    const { at } = nelderMead(([x, y]) => (1 - x!) ** 2 + 100 * (y! - x! ** 2) ** 2, [-1.2, 1], [0.5, 0.5]);
    expect(at[0]).toBeCloseTo(1, 4);
    expect(at[1]).toBeCloseTo(1, 4);
  });
});

describe('planted scaling laws', () => {
  it('recovers L = a C^b, and its intervals hold the truth about as often as they say', () => {
    const DRAWS = 24;
    let held = 0;
    for (let draw = 0; draw < DRAWS; draw++) {
      const noise = normal(`power ${draw}`, 20, 0.004);
      const points = budgets(20).map((flops, i) => ({ flops, loss: 40 * flops ** -0.06 * Math.exp(noise[i]!) }));
      const fit = fitPowerLaw(points);
      if (fit === undefined) throw new Error('no fit');
      expect(Math.abs(fit.b.value + 0.06)).toBeLessThan(0.002);
      expect(Math.abs(Math.log(fit.a.value / 40))).toBeLessThan(0.08);
      expect(fit.b.high - fit.b.low).toBeLessThan(0.006);
      if (fit.b.low < -0.06 && fit.b.high > -0.06) held++;
    }
    // 95 % of 24 is 22.8; fewer than 19 would have a chance of 1 in 200.
    expect(held).toBeGreaterThanOrEqual(19);
  });

  it('recovers L = E + a C^b within its intervals', () => {
    const noise = normal('irreducible', 40, 0.001);
    const points = budgets(40).map((flops, i) => ({
      flops,
      loss: (1.69 + 3000 * flops ** -0.19) * Math.exp(noise[i]!),
    }));
    const fit = fitIrreducibleLaw(points);
    for (const [estimate, truth] of [
      [fit?.irreducible, 1.69],
      [fit?.b, -0.19],
    ] as const) {
      expect(estimate?.low).toBeLessThan(truth);
      expect(estimate?.high).toBeGreaterThan(truth);
      expect(Math.abs((estimate?.value ?? 0) / truth - 1)).toBeLessThan(0.05);
    }
  });

  it('needs four points', () => {
    expect(fitPowerLaw([{ flops: 1e18, loss: 3 }])).toBeUndefined();
    expect(fitIrreducibleLaw([])).toBeUndefined();
  });
});

describe('growth timing', () => {
  const group = (params: number, flops: number, noise: Float64Array) => {
    const best = growthTokens(params, flops);
    const points = [0.2, 0.5, 1, 2, 5].map((factor, i) => ({
      choice: best * factor * 1.3,
      loss: 2.5 + 0.05 * Math.log10(factor * 1.3) ** 2 + noise[i]!,
    }));
    return { params, flops, points };
  };

  it('finds the minimum of a parabola', () => {
    const fit = fitIsoFlop(group(1.1e9, 7e20, new Float64Array(5)));
    expect(fit?.best.value).toBeCloseTo(growthTokens(1.1e9, 7e20), -3);
    expect(fit?.bracketed).toBe(true);
  });

  it('does not take a minimum at the edge, nor a hill, for one', () => {
    const points = [1e9, 2e9, 4e9].map((choice) => ({ choice, loss: 3 + 0.1 * Math.log10(choice / 2e8) ** 2 }));
    expect(fitIsoFlop({ params: 1e9, flops: 1e20, points })?.bracketed).toBe(false);
    const hill = points.map(({ choice, loss }) => ({ choice, loss: -loss }));
    expect(fitIsoFlop({ params: 1e9, flops: 1e20, points: hill })).toBeUndefined();
  });

  it('recovers the planted plane within its intervals', () => {
    const fits = [0.41e9, 1.1e9, 3e9].flatMap((params) =>
      [0.8e20, 2e20, 5e20, 12e20].map(
        (flops) => fitIsoFlop(group(params, flops, normal(`${params} ${flops}`, 5, 3e-4)))!,
      ),
    );
    const fit = fitTiming(fits);
    for (const [estimate, truth] of [
      [fit?.a, 0.88],
      [fit?.b, 163.27],
      [fit?.c, -5.74],
    ] as const) {
      expect(estimate?.low).toBeLessThan(truth);
      expect(estimate?.high).toBeGreaterThan(truth);
    }
    if (fit === undefined) throw new Error('no fit');
    const constants = { a: fit.a.value, b: fit.b.value, c: fit.c.value, range: fit.range, source: 'test' };
    expect(growthTokens(1.1e9, 5e20, constants) / growthTokens(1.1e9, 5e20)).toBeCloseTo(1, 1);
    expect(fit.range).toEqual({ params: [0.41e9, 3e9], flops: [0.8e20, 12e20] });
  });

  it('needs different sizes and budgets', () => {
    const same = Array.from({ length: 5 }, (_, i) => fitIsoFlop(group(1e9, 1e20, normal(`same ${i}`, 5, 1e-4)))!);
    expect(fitTiming(same)).toBeUndefined();
  });
});
