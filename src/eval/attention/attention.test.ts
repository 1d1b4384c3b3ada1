import { describe, expect, it } from 'vitest';
import { symmetricEigenvalues } from './eigenvalues.js';
import { attentionMatrix } from './matrix.js';
import { approximateRank, columnMass } from './rank.js';

const matrix = (...rows: number[][]): Float64Array => Float64Array.from(rows.flat());

describe('eigenvalues', () => {
  it('are those found by hand', () => {
    // [[1.25, .25], [.25, .25]]: 0.75 plus and minus sqrt(0.3125).
    const root = Math.sqrt(0.3125);
    const found = symmetricEigenvalues(matrix([1.25, 0.25], [0.25, 0.25]), 2);
    expect(found[0]).toBeCloseTo(0.75 + root, 14);
    expect(found[1]).toBeCloseTo(0.75 - root, 14);
    expect([...symmetricEigenvalues(matrix([7]), 1)]).toEqual([7]);
    expect([...symmetricEigenvalues(new Float64Array(9), 3)]).toEqual([0, 0, 0]);
  });

  it('of a chain of n springs are 2 - 2 cos(pi k / (n + 1))', () => {
    const n = 100;
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      a[i * n + i] = 2;
      if (i > 0) a[i * n + i - 1] = a[(i - 1) * n + i] = -1;
    }
    const found = symmetricEigenvalues(a, n);
    found.forEach((value, i) => expect(value).toBeCloseTo(2 - 2 * Math.cos((Math.PI * (n - i)) / (n + 1)), 12));
  });

  it('of a full matrix keep trace and squares, and those of Q D Q^T are D', () => {
    const n = 5;
    // I - 2 w w^T with w of length 1 is orthogonal.
    const w = [0.5, -0.5, 0.5, 0.1, Math.sqrt(0.24)];
    const q = (i: number, j: number): number => (i === j ? 1 : 0) - 2 * w[i]! * w[j]!;
    const d = [9, 4, 4, 1e-3, 0];
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) a[i * n + j] = d.reduce((sum, value, k) => sum + q(i, k) * value * q(j, k), 0);
    symmetricEigenvalues(a, n).forEach((value, i) => expect(value).toBeCloseTo(d[i]!, 12));
  });
});

describe('approximate rank and column mass', () => {
  it('of [[1, 0], [.5, .5]] need both singular values: .8727 is less than .9', () => {
    expect(approximateRank(matrix([1, 0], [0.5, 0.5]), 2)).toBe(2);
    // Squares of the columns: 1.25 and .25, so the first holds .83.
    expect(columnMass(matrix([1, 0], [0.5, 0.5]), 2)).toBe(2);
  });

  it('of a head that always looks at the first token are 1', () => {
    expect(approximateRank(matrix([1, 0], [1, 0]), 2)).toBe(1);
    expect(columnMass(matrix([1, 0], [1, 0]), 2)).toBe(1);
  });

  it('of a head that looks at itself are 9 of 10', () => {
    const identity = new Float64Array(100);
    for (let i = 0; i < 10; i++) identity[i * 11] = 1;
    expect(approximateRank(identity, 10)).toBe(9);
    expect(columnMass(identity, 10)).toBe(9);
  });
});

describe('the attention matrix of a head', () => {
  const layout = { batch: 1, length: 2, heads: 2, kvHeads: 1, headDim: 1, scale: 1 };
  // Rows: q of head 0, q of head 1, k, v.
  const qkv = Float32Array.from([0, 5, 1, 9, 2, 0, 3, 9]);

  it('is a causal softmax of scaled scores, two query heads reading one key head', () => {
    // Row 1 of head 0: scores 2 * 1 and 2 * 3, halved: 1 / (1 + e^2) on the first.
    const found = attentionMatrix({ qkv, attributes: { ...layout, scale: 0.5 } }, 0);
    const first = 1 / (1 + Math.exp(2));
    [1, 0, first, 1 - first].forEach((value, i) => expect(found[i]).toBeCloseTo(value, 14));
    expect([...attentionMatrix({ qkv, attributes: layout }, 1)]).toEqual([1, 0, 0.5, 0.5]);
  });

  it('has the window and the bound of its layer', () => {
    expect([...attentionMatrix({ qkv, attributes: { ...layout, window: 1 } }, 0)]).toEqual([1, 0, 0, 1]);
    const bounded = attentionMatrix({ qkv, attributes: { ...layout, softcap: 2 } }, 0);
    expect(bounded[2]).toBeCloseTo(1 / (1 + Math.exp(2 * Math.tanh(3) - 2 * Math.tanh(1))), 14);
  });
});
