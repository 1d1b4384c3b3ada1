import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OP_FAMILIES, readOpCases, type OpCase } from '../../../test/golden/ops.js';
import { inputsOf, numbersOf, ruleOf, runCase, tensorOf } from '../../../test/support/op-cases.js';
import { at, numElements, type OpRule, type Value } from '../../ops/index.js';
import { counters, Scope, type Tensor } from '../buffers.js';
import { EagerContext } from '../eager.js';
import { loadLibtorch } from '../libtorch/load.js';

/** Relative to the largest of the values added: a rounding for each chunk and block that is added. */
const ACCUMULATION_TOLERANCE = 2e-6;

/** One unit each for exp, sum and quotient, and one to spare. */
const EXPONENTIAL_UNITS = 4;

const engine = loadLibtorch();
const threads = engine.getThreads();
let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});
afterAll(() => engine.setThreads(threads));

const KERNELS = [
  ['fused', 'on'],
  ['fallback', 'off'],
] as const;
const allCases = OP_FAMILIES.flatMap((family) => readOpCases(family));
const named = (cases: readonly OpCase[]) => cases.map((golden) => [golden.op, golden.name, golden] as const);

const caseOf = (op: string, name: string): OpCase => {
  const found = allCases.find((golden) => golden.op === op && golden.name === name);
  if (found === undefined) throw new Error(`no case "${name}" of ${op}`);
  return found;
};

/** The bits of values, for comparison. */
const bitsOf = (values: readonly (Value | undefined)[]): (string | undefined)[] =>
  values.map((value) => value && Buffer.from((value as Tensor).read().buffer).toString('hex'));

describe('results are the same bits for any number of threads', () => {
  const compute = (golden: OpCase, count: number) => {
    engine.setThreads(count);
    using scope = new Scope();
    const { outputs, gradients } = runCase(scope, golden, 'f32');
    return bitsOf([...outputs, ...gradients]);
  };
  it.each(named(allCases))('%s, %s', (_op, _name, golden) => {
    const one = compute(golden, 1);
    expect(compute(golden, 2)).toEqual(one);
    expect(compute(golden, 3)).toEqual(one);
  });
});

/** An application with operands of its own at each call, as an output may overwrite them. */
interface Application {
  readonly rule: OpRule<object>;
  readonly attributes: object;
  operands(scope: Scope): Tensor[];
}

const forward = (op: string, name: string): Application => {
  const golden = caseOf(op, name);
  return { rule: ruleOf(op), attributes: golden.attributes, operands: (scope) => inputsOf(scope, golden, 'f32') };
};

/** A backward op on dy, the forward's inputs, and those of its outputs that it reads. */
function backward(op: string, name: string, saved: readonly number[], attributes: object = {}): Application {
  const golden = caseOf(op, name);
  return {
    rule: ruleOf(`${op}Backward`),
    attributes: { ...golden.attributes, ...attributes },
    operands(scope) {
      const inputs = inputsOf(scope, golden, 'f32');
      const outputs = new EagerContext(scope).apply(ruleOf(op), inputs, golden.attributes) as Tensor[];
      const dy = golden.dy ? [tensorOf(scope, golden.dy, 'f32')] : [];
      return [...dy, ...inputs, ...saved.map((i) => at(outputs, i))];
    },
  };
}

