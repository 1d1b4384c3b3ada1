import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import type { DType } from '../../ops/types.js';
import { counters, Scope, type Tensor } from '../buffers.js';
import { fromBfloat16, toBfloat16, type ElementArray } from '../dtype.js';
import { arg, dispatch, dispatchInto, type Argument } from './dispatch.js';
import { loadLibtorch } from './load.js';
import { attentionBackward, attentionForward, copy } from './products.js';
import { emptyStrided, info, release, type Handle } from './tensors.js';

interface Stored {
  dtype: DType;
  shape: number[];
  values: (number | boolean)[];
}
type StoredArgument =
  | ['tensor' | 'int', number]
  | ['bool', boolean]
  | ['intList' | 'intList?' | 'tensorList', number[]]
  | ['dtype?', DType | null]
  | ['none'];
interface Case {
  op: string;
  overload: string;
  inputs: Stored[];
  args: StoredArgument[];
  results: Stored[];
}

const file = new URL('../../../test/reference/aten.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Case[] };

loadLibtorch({ threads: 2 });
const none = counters();
afterEach(() => expect(counters()).toEqual(none));

/** Two units in the last place of values of order one: the same code computes both, but CPUs differ in vector width. */
const TOLERANCE: Record<DType, number> = { f64: 1e-15, f32: 5e-7, bf16: 2 ** -8, i64: 0, i32: 0, bool: 0 };

function encodeValues({ dtype, values }: Stored): ElementArray {
  if (dtype === 'i64') return BigInt64Array.from(values, (value) => BigInt(value));
  const numbers = values.map(Number);
  if (dtype === 'bf16') return toBfloat16(numbers);
  return { f64: Float64Array, f32: Float32Array, i32: Int32Array, bool: Uint8Array }[dtype].from(numbers);
}

const decode = (tensor: Tensor): number[] => {
  const elements = tensor.read();
  return [...(elements instanceof Uint16Array ? fromBfloat16(elements) : elements)].map(Number);
};

function encodeArgument([kind, value]: StoredArgument, inputs: readonly Tensor[]): Argument {
  const handle = (i: number): Handle => (inputs[i] as Tensor).handle();
  switch (kind) {
    case 'tensor':
      return arg.tensor(handle(value));
    case 'int':
      return arg.int(value);
    case 'bool':
      return arg.bool(value);
    case 'intList':
      return arg.intList(value);
    case 'intList?':
      return arg.optional(arg.intList(value));
    case 'tensorList':
      return arg.tensorList(value.map(handle));
    case 'dtype?':
      return arg.optional(value === null ? undefined : arg.dtype(value));
    case 'none':
      return arg.none;
  }
}

/** A contiguous copy of a result, in the scope's memory. */
function take(scope: Scope, handle: Handle): Tensor {
  const { dtype, shape } = info(scope.adopt(handle));
  const tensor = scope.tensor({ dtype, shape });
  copy(tensor.handle(), handle);
  return tensor;
}

it.each(cases.map((one) => [`${one.op}.${one.overload} of ${one.inputs.map((input) => input.dtype).join(', ')}`, one]))(
  '%s equals PyTorch',
  (_, { op, overload, inputs, args, results }) => {
    using scope = new Scope();
    const tensors = inputs.map((input) => scope.from(input, encodeValues(input)));
    const encoded = args.map((one) => encodeArgument(one as StoredArgument, tensors));
    const found = dispatch(`aten::${op}`, overload as string, encoded, results.length).map((one) => take(scope, one));
    results.forEach((expected, i) => {
      const actual = found[i] as Tensor;
      expect(actual.type).toEqual({ dtype: expected.dtype, shape: expected.shape });
      const tolerance = TOLERANCE[expected.dtype];
      decode(actual).forEach((value, j) => {
        const wanted = Number(expected.values[j]);
        expect(Math.abs(value - wanted)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(wanted)));
      });
    });
  },
);

