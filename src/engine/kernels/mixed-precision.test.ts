import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { readOpCases } from '../../../test/golden/ops.js';
import { numbersOf, runCase } from '../../../test/support/op-cases.js';
import { at, matmulRule, type MatmulAttributes, type Value } from '../../ops/index.js';
import { Scope, type Tensor } from '../buffers.js';
import { fromBfloat16, toBfloat16 } from '../dtype.js';
import { EagerContext } from '../eager.js';
import { loadLibtorch } from '../libtorch/load.js';
import { loadKernels } from './compile.js';
import { pack } from './fused/arguments.js';
import type { KernelFunction } from './fused/library.js';

/** Relative to the sum of the magnitudes of what is added: each sum of products is rounded in f32 as often as it has blocks. */
const TOLERANCE = 1e-6;

const engine = loadLibtorch();
const threads = engine.getThreads();
afterAll(() => engine.setThreads(threads));

interface Sizes extends MatmulAttributes {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

/** Numbers between -0.5 and 0.5 (mulberry32). */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296 - 0.5;
  });
}

const operands = ({ rows, columns, depth }: Sizes) => ({
  a: numbers(rows * depth, 1),
  b: numbers(depth * columns, 2),
  start: numbers(rows * columns, 3),
});

/** The largest distance from a sum in f64 over rounded operands, relative to the sum of magnitudes. */
function errorOf(found: ArrayLike<number>, sizes: Sizes): number {
  const { rows, columns, depth, transposeA, transposeB } = sizes;
  const { a, b, start } = operands(sizes);
  const [x, y] = [fromBfloat16(toBfloat16(a)), fromBfloat16(toBfloat16(b))];
  let error = 0;
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = start[i * columns + j]!;
      let size = Math.abs(sum);
      for (let k = 0; k < depth; k++) {
        const left = x[transposeA ? k * rows + i : i * depth + k]!;
        const product = left * y[transposeB ? j * depth + k : k * columns + j]!;
        sum += product;
        size += Math.abs(product);
      }
      error = Math.max(error, Math.abs(found[i * columns + j]! - sum) / size);
    }
  return error;
}

const shapes: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [3, 5, 2],
  [14, 32, 64],
  [15, 33, 65],
  [64, 64, 31],
  [33, 70, 200],
  [5, 40, 1025],
  [20, 17, 2100],
];
const cases = shapes.flatMap(([rows, columns, depth]) =>
  [false, true].flatMap((transposeA) =>
    [false, true].map((transposeB): Sizes => ({ rows, columns, depth, transposeA, transposeB })),
  ),
);

describe('products of operands rounded to bf16', () => {
  const product = (scope: Scope, sizes: Sizes): Tensor => {
    const { rows, columns, depth, transposeA, transposeB } = sizes;
    const { a, b, start } = operands(sizes);
    const left = scope.from({ dtype: 'f32', shape: transposeA ? [depth, rows] : [rows, depth] }, a);
    const right = scope.from({ dtype: 'f32', shape: transposeB ? [columns, depth] : [depth, columns] }, b);
    const sum = scope.from({ dtype: 'f32', shape: [rows, columns] }, start);
    const attributes = { transposeA, transposeB, operandType: 'bf16' } as const;
    return new EagerContext(scope).apply(matmulRule, [left, right], attributes, [
      { onto: sum, into: sum },
    ])[0] as Tensor;
  };

  it.each(cases)('are summed as in f32: $rows x $columns x $depth, transposed $transposeA, $transposeB', (sizes) => {
    using scope = new Scope();
    expect(errorOf(product(scope, sizes).read() as Float32Array, sizes)).toBeLessThan(TOLERANCE);
  });

  it('are the same bits for any number of threads', () => {
    using scope = new Scope();
    const sizes = { rows: 77, columns: 90, depth: 1500, transposeA: false, transposeB: true };
    engine.setThreads(1);
    const one = product(scope, sizes).read();
    engine.setThreads(3);
    expect(product(scope, sizes).read()).toEqual(one);
  });

  it('keep infinities and NaN', () => {
    using scope = new Scope();
    const type = { dtype: 'f32', shape: [1, 2] } as const;
    const a = scope.from(type, Float32Array.of(Infinity, 1));
    const b = scope.from(type, Float32Array.of(1, NaN));
    const multiply = (x: Tensor, y: Tensor): number => {
      const attributes = { transposeA: false, transposeB: true, operandType: 'bf16' } as const;
      return numbersOf(at(new EagerContext(scope).apply(matmulRule, [x, y], attributes), 0))[0]!;
    };
    expect(multiply(a, scope.from(type, Float32Array.of(1, 1)))).toBe(Infinity);
    expect(multiply(b, scope.from(type, Float32Array.of(1, 1)))).toBeNaN();
  });
});

