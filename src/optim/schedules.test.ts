import { describe, expect, it } from 'vitest';
import { learningRateShare, type Schedule } from './schedules.js';

const shares = (schedule: Schedule, steps: number[]): number[] => steps.map((s) => learningRateShare(schedule, s));

describe('learningRateShare', () => {
  it('warms up linearly and reaches the peak with update number warmup', () => {
    expect(shares({ kind: 'constant', warmup: 4 }, [0, 1, 2, 3, 4, 1000])).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
    expect(learningRateShare({ kind: 'constant', warmup: 0 }, 0)).toBe(1);
  });

  it('cosine: by hand at a third, half and two thirds of the way', () => {
    const schedule: Schedule = { kind: 'cosine', warmup: 10, floor: 0.1, steps: 70 };
    // 0.1 + 0.9 * (1 + cos(60, 90, 120 degrees)) / 2 = 0.775, 0.55, 0.325.
    const [start, third, half, twoThirds, last, after] = shares(schedule, [10, 30, 40, 50, 69, 70]);
    expect(start).toBe(1);
    expect(third).toBeCloseTo(0.775, 12);
    expect(half).toBeCloseTo(0.55, 12);
    expect(twoThirds).toBeCloseTo(0.325, 12);
    // cos(177 degrees) = -0.998629534754574
    expect(last).toBeCloseTo(0.1 + 0.45 * (1 - 0.998629534754574), 12);
    expect(after).toBeCloseTo(0.1, 12);
  });

  it('stays at the floor behind its end', () => {
    expect(learningRateShare({ kind: 'cosine', warmup: 1, floor: 0.1, steps: 10 }, 500)).toBeCloseTo(0.1, 12);
    expect(learningRateShare({ kind: 'linear', warmup: 1, floor: 0.2, steps: 10 }, 500)).toBe(0.2);
  });

  it('linear: by hand', () => {
    const schedule: Schedule = { kind: 'linear', warmup: 2, floor: 0, steps: 10 };
    expect(shares(schedule, [0, 1, 2, 4, 6, 9])).toEqual([0.5, 1, 1, 0.75, 0.5, 0.125]);
  });

  it('wsd: constant, then 1 - sqrt of the share of the cooldown', () => {
    const schedule: Schedule = { kind: 'wsd', warmup: 0, cooldown: 16, floor: 0, steps: 80 };
    // 1 - sqrt(1/16), sqrt(4/16), sqrt(9/16)
    expect(shares(schedule, [0, 63, 64, 65, 68, 73])).toEqual([1, 1, 1, 0.75, 0.5, 0.25]);
    expect(learningRateShare(schedule, 79)).toBeCloseTo(1 - Math.sqrt(15 / 16), 12);
    expect(learningRateShare({ ...schedule, floor: 0.2 }, 68)).toBeCloseTo(0.6, 12);
  });
});
