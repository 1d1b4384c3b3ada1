import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Dataset } from './dataset.js';
import { Loader } from './loader.js';
import { Permutation } from './permutation.js';

/** Made by test/reference/positions.py in exact integers. */
const { cases } = JSON.parse(
  readFileSync(new URL('../../test/fixtures/data/positions.json', import.meta.url), 'utf8'),
) as { cases: [tokens: number, length: number, seed: number, index: number, epoch: number, position: number][] };

describe('the shuffled order', () => {
  test.each([1, 2, 3, 4, 5, 100, 255, 256, 257, 4097])('of %i elements has each once', (size) => {
    const order = new Permutation(size, 7);
    const seen = new Set(Array.from({ length: size }, (_, index) => order.at(index)));
    expect(seen.size).toBe(size);
    expect(Math.min(...seen)).toBe(0);
    expect(Math.max(...seen)).toBe(size - 1);
  });

  test('stays inside of any size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 50 }),
        fc.nat(),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (size, seed, share) => {
          const at = new Permutation(size, seed).at(Math.min(size - 1, Math.floor(share * size)));
          expect(Number.isSafeInteger(at) && at >= 0 && at < size).toBe(true);
        },
      ),
    );
  });

  test('looks random: neighbours are far apart, fixed points few, seeds differ', () => {
    const size = 10_000;
    const order = new Permutation(size, 1);
    const other = new Permutation(size, 2);
    let distance = 0;
    let fixed = 0;
    let same = 0;
    for (let i = 0; i + 1 < size; i++) {
      distance += Math.abs(order.at(i) - order.at(i + 1));
      if (order.at(i) === i) fixed++;
      if (order.at(i) === other.at(i)) same++;
    }
    // Two random positions are a third of the size apart on average; coincidences are Poisson with mean 1.
    expect(distance / size / size).toBeCloseTo(1 / 3, 2);
    expect(fixed).toBeLessThan(8);
    expect(same).toBeLessThan(8);
  });
});

describe('positions at 7B and 750B tokens', () => {
  test.each(cases)(
    '%i tokens, length %i, seed %i, index %i',
    (tokens, sequenceLength, seed, index, epoch, position) => {
      const loader = new Loader({ tokens, folder: 'x' } as Dataset, { sequenceLength, seed });
      expect(Math.floor(loader.epochAt(index))).toBe(epoch);
      expect(loader.positionOf(index)).toBe(position);
    },
  );

  test('an index that a number cannot hold is refused', () => {
    const loader = new Loader({ tokens: 750e9, folder: 'x' } as Dataset, { sequenceLength: 2048, seed: 0 });
    expect(() => loader.positionOf(2 ** 53)).toThrow(RangeError);
  });
});