describe.each(KERNELS)('%s kernels', (_, setting) => {
  beforeEach(() => vi.stubEnv('STRATA_KERNELS', setting));

  it.each([
    forward('add', 'several blocks'),
    forward('copy', 'several blocks'),
    forward('addBias', 'large'),
    forward('rotary', 'grouped heads'),
    forward('rotary', 'partial'),
    forward('adamw', 'several blocks'),
    backward('rmsNorm', 'chunks', [1], { weightGradient: true }),
    backward('swiglu', 'large', []),
    forward('activation', 'gelu, large'),
    forward('affine', 'several blocks'),
    forward('softcap', 'odd'),
    forward('queryKeyNorm', 'over all heads'),
    backward('activation', 'gelu_tanh, large', []),
    backward('gatedActivation', 'gelu, saturated', []),
    backward('queryKeyNorm', 'over all heads', [1], { weightGradient: true }),
  ])('give the same bits when an output of $rule.name takes an input’s place', ({ rule, attributes, operands }) => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const apart = bitsOf(context.apply(rule, operands(scope), attributes));
    for (const [output, input] of rule.inPlace ?? []) {
      const inputs = operands(scope);
      const destinations = apart.map((_bits, i) => (i === output ? { into: at(inputs, input) } : undefined));
      expect(bitsOf(context.apply(rule, inputs, attributes, destinations))).toEqual(apart);
    }
  });

  it('update parameters and moments of adamw in their own places at once', () => {
    const { rule, attributes, operands } = forward('adamw', 'odd');
    using scope = new Scope();
    const context = new EagerContext(scope);
    const apart = bitsOf(context.apply(rule, operands(scope), attributes));
    const [p, g, m, v, scalars] = operands(scope) as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const together = context.apply(rule, [p, g, m, v, scalars], attributes, [{ into: p }, { into: m }, { into: v }]);
    expect(bitsOf(together)).toEqual(apart);
  });

  it.each([
    forward('matmul', 'linear 257x72x1040'),
    forward('matmul', 'transposed by plain'),
    forward('columnSum', 'odd'),
    forward('squaredNorm', 'several chunks'),
    backward('embedding', 'large', [], { rows: 500 }),
    backward('rmsNorm', 'chunks', [1], { weightGradient: true }),
    backward('queryKeyNorm', 'per head', [1], { weightGradient: true }),
    backward('linearCrossEntropy', 'several chunks', [], { weightGradient: true }),
    backward('linearCrossEntropy', 'bounded, several chunks', [], { weightGradient: true }),
  ])('add what $rule.name accumulates to what is there', ({ rule, attributes, operands }) => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const inputs =
      rule.name === 'embeddingBackward' ? operands(scope).filter((_operand, i) => i !== 1) : operands(scope);
    const plain = context.apply(rule, inputs, attributes);
    for (const output of rule.accumulates ?? []) {
      const { type } = at(plain, output);
      const dtype = type.dtype === 'f64' ? 'f64' : 'f32';
      const base = tensorOf(scope, { dtype: 'float', shape: type.shape, seed: 9 }, dtype);
      const [start, alone] = [numbersOf(base), numbersOf(at(plain, output))];
      const sums = plain.map((_value, i) => (i === output ? { onto: base, into: base } : undefined));
      const found = numbersOf(at(context.apply(rule, inputs, attributes, sums), output));
      let [error, largest] = [0, 1];
      for (let i = 0; i < numElements(type.shape); i++) {
        const [sum, first, second] = [found, start, alone].map((values) => at(values as number[], i)) as [
          number,
          number,
          number,
        ];
        const distance = Math.abs(sum - first - second);
        error = distance <= error ? error : distance;
        largest = Math.max(largest, Math.abs(second));
      }
      expect(error / largest).toBeLessThanOrEqual(ACCUMULATION_TOLERANCE);
    }
  });

  it.each(['odd', 'large logits', 'several chunks'])(
    'give the same losses and total with and without gradients: %s',
    (name) => {
      const { rule, attributes, operands } = forward('linearCrossEntropy', name);
      using scope = new Scope();
      const context = new EagerContext(scope);
      const alone = bitsOf(context.apply(rule, operands(scope), attributes));
      for (const weightGradient of [true, false]) {
        const both = context.apply(ruleOf('linearCrossEntropyBackward'), operands(scope), { weightGradient });
        expect(bitsOf(both.slice(0, 2))).toEqual(alone);
      }
    },
  );

  it('leave ignored rows out of the loss and of every gradient, whatever their logits are', () => {
    const golden = caseOf('linearCrossEntropy', 'odd');
    using scope = new Scope();
    const inputs = inputsOf(scope, golden, 'f32');
    const targets = numbersOf(at(inputs, 2));
    const columns = at(golden.inputs, 0).shape[1] ?? 0;
    const { rule, attributes } = forward('linearCrossEntropy', 'odd');
    const [, , dx] = new EagerContext(scope).apply(ruleOf('linearCrossEntropyBackward'), inputs, {
      weightGradient: false,
    });
    const [, losses] = new EagerContext(scope).apply(rule, inputs, attributes);
    Array.from(targets).forEach((target, row) => {
      if (target >= 0) return;
      expect(numbersOf(losses as Value)[row]).toBe(0);
      const gradient = Array.from(numbersOf(dx as Value)).slice(row * columns, (row + 1) * columns);
      expect(gradient.every((g) => g === 0)).toBe(true);
    });
  });

  it.each([NaN, Infinity, -Infinity])('let %s in an activation reach the loss', (value) => {
    const golden = caseOf('linearCrossEntropy', 'odd');
    using scope = new Scope();
    const inputs = inputsOf(scope, golden, 'f32');
    const x = at(inputs, 0);
    const values = Float32Array.from(numbersOf(x));
    values[45] = value;
    x.write(values);
    const { rule, attributes } = forward('linearCrossEntropy', 'odd');
    const total = at(new EagerContext(scope).apply(rule, inputs, attributes), 0);
    expect(Number.isFinite(numbersOf(total)[0])).toBe(false);
  });

  it.each([NaN, Infinity, -Infinity])('let %s in a gradient reach its norm', (value) => {
    const golden = caseOf('squaredNorm', 'several chunks');
    using scope = new Scope();
    const inputs = inputsOf(scope, golden, 'f32');
    const values = Float32Array.from(numbersOf(at(inputs, 0)));
    values[40_000] = value;
    at(inputs, 0).write(values);
    const norm = at(new EagerContext(scope).apply(ruleOf('squaredNorm'), inputs, {}), 0);
    expect(numbersOf(norm)[0]).toBe(Number.isNaN(value) ? NaN : Infinity);
  });

  it.each([
    ['attention', 'two query blocks'],
    ['attention', 'two documents'],
    ['rmsNorm', 'odd'],
    ['swiglu', 'odd'],
    ['rotary', 'grouped heads'],
    ['layerNorm', 'odd'],
    ['activation', 'gelu, odd'],
    ['activation', 'gelu_tanh, odd'],
    ['queryKeyNorm', 'per head'],
    ['attention', 'bounded scores and window'],
    ['matmul', 'plain by transposed'],
  ])('let NaN pass through %s', (op, name) => {
    const golden = caseOf(op, name);
    using scope = new Scope();
    const inputs = inputsOf(scope, golden, 'f32');
    const values = Float32Array.from(numbersOf(at(inputs, 0)));
    values[3] = NaN;
    at(inputs, 0).write(values);
    const { outputs, gradients } = runCase(scope, golden, 'f32', inputs);
    expect(Array.from(numbersOf(at(outputs, 0))).some(Number.isNaN)).toBe(true);
    if (op === 'rotary' || op === 'matmul') return;
    expect(Array.from(numbersOf(gradients[0] as Value)).some(Number.isNaN)).toBe(true);
  });
});

