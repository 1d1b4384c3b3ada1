import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RandomStream } from '../../architecture/random.js';
import {
  cachedAttention,
  packedAttention,
  packedWidth,
  tokenScores,
  type AttentionAttributes,
  type Value,
} from '../../ops/index.js';
import { counters, Scope, type Tensor } from '../buffers.js';
import { EagerContext } from '../eager.js';
import { loadLibtorch } from '../libtorch/load.js';

/** Largest absolute error of results of magnitude 1, against the same sums in f64. */
const TOLERANCE = { f32: 2e-6, f64: 1e-13 } as const;

loadLibtorch({ threads: 2 });
let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

const dtypes = ['f32', 'f64'] as const;
type Wide = (typeof dtypes)[number];
const arrays = { f32: Float32Array, f64: Float64Array };

function random(count: number, name: string): Float32Array {
  const values = new Float32Array(count);
  new RandomStream(1, name).fillNormal(values, 1, 0);
  return values;
}

/** Attention of one row in f64, from the definition: softmax over the keys that it sees. */
function attendRow(
  query: (d: number) => number,
  key: (k: number, d: number) => number,
  value: (k: number, d: number) => number,
  seen: readonly number[],
  { headDim, scale }: AttentionAttributes,
): number[] {
  const dims = Array.from({ length: headDim }, (_, d) => d);
  const scores = seen.map((k) => scale * dims.reduce((sum, d) => sum + query(d) * key(k, d), 0));
  const largest = Math.max(...scores);
  const terms = scores.map((score) => Math.exp(score - largest));
  const total = terms.reduce((a, b) => a + b, 0);
  return dims.map((d) => seen.reduce((sum, k, i) => sum + ((terms[i] ?? 0) / total) * value(k, d), 0));
}

const range = (start: number, end: number): number[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);

/** First query row, count, first and end of the prefix, first own key, last own key of the first row. */
type Tile = readonly [number, number, number, number, number, number];

const layouts = [
  { heads: 4, kvHeads: 2, headDim: 8 },
  { heads: 3, kvHeads: 3, headDim: 20 },
  { heads: 8, kvHeads: 1, headDim: 64 },
];