/** Largest difference relative to the largest stored magnitude: bf16 keeps 8 bits of its operands, whose errors partly cancel in sums. */
const ROUNDED_TOLERANCE = 1.5e-2;
/** What f32 keeps to; beyond it rounding has shown. */
const F32_TOLERANCE = 4e-6;

describe('ops in mixed precision agree with PyTorch in f64', () => {
  const errorAgainst = (value: Value, expected: { stride: number; values: readonly number[] }): number => {
    const found = numbersOf(value);
    const largest = Math.max(...expected.values.map(Math.abs));
    const differences = expected.values.map((wanted, i) => Math.abs(found[i * expected.stride]! - wanted));
    return Math.max(...differences) / largest;
  };
  const served = readOpCases('attention').filter(
    ({ op, attributes }) => op === 'attention' && (attributes as { headDim: number }).headDim % 4 === 0,
  );

  it.each(served.map((golden) => [golden.name, golden] as const))('attention, %s', (_, golden) => {
    using scope = new Scope();
    const rounded = { ...golden, attributes: { ...golden.attributes, operandType: 'bf16' } };
    const { outputs, gradients } = runCase(scope, rounded, 'f32');
    const errors = golden.outputs.map((expected, i) => errorAgainst(at(outputs, i), expected));
    golden.gradients?.forEach((expected, i) => {
      if (expected !== null) errors.push(errorAgainst(gradients[i]!, expected));
    });
    for (const error of errors) expect(error).toBeLessThan(ROUNDED_TOLERANCE);
    expect(Math.max(...errors)).toBeGreaterThan(F32_TOLERANCE);
  });
});

/** The kernel as it is compiled where AMX is, the tiles' instructions spelt out in C. */
describe('products in tiles', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-tiles-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const sources = dirname(fileURLToPath(import.meta.url));
  for (const name of ['common.h', 'cells.h', 'bf16.h', 'gemm.h']) copyFileSync(join(sources, name), join(folder, name));
  const source = readFileSync(join(sources, 'gemm-bf16.c'), 'utf8');
  writeFileSync(join(folder, 'gemm-bf16.c'), `#define STRATA_EMULATE_TILES\n${source}`);
  const build = loadKernels(folder);

  it.skipIf('reason' in build)(`are summed as in f32${'reason' in build ? ` (${build.reason})` : ''}`, () => {
    if ('reason' in build) return;
    const kernel = build.library.func('void matmulBf16(void *)') as unknown as KernelFunction;
    for (const sizes of cases) {
      using scope = new Scope();
      const { rows, columns, depth, transposeA, transposeB } = sizes;
      const { a, b, start } = operands(sizes);
      const tensors = [a, b, start].map((values) => scope.from({ dtype: 'f32', shape: [values.length] }, values));
      kernel(pack([...tensors, rows, columns, depth, transposeA, transposeB, true, 0]));
      expect(errorOf(at(tensors, 2).read() as Float32Array, sizes), JSON.stringify(sizes)).toBeLessThan(TOLERANCE);
    }
  });
});
