import { expect, it } from 'vitest';
import { meanInterval, studentQuantile } from './statistics.js';

// Table of Student's t distribution, two-sided 95 % (for example NIST/SEMATECH e-Handbook, section 1.3.6.7.2).
it.each([
  [1, 12.706],
  [2, 4.303],
  [4, 2.776],
  [10, 2.228],
  [30, 2.042],
  [100, 1.984],
])('has the t quantile of %i degrees of freedom', (freedom, expected) => {
  expect(studentQuantile(0.975, freedom)).toBeCloseTo(expected, 3);
});

it('makes the interval by hand: 1, 2, 3', () => {
  // Standard deviation 1, standard error 1 / sqrt(3), t(2) = 4.303.
  const { mean, low, high } = meanInterval([1, 2, 3]);
  expect(mean).toBe(2);
  expect(high - 2).toBeCloseTo(4.302653 / Math.sqrt(3), 5);
  expect(2 - low).toBeCloseTo(4.302653 / Math.sqrt(3), 5);
});

it('knows nothing from one value', () => {
  expect(meanInterval([1])).toEqual({ mean: 1, low: -Infinity, high: Infinity });
});
