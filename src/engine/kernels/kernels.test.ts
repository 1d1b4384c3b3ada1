import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OP_FAMILIES, readOpCases, type StoredElements } from '../../../test/golden/ops.js';
import { numbersOf, runCase } from '../../../test/support/op-cases.js';
import { at, type Value } from '../../ops/index.js';
import { counters, Scope } from '../buffers.js';
import { loadLibtorch } from '../libtorch/load.js';
import { fusedKernelsEnabled } from './index.js';

/** Largest error, relative to the largest magnitude in the tensor. Inputs are exact in f32; bf16 rounds them first. */
const TOLERANCE = { f64: 1e-12, f32: 4e-6, bf16: 3e-2 } as const;

loadLibtorch({ threads: 2 });
let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

/** Largest difference from what is stored, relative to the largest stored magnitude. */
function errorOf(value: Value, expected: StoredElements): number {
  expect(value.type.shape).toEqual(expected.shape);
  const found = numbersOf(value);
  let [difference, largest] = [0, Number.MIN_VALUE];
  expected.values.forEach((wanted, i) => {
    const distance = Math.abs(at(found as number[], i * expected.stride) - wanted);
    difference = distance <= difference ? difference : distance;
    largest = Math.max(largest, Math.abs(wanted));
  });
  return difference / largest;
}

describe.each([
  ['fused', 'f32', 'on'],
  ['fallback', 'f64', 'off'],
  ['fallback', 'f32', 'off'],
  ['fallback', 'bf16', 'off'],
] as const)('%s kernels in %s agree with PyTorch', (_, dtype, setting) => {
  for (const family of OP_FAMILIES)
    it.each(readOpCases(family).map((golden) => [golden.op, golden.name, golden] as const))(
      '%s, %s',
      (_op, _name, golden) => {
        vi.stubEnv('STRATA_KERNELS', setting);
        expect(fusedKernelsEnabled()).toBe(setting === 'on');
        using scope = new Scope();
        const { outputs, gradients } = runCase(scope, golden, dtype);
        golden.outputs.forEach((expected, i) => {
          expect(errorOf(at(outputs, i), expected), `output ${i}`).toBeLessThanOrEqual(TOLERANCE[dtype]);
        });
        golden.gradients?.forEach((expected, i) => {
          const gradient = gradients[i];
          if (expected === null) return;
          if (gradient === undefined) throw new Error(`gradient ${i} is missing`);
          expect(errorOf(gradient, expected), `gradient ${i}`).toBeLessThanOrEqual(TOLERANCE[dtype]);
        });
      },
    );
});