it('writes into an existing tensor, and takes doubles', () => {
  using scope = new Scope();
  const type = { dtype: 'f32', shape: [3] } as const;
  const [x, out] = [scope.from(type, Float32Array.of(1, -2, 3)), scope.tensor(type)];
  dispatchInto('aten::silu', 'out', [arg.tensor(x.handle()), arg.tensor(out.handle())]);
  expect([...out.read()]).toEqual([1, -2, 3].map((value) => expect.closeTo(value / (1 + Math.exp(-value)), 6)));
  const [weight, index] = [
    scope.from(type, Float32Array.of(1, 1, 1)),
    scope.from({ dtype: 'i64', shape: [2] }, BigInt64Array.of(2n, 2n)),
  ];
  const source = scope.from({ dtype: 'f32', shape: [2] }, Float32Array.of(5, 6));
  dispatchInto('aten::index_put_', '', [
    arg.tensor(weight.handle()),
    arg.optionalTensorList([index.handle()]),
    arg.tensor(source.handle()),
    arg.bool(true),
  ]);
  expect([...weight.read()]).toEqual([1, 1, 12]);
  const normal = scope.adopt(
    dispatch('aten::normal', 'float_Tensor', [
      arg.double(3),
      arg.tensor(scope.from(type, Float32Array.of(0, 0, 0)).handle()),
      arg.none,
    ])[0] as Handle,
  );
  expect([...take(scope, dispatch('aten::clone', '', [arg.tensor(normal), arg.none])[0] as Handle).read()]).toEqual([
    3, 3, 3,
  ]);
});

it('names the operator, shapes and types where one refuses, and loses no handle', () => {
  using scope = new Scope();
  const a = scope.tensor({ dtype: 'f32', shape: [2, 3] });
  const b = scope.tensor({ dtype: 'bf16', shape: [4] });
  expect(() => dispatch('aten::mul', 'Tensor', [arg.tensor(a.handle()), arg.tensor(b.handle())])).toThrow(
    /libtorch refused aten::mul\.Tensor of f32\[2, 3\], bf16\[4\]: .*size of tensor a \(3\) must match/,
  );
  expect(() => dispatch('aten::no_such_op', '', [])).toThrow(/aten::no_such_op/);
  expect(() => arg.int(1.5).cell()).toThrow(/integer/);
});

it('computes causal attention and its gradients as written by hand', () => {
  using scope = new Scope();
  // One head, two positions, head size 1: the first sees itself, the second weighs both by softmax(q k).
  const type = { dtype: 'f64', shape: [1, 1, 2, 1] } as const;
  const of = (...values: number[]) => scope.from(type, Float64Array.from(values));
  const [query, key, value, gradOutput] = [of(0.3, 0.7), of(1, -2), of(5, 9), of(0, 1)];
  const options = { causal: true, scale: 1 };
  const handles = { query: query.handle(), key: key.handle(), value: value.handle() };
  const { output, logSumExp } = attentionForward(handles.query, handles.key, handles.value, options);
  const second = 1 / (1 + Math.exp(0.7 * 1 - 0.7 * -2));
  const close = (wanted: number[]) => wanted.map((number) => expect.closeTo(number, 12));
  expect(decode(take(scope, output))).toEqual(close([5, 5 * (1 - second) + 9 * second]));
  const gradients = attentionBackward({ ...handles, gradOutput: gradOutput.handle(), output, logSumExp }, options);
  scope.adopt(logSumExp);
  const slope = (9 - 5) * second * (1 - second);
  expect(decode(take(scope, gradients.value))).toEqual(close([1 - second, second]));
  expect(decode(take(scope, gradients.key))).toEqual(close([-0.7 * slope, 0.7 * slope]));
  expect(decode(take(scope, gradients.query))).toEqual(close([0, slope * (-2 - 1)]));
});

it('allocates with strides', () => {
  const handle = emptyStrided('bf16', [2, 3], [1, 2]);
  expect(info(handle)).toMatchObject({ dtype: 'bf16', shape: [2, 3], strides: [1, 2] });
  release(handle);
});

it('leaves counters flat over a thousand calls with lists and optionals', () => {
  using scope = new Scope();
  const x = scope.from({ dtype: 'f32', shape: [64, 64] }, new Float32Array(4096).fill(1));
  const out = scope.tensor({ dtype: 'f32', shape: [64, 1] });
  const args = [
    arg.tensor(x.handle()),
    arg.optional(arg.intList([1])),
    arg.bool(true),
    arg.optional(arg.dtype('f32')),
    arg.tensor(out.handle()),
  ];
  const before = counters();
  for (let i = 0; i < 1000; i++) dispatchInto('aten::sum', 'IntList_out', args);
  expect(counters()).toEqual(before);
  expect(out.read()[63]).toBe(64);
});