describe('fused kernels', () => {
  beforeEach(() => vi.stubEnv('STRATA_KERNELS', 'on'));

  it('show an id outside the table, or a target outside the vocabulary, as NaN', () => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const table = tensorOf(scope, { dtype: 'float', shape: [4, 8], seed: 1 }, 'f32');
    const ids = scope.from({ dtype: 'i32', shape: [3] }, Int32Array.of(0, 4, -1));
    const rows = numbersOf(at(context.apply(ruleOf('embedding'), [table, ids], {}), 0));
    expect(Array.from(rows).map(Number.isNaN)).toEqual([...new Array(8).fill(false), ...new Array(16).fill(true)]);
    const x = tensorOf(scope, { dtype: 'float', shape: [3, 8], seed: 2 }, 'f32');
    const weights = scope.from({ dtype: 'f32', shape: [3] }, Float32Array.of(1, 1, 1));
    const [total, losses] = context.apply(ruleOf('linearCrossEntropy'), [x, table, ids, weights], {});
    expect(numbersOf(total as Value)[0]).toBeNaN();
    expect(Array.from(numbersOf(losses as Value)).map(Number.isNaN)).toEqual([false, true, false]);
  });

  it('compute the exponential of silu to a few units in the last place, from underflow to overflow', () => {
    using scope = new Scope();
    const gates = Float32Array.from({ length: 40_000 }, (_, i) => (i - 20_000) / 180);
    const ones = new Float32Array(gates.length).fill(1);
    const gateUp = scope.from({ dtype: 'f32', shape: [1, 80_000] }, Float32Array.of(...gates, ...ones));
    const y = numbersOf(at(new EagerContext(scope).apply(ruleOf('swiglu'), [gateUp], {}), 0));
    let [units, smallest] = [0, 0];
    gates.forEach((gate, i) => {
      const exact = gate / (1 + Math.exp(-gate));
      const error = Math.abs(at(y as number[], i) - exact);
      // Below -88 the denominator passes the largest float, and what is left is a signed zero.
      if (gate > -88) units = Math.max(units, error / Math.max(Math.abs(exact) * 2 ** -23, 2 ** -149));
      else smallest = Math.max(smallest, error);
    });
    expect(units).toBeLessThanOrEqual(EXPONENTIAL_UNITS);
    expect(smallest).toBeLessThan(1e-36);
  });
});

describe('embeddingBackward', () => {
  it('sums gradients of a repeated id in order, and zeroes all other rows', () => {
    using scope = new Scope();
    const dy = scope.from({ dtype: 'f32', shape: [3, 2] }, Float32Array.of(1e8, 1, 1, 2, -1e8, 3));
    const ids = scope.from({ dtype: 'i32', shape: [3] }, Int32Array.of(2, 2, 2));
    const table = at(new EagerContext(scope).apply(ruleOf('embeddingBackward'), [dy, ids], { rows: 4 }), 0);
    // 1e8 + 1 rounds to 1e8 in f32: any other order of the three would give 1.
    expect(Array.from(numbersOf(table))).toEqual([0, 0, 0, 0, 0, 6, 0, 0]);
  });
});
