import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OP_FAMILIES, readOpCases, valuesOf, type OpCase } from '../../../test/golden/ops.js';
import { inputsOf, numbersOf, runCase } from '../../../test/support/op-cases.js';
import { at, numElements, type Value } from '../../ops/index.js';
import { counters, Scope } from '../buffers.js';
import { loadLibtorch } from '../libtorch/load.js';

/** Step of the central difference, relative to the input's largest value; its error is of the order of the square. */
const STEP = 1e-5;
/** Relative to the sum of the magnitudes of what is added in the directional derivative. */
const TOLERANCE = 1e-8;
const MOST_ELEMENTS = 40_000;

loadLibtorch({ threads: 2 });
let before = counters();
beforeEach(() => {
  before = counters();
  vi.stubEnv('STRATA_KERNELS', 'off');
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? NaN) * (b[i] ?? NaN);
  return sum;
};

/** A direction that has nothing to do with the inputs. */
const directionOf = (shape: readonly number[]): number[] => valuesOf({ dtype: 'float', shape, seed: 77 });

/** The scalar whose gradient a case asks for: dy . output, or the loss. */
function objective(golden: OpCase, output: Value): number {
  const values = numbersOf(output);
  return golden.dy ? dot(valuesOf(golden.dy), values) : at(values as number[], 0);
}

/** The objective with input `index` moved by `step` along its direction. */
function moved(golden: OpCase, index: number, step: number): number {
  using scope = new Scope();
  const inputs = inputsOf(scope, golden, 'f64');
  const target = at(inputs, index);
  const direction = directionOf(target.type.shape);
  target.write(Float64Array.from(numbersOf(target), (x, i) => x + step * at(direction, i)));
  const { gradients: _, ...forward } = golden;
  return objective(golden, at(runCase(scope, forward, 'f64', inputs).outputs, 0));
}

const cases = OP_FAMILIES.flatMap((family) => readOpCases(family)).filter(
  ({ gradients, inputs }) => gradients && inputs.every(({ shape }) => numElements(shape) <= MOST_ELEMENTS),
);

describe('gradients of libtorch kernels in f64 are the slopes of what they compute', () => {
  it.each(cases.map((golden) => [golden.op, golden.name, golden] as const))('%s, %s', (_op, _name, golden) => {
    using scope = new Scope();
    const { gradients } = runCase(scope, golden, 'f64');
    golden.gradients?.forEach((wanted, index) => {
      if (wanted === null) return;
      const gradient = numbersOf(gradients[index] as Value);
      const direction = directionOf(wanted.shape);
      const step = STEP * Math.max(...valuesOf(at(golden.inputs, index)).map(Math.abs));
      const slope = (moved(golden, index, step) - moved(golden, index, -step)) / (2 * step);
      const scale = direction.reduce((sum, u, i) => sum + Math.abs(u * at(gradient as number[], i)), 0);
      expect(Math.abs(dot(gradient, direction) - slope) / scale, `input ${index}`).toBeLessThanOrEqual(TOLERANCE);
    });
  });
});
