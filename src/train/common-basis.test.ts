import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { RandomStream } from '../architecture/index.js';
import { counters, Scope } from '../engine/buffers.js';
import { semidefiniteEigen } from '../engine/eigen.js';
import { loadLibtorch } from '../engine/libtorch/load.js';
import { commonBasis, rebuild } from './common-basis.js';

loadLibtorch({ threads: 1 });
const none = counters();
afterEach(() => expect(counters()).toEqual(none));

const EXACT = 1e-10;
/** Sums of a few float32 products of order one. */
const SINGLE = 2e-6;

interface Case {
  count: number;
  rows: number;
  columns: number;
  basis: number[];
  factors: number[][];
}
const file = new URL('../../test/reference/common-basis.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Case[] };

const formula = (layer: number, rows: number, columns: number): Float64Array =>
  Float64Array.from({ length: rows * columns }, (_, at) => {
    const [i, j] = [Math.floor(at / columns), at % columns];
    return Math.cos(1 + 3 * i + 7 * j + i * i * j + 2 * layer * (i + j * j));
  });

describe('semidefiniteEigen', () => {
  const eigen = (values: Float64Array, n: number): ReturnType<typeof semidefiniteEigen> => {
    using scope = new Scope();
    return semidefiniteEigen(scope.from({ dtype: 'f64', shape: [n, n] }, values));
  };

  it('by hand: [[2, 1], [1, 2]] has 3 along (1, 1) and 1 along (1, -1)', () => {
    const { values, vectors } = eigen(Float64Array.of(2, 1, 1, 2), 2);
    expect([...values]).toEqual([expect.closeTo(3, 12), expect.closeTo(1, 12)]);
    expect(Math.abs(vectors[0]!)).toBeCloseTo(Math.SQRT1_2, 12);
    expect(vectors[0]! * vectors[2]!).toBeCloseTo(0.5, 12);
  });

  it('gives back what it took apart, with orthogonal vectors', () => {
    const n = 40;
    const half = new Float64Array(n * 30);
    new RandomStream(1, 'half').fillNormal(half);
    const matrix = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < 30; k++) matrix[i * n + j]! += half[i * 30 + k]! * half[j * 30 + k]!;
    const { values, vectors } = eigen(matrix, n);
    for (let i = 0; i < n; i += 7)
      for (let j = 0; j < n; j += 5) {
        let [sum, dot] = [0, 0];
        for (let k = 0; k < n; k++) {
          sum += vectors[i * n + k]! * values[k]! * vectors[j * n + k]!;
          dot += vectors[k * n + i]! * vectors[k * n + j]!;
        }
        expect(Math.abs(sum - matrix[i * n + j]!)).toBeLessThan(EXACT);
        expect(Math.abs(dot - (i === j ? 1 : 0))).toBeLessThan(EXACT);
      }
    // Rank 30: the other ten are zero.
    for (const value of values.subarray(30)) expect(Math.abs(value)).toBeLessThan(EXACT);
  });
});

describe('commonBasis', () => {
  it.each(cases)("is numpy's decomposition of $count matrices of $rows x $columns, signs aside", (known) => {
    const { count, rows, columns } = known;
    const found = commonBasis(
      Array.from({ length: count }, (_, layer) => formula(layer, rows, columns)),
      rows,
      columns,
    );
    expect(found.rank).toBe(Math.min(rows, count * columns));
    const sign = (r: number): number => Math.sign(found.basis[r]! * known.basis[r]!);
    found.basis.forEach((x, at) =>
      expect(Math.abs(x * sign(at % found.rank) - known.basis[at]!)).toBeLessThan(SINGLE * 4),
    );
    found.factors.forEach((factor, layer) =>
      factor.forEach((x, at) =>
        expect(Math.abs(x * sign(Math.floor(at / columns)) - known.factors[layer]![at]!)).toBeLessThan(SINGLE),
      ),
    );
  });

  const matrices = [Float64Array.of(3, 0), Float64Array.of(0, 4), Float64Array.of(0, 0)];

  it('the example: out 1, in 2: S = 5, V1 = [.6, 0], V2 = [0, .8], or both with the other sign', () => {
    const { rank, basis, factors } = commonBasis(matrices, 1, 2);
    expect(rank).toBe(1);
    const sign = Math.sign(basis[0]!);
    expect(basis[0]! * sign).toBeCloseTo(5, 6);
    expect(factors[0]![0]! * sign).toBeCloseTo(0.6, 6);
    expect(factors[1]![1]! * sign).toBeCloseTo(0.8, 6);
    expect([factors[0]![1], factors[1]![0]].map(Math.abs as never)).toEqual([0, 0]);
  });

  it('with the mean of two factors is the mean of two layers', () => {
    const space = commonBasis(matrices, 1, 2);
    const mean = space.factors[0]!.map((x, i) => (x + space.factors[1]![i]!) / 2);
    expect([...rebuild(space, mean)]).toEqual([expect.closeTo(1.5, 6), expect.closeTo(2, 6)]);
  });

  it('rebuilds every layer', () => {
    const drawn = [0, 1, 2].map((i) => {
      const w = new Float64Array(5 * 7);
      new RandomStream(2, `w${i}`).fillNormal(w);
      return w;
    });
    const space = commonBasis(drawn, 5, 7);
    drawn.forEach((w, i) =>
      rebuild(space, space.factors[i]!).forEach((x, k) => expect(Math.abs(x - w[k]!)).toBeLessThan(SINGLE)),
    );
  });
});
