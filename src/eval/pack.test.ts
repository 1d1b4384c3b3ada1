import { describe, expect, it } from 'vitest';
import { packRequests } from './pack.js';

const request = (group: number, input: number[], targets: number[]) => ({
  group,
  input: Int32Array.from(input),
  targets: Int32Array.from(targets),
});

describe('packing', () => {
  it('stores what a group has in common once and scores the right rows', () => {
    // Context 1 2 3, answers "4 5" and "6": inputs 1 2 3 4 and 1 2 3.
    const [pack, ...more] = packRequests([request(7, [1, 2, 3, 4], [4, 5]), request(7, [1, 2, 3], [6])], 8);
    expect(more).toEqual([]);
    expect([...pack!.ids]).toEqual([1, 2, 3, 4]);
    expect([...pack!.positions]).toEqual([0, 1, 2, 3]);
    expect(pack!.runs).toEqual([
      { first: 0, count: 3, prefixStart: 0, prefixEnd: 0, ownStart: 0, ownLast: 0 },
      { first: 3, count: 1, prefixStart: 0, prefixEnd: 3, ownStart: 3, ownLast: 3 },
    ]);
    expect([...pack!.scoredRows]).toEqual([2, 3, 2]);
    expect([...pack!.targets]).toEqual([4, 5, 6]);
    expect([...pack!.requests]).toEqual([0, 0, 1]);
  });

  it('branches where contexts differ in the middle', () => {
    const [pack] = packRequests([request(0, [1, 2, 9], [8]), request(0, [1, 3, 9], [8])], 8);
    expect([...pack!.ids]).toEqual([1, 2, 9, 3, 9]);
    expect([...pack!.positions]).toEqual([0, 1, 2, 1, 2]);
    expect([...pack!.scoredRows]).toEqual([2, 4]);
  });

  it('fills passes without exceeding them, and takes a group apart that does not fit', () => {
    const long = Array.from({ length: 6 }, (_, i) => i);
    const requests = [
      request(0, [1, 1, 1], [2]),
      request(1, long, [2]),
      request(2, [5, ...long.slice(1)], [2]),
      request(2, [5, 9, 9, 9, 9, 9], [2]),
    ];
    const packs = packRequests(requests, 9);
    expect(packs.every(({ ids }) => ids.length <= 9)).toBe(true);
    expect(packs.flatMap((pack) => [...pack.requests]).sort()).toEqual([0, 1, 2, 3]);
    expect(packs.reduce((sum, { ids }) => sum + ids.length, 0)).toBe(3 + 6 + 6 + 6);
  });
});
