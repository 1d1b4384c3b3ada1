import { expect, it } from 'vitest';
import { PythonRandom } from './python-random.js';

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

// From CPython 3.11: r = random.Random(1234), then these calls in this order.
it('draws the samples that CPython draws', () => {
  const random = new PythonRandom(1234);
  expect(random.sample(range(2251), 5)).toEqual([1805, 478, 30, 371, 143]);
  expect(random.sample(range(2251), 5)).toEqual([343, 403, 1452, 969, 71]);
  expect(random.sample(range(30), 8)).toEqual([0, 25, 29, 11, 20, 19, 15, 24]);
  expect(random.sample(range(10), 3)).toEqual([7, 2, 1]);
  expect(random.sample(range(100), 10)).toEqual([23, 91, 14, 1, 64, 62, 31, 8, 85, 69]);
});
