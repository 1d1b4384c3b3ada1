import { describe, expect, it } from 'vitest';
import { rankArms } from './arms.js';

const arm = (name: string, speedups: readonly number[]) => ({
  arm: name,
  mean: speedups.reduce((sum, value) => sum + value, 0) / speedups.length,
  pairs: speedups.map((speedup, i) => ({ seed: i + 1, speedup })),
});

describe('ranking of arms', () => {
  it('tests pairs over shared seeds, corrected by Holm, and calls the rest ties', () => {
    // Log ratios a - b: 0.30, 0.31, 0.32, so t = 0.31 / (0.01 / sqrt 3) = 53.69 and p = 0.000347 with 2 degrees of freedom.
    const b = arm('b', [0, 0, 0]);
    const a = arm('a', [0.3, 0.31, 0.32].map(Math.expm1));
    // a - c: 0, 0.62, -0.05, far from certain; b - c: -0.3, 0.31, -0.37.
    const c = arm('c', [0.3, -0.31, 0.37].map(Math.expm1));
    const ranking = rankArms([b, c, a]);
    expect(ranking.map(({ better, worse, tie }) => [better, worse, tie])).toEqual([
      ['a', 'c', true],
      ['a', 'b', false],
      ['c', 'b', true],
    ]);
    expect(ranking[1]?.p).toBeCloseTo(3 * 0.000347, 5);
  });

  it('leaves out arms of one seed, and pairs whose seeds differ', () => {
    const [one, two] = [arm('one', [0.5]), arm('two', [0.1, 0.2])];
    const others = {
      ...arm('others', [0.3, 0.4]),
      pairs: [
        { seed: 7, speedup: 0.3 },
        { seed: 8, speedup: 0.4 },
      ],
    };
    expect(rankArms([one, two, others])).toEqual([]);
  });
});
