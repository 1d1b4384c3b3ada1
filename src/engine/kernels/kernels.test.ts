import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  OP_FAMILIES,
  readOpCases,
  valuesOf,
  type InputSpec,
  type OpCase,
  type StoredElements,
} from '../../../test/golden/ops.js';
import { at, GRADIENT_SEED, ops, type DType, type OpName, type OpRule, type Value } from '../../ops/index.js';
import { counters, Scope, Tensor } from '../buffers.js';
import { fromBfloat16, toBfloat16 } from '../dtype.js';
import { EagerContext } from '../eager.js';
import { loadLibtorch } from '../libtorch/load.js';
import { fusedKernelsEnabled } from './index.js';

/** Largest error, relative to the largest magnitude in the tensor. Inputs are exact in f32; bf16 rounds them first. */
const TOLERANCE = { f64: 1e-12, f32: 4e-6, bf16: 3e-2 } as const;
type FloatType = keyof typeof TOLERANCE;

loadLibtorch({ threads: 2 });
let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

/** Element types of inputs that do not follow the activations: positions and weights of the loss stay wide. */
function dtypeOf(spec: InputSpec, dtype: FloatType, op: string, index: number): DType {
  if (spec.dtype !== 'float') return spec.dtype;
  const wide = (op === 'linearCrossEntropy' && index === 3) || (op === 'rotary' && index > 0);
  return wide && dtype === 'bf16' ? 'f32' : dtype;
}

function tensorOf(scope: Scope, spec: InputSpec, dtype: DType): Tensor {
  const values = valuesOf(spec);
  const type = { dtype, shape: spec.shape };
  switch (dtype) {
    case 'f64':
      return scope.from(type, Float64Array.from(values));
    case 'f32':
      return scope.from(type, Float32Array.from(values));
    case 'bf16':
      return scope.from(type, toBfloat16(values));
    case 'i32':
      return scope.from(type, Int32Array.from(values));
    default:
      throw new Error(`no golden input is ${dtype}`);
  }
}

const numbersOf = (value: Value): ArrayLike<number> => {
  if (!(value instanceof Tensor)) throw new Error('expected a tensor');
  const data = value.read();
  if (data instanceof BigInt64Array) throw new Error('no golden output is i64');
  return data instanceof Uint16Array ? fromBfloat16(data) : data;
};

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

/** Runs a case forward and, by its rule, backward. */
function run(scope: Scope, golden: OpCase, dtype: FloatType): { outputs: Value[]; gradients: (Value | undefined)[] } {
  const rule = ops[golden.op as OpName] as unknown as OpRule<object>;
  const context = new EagerContext(scope);
  const inputs = golden.inputs.map((spec, i) => tensorOf(scope, spec, dtypeOf(spec, dtype, golden.op, i)));
  const outputs = context.apply(rule, inputs, golden.attributes);
  if (golden.gradients === undefined) return { outputs, gradients: [] };
  const { gradients } = rule.backward?.({
    context,
    inputs,
    outputs,
    attributes: golden.attributes,
    gradients: [golden.dy ? tensorOf(scope, golden.dy, dtype) : GRADIENT_SEED],
    sinks: golden.gradients.map((gradient) => (gradient ? {} : undefined)),
  }) ?? { gradients: [] };
  return { outputs, gradients: [...gradients] };
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
        const { outputs, gradients } = run(scope, golden, dtype);
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
