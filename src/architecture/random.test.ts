import { describe, expect, it } from 'vitest';
import { normalQuantile, philox4x32, RandomStream } from './random.js';

const block = (counter: number[], key: number[]): number[] => {
  const out = new Uint32Array(4);
  philox4x32(counter, key, out);
  return [...out];
};

describe('philox4x32', () => {
  // Known answers published with Random123 (kat_vectors).
  it('gives the known answers of its authors', () => {
    expect(block([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(block([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(block([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });
});

describe('normalQuantile', () => {
  // Reference: statistics.NormalDist().inv_cdf of CPython.
  it.each([
    [0.5, 0],
    [0.975, 1.9599639845400536],
    [0.05, -1.6448536269514726],
    [0.2, -0.8416212335729142],
    [1e-5, -4.264890793922825],
    [1e-12, -7.034483825301132],
  ])('of %f is %f', (p, expected) => {
    expect(normalQuantile(p)).toBeCloseTo(expected, 13);
  });
});

describe('RandomStream', () => {
  it('gives the same numbers whole or in parts', () => {
    const whole = new Float32Array(1003);
    new RandomStream(7, 'w').fillNormal(whole, 0.5);
    for (const start of [0, 1, 2, 3, 4, 517]) {
      const part = new Float32Array(97);
      new RandomStream(7, 'w').fillNormal(part, 0.5, 0, start);
      expect([...part]).toEqual([...whole.subarray(start, start + 97)]);
    }
  });

  it('differs by seed and by name', () => {
    const first = (seed: number, name: string): number => {
      const out = new Float64Array(1);
      new RandomStream(seed, name).fillNormal(out);
      return out[0]!;
    };
    expect(new Set([first(1, 'a'), first(2, 'a'), first(1, 'b')]).size).toBe(3);
  });

  it('has the moments of a normal distribution', () => {
    const n = 400_000;
    const x = new Float64Array(n);
    new RandomStream(1, 'moments').fillNormal(x, 2, 3);
    const mean = x.reduce((sum, v) => sum + v, 0) / n;
    const central = (k: number): number => x.reduce((sum, v) => sum + (v - mean) ** k, 0) / n;
    const standardError = 1 / Math.sqrt(n);
    expect(Math.abs(mean - 3)).toBeLessThan(5 * 2 * standardError);
    expect(Math.abs(central(2) - 4)).toBeLessThan(5 * 4 * Math.SQRT2 * standardError);
    expect(Math.abs(central(4) / central(2) ** 2 - 3)).toBeLessThan(5 * Math.sqrt(24) * standardError);
  });

  it('gives integers below the bound, all of them in the end', () => {
    const drawn = new RandomStream(3, 'integers').integers(1000, 7);
    expect(new Set(drawn)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
  });
});
