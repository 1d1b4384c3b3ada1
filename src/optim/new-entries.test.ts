import { expect, it } from 'vitest';
import { newEntriesRate } from './new-entries.js';
import { learningRateShare } from './schedules.js';

it('the paper: cosine 1 to 0 over 10 steps, growth at 5, one step of warm-up to 1.3', () => {
  const schedule = { kind: 'cosine', warmup: 0, floor: 0, steps: 10 } as const;
  const rate = (t: number): number => newEntriesRate(schedule, 5, t - 5, { peak: 1.3, warmup: 1 });
  expect(rate(5)).toBeCloseTo(0.5, 12);
  expect(learningRateShare(schedule, 6)).toBeCloseTo(0.3455, 4);
  expect(rate(6)).toBeCloseTo(0.65, 12);
  expect(learningRateShare(schedule, 8)).toBeCloseTo(0.0955, 4);
  expect(rate(8)).toBeCloseTo(0.325, 12);
  expect(rate(10)).toBeCloseTo(0, 12);
});

it('shares the floor, and follows schedules that stay', () => {
  const cosine = { kind: 'cosine', warmup: 0, floor: 0.01, steps: 100 } as const;
  expect(newEntriesRate(cosine, 50, 50, { peak: 1.3, warmup: 10 })).toBeCloseTo(0.01, 12);
  expect(newEntriesRate({ kind: 'constant', warmup: 0 }, 50, 4, { peak: 2, warmup: 8 })).toBe(1.5);
  expect(newEntriesRate({ kind: 'constant', warmup: 0 }, 50, 40, { peak: 2, warmup: 8 })).toBe(2);
});