describe.each(['on', 'off'])('packed attention with fused kernels %s', (fused) => {
  beforeEach(() => void vi.stubEnv('STRATA_KERNELS', fused));

  const cases = layouts.flatMap((layout) => dtypes.map((dtype) => ({ ...layout, dtype })));
  it.each(cases)('$dtype, $heads heads, $kvHeads kv heads of $headDim', ({ dtype, ...layout }) => {
    const rows = 150;
    const attributes = { batch: 1, length: rows, ...layout, scale: 1 / Math.sqrt(layout.headDim) };
    // A text of 100 rows in tiles, two continuations of its first 70 rows, and a row of no tile at the end.
    const tiles: Tile[] = [
      [0, 32, 0, 0, 0, 0],
      [32, 32, 0, 0, 0, 32],
      [64, 36, 0, 0, 0, 64],
      [100, 20, 0, 70, 100, 100],
      [120, 29, 0, 70, 120, 120],
      [0, 0, 0, 0, 0, 0],
    ];
    const width = packedWidth(attributes);
    const qkv = random(rows * width, 'qkv');
    using scope = new Scope();
    const y = packedAttention(
      new EagerContext(scope),
      scope.from({ dtype, shape: [rows, width] }, arrays[dtype].from(qkv)),
      scope.from({ dtype: 'i32', shape: [tiles.length, 6] }, Int32Array.from(tiles.flat())),
      attributes,
    );
    expectRows(y, tiles, attributes, dtype, {
      query: (row, column) => qkv[row * width + column] ?? NaN,
      key: (row, column) => qkv[row * width + layout.heads * layout.headDim + column] ?? NaN,
      value: (row, column) => qkv[row * width + (layout.heads + layout.kvHeads) * layout.headDim + column] ?? NaN,
    });
  });

  it.each(dtypes)('writes keys into a cache and reads them from there, %s', (dtype) => {
    const layout = { heads: 4, kvHeads: 2, headDim: 16 };
    const [rows, cacheRows] = [5, 90];
    const attributes = { batch: 1, length: rows, ...layout, scale: 0.25 };
    const width = packedWidth(attributes);
    const cacheWidth = 2 * layout.kvHeads * layout.headDim;
    const [qkv, old] = [random(rows * width, 'qkv'), random(cacheRows * cacheWidth, 'cache')];
    // Two rows continue a text at cache rows 3 to 72, one begins a text at 80, one goes nowhere, one continues after 85.
    const places = Int32Array.of(73, 74, 80, -1, 86);
    const tiles: Tile[] = [
      [0, 2, 0, 0, 3, 73],
      [2, 1, 0, 0, 80, 80],
      [4, 1, 3, 10, 84, 86],
    ];
    using scope = new Scope();
    const shape = [2, layout.kvHeads, cacheRows, layout.headDim];
    const memory = scope.from({ dtype, shape }, arrays[dtype].from(old));
    const y = cachedAttention(
      new EagerContext(scope),
      scope.from({ dtype, shape: [rows, width] }, arrays[dtype].from(qkv)),
      {
        memory,
        rows: scope.from({ dtype: 'i32', shape: [rows] }, places),
        tiles: scope.from({ dtype: 'i32', shape: [tiles.length, 6] }, Int32Array.from(tiles.flat())),
      },
      attributes,
    );
    const expected = Float32Array.from(old);
    const { headDim } = layout;
    const cacheAt = (row: number, column: number): number =>
      (Math.floor(column / headDim) * cacheRows + row) * headDim + (column % headDim);
    places.forEach((place, i) => {
      const from = i * width + layout.heads * layout.headDim;
      for (let column = 0; place >= 0 && column < cacheWidth; column++)
        expected[cacheAt(place, column)] = qkv[from + column]!;
    });
    expect(Float32Array.from(memory.read() as Float32Array)).toEqual(expected);
    expectRows(y, tiles, attributes, dtype, {
      query: (row, column) => qkv[row * width + column] ?? NaN,
      key: (row, column) => expected[cacheAt(row, column)] ?? NaN,
      value: (row, column) => expected[cacheAt(row, layout.kvHeads * headDim + column)] ?? NaN,
    });
  });

  it.each(dtypes)('token scores, %s', (dtype) => {
    const [rows, depth, vocabulary] = [70, 12, 33];
    const [x, w] = [random(rows * depth, 'x'), random(vocabulary * depth, 'w')];
    const z = range(0, rows).map((i) =>
      range(0, vocabulary).map((j) =>
        range(0, depth).reduce((sum, d) => sum + (x[i * depth + d] ?? 0) * (w[j * depth + d] ?? 0), 0),
      ),
    );
    const best = z.map((row) => row.indexOf(Math.max(...row)));
    const targets = Int32Array.from(range(0, rows), (i) => (i % 2 === 0 ? (best[i] ?? 0) : i % vocabulary));
    using scope = new Scope();
    const scores = tokenScores(
      new EagerContext(scope),
      scope.from({ dtype, shape: [rows, depth] }, arrays[dtype].from(x)),
      scope.from({ dtype, shape: [vocabulary, depth] }, arrays[dtype].from(w)),
      scope.from({ dtype: 'i32', shape: [rows] }, targets),
    );
    expect([...read(scores.best)]).toEqual(best);
    z.forEach((row, i) => {
      const logSum = Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0));
      expect(Math.abs((read(scores.logProbs)[i] ?? NaN) - ((row[targets[i] ?? 0] ?? 0) - logSum))).toBeLessThan(
        10 * TOLERANCE[dtype],
      );
      if (i % 2 === 0) expect(read(scores.bestLogProbs)[i]).toBe(read(scores.logProbs)[i]);
    });
  });
});

const read = (value: Value): ArrayLike<number> & Iterable<number> => (value as Tensor).read() as Float64Array;

interface Operands {
  query(row: number, column: number): number;
  key(row: number, column: number): number;
  value(row: number, column: number): number;
}

function expectRows(
  y: Value,
  tiles: readonly Tile[],
  attributes: AttentionAttributes,
  dtype: Wide,
  operands: Operands,
) {
  const { heads, kvHeads, headDim } = attributes;
  const found = read(y);
  let worst = 0;
  for (const [first, count, prefixStart, prefixEnd, ownStart, ownLast] of tiles)
    for (let j = 0; j < count; j++)
      for (let head = 0; head < heads; head++) {
        const kv = Math.floor((head * kvHeads) / heads) * headDim;
        const expected = attendRow(
          (d) => operands.query(first + j, head * headDim + d),
          (k, d) => operands.key(k, kv + d),
          (k, d) => operands.value(k, kv + d),
          [...range(prefixStart, prefixEnd), ...range(ownStart, ownLast + j + 1)],
          attributes,
        );
        expected.forEach((value, d) => {
          const error = Math.abs((found[((first + j) * heads + head) * headDim + d] ?? NaN) - value);
          worst = error <= worst ? worst : error;
        });
      }
  expect(worst).toBeLessThan(TOLERANCE[dtype]);
}
