import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RandomStream } from '../../architecture/random.js';
import {
  at,
  GRADIENT_SEED,
  linear,
  type OpRule,
  rmsNorm,
  routedFeedForward,
  routeGate,
  routeGateRule,
  routingLoss,
  routingLossRule,
  rowSimilarity,
  scaleRows,
  scaleRowsRule,
  swiglu,
  type Value,
} from '../../ops/index.js';
import { counters, Scope, type Tensor } from '../buffers.js';
import { EagerContext } from '../eager.js';
import { loadLibtorch } from '../libtorch/load.js';

loadLibtorch({ threads: 2 });
let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

/** Absolute, for numbers of magnitude 1. */
const DIGITS = { f32: 5, f64: 12 } as const;
const ROUTE = { scale: 2, gap: 0.05 };
const logit = (p: number): number => Math.log(p / (1 - p));

describe.each([
  ['fused', 'on', 'f32'],
  ['fallback', 'off', 'f32'],
  ['fallback', 'off', 'f64'],
] as const)('routing with %s kernels (%s), %s', (_, kernels, dtype) => {
  beforeEach(() => void vi.stubEnv('STRATA_KERNELS', kernels));
  const tensor = (scope: Scope, shape: readonly number[], values: readonly number[]): Tensor =>
    scope.from({ dtype, shape }, dtype === 'f64' ? Float64Array.from(values) : Float32Array.from(values));
  const share = (scope: Scope, value: number): Tensor =>
    scope.from({ dtype: 'f64', shape: [1] }, Float64Array.of(value));
  const random = (scope: Scope, name: string, ...shape: number[]): Tensor => {
    const values = new Float64Array(shape.reduce((a, b) => a * b, 1));
    new RandomStream(1, name).fillNormal(values);
    return tensor(scope, shape, [...values]);
  };
  const numbers = (value: Value): number[] => [...((value as Tensor).read() as Float64Array)];
  const expectClose = (found: Value, expected: readonly number[]): void => {
    const values = numbers(found);
    expect(values.length).toBe(expected.length);
    expected.forEach((wanted, i) => expect(values[i], `element ${i}`).toBeCloseTo(wanted, DIGITS[dtype]));
  };
  const backward = (
    context: EagerContext,
    rule: OpRule<never>,
    inputs: readonly Value[],
    outputs: readonly Value[],
    attributes: object,
    dy: Value,
  ) =>
    rule.backward!({
      context,
      inputs,
      outputs,
      attributes: attributes as never,
      gradients: [dy],
      sinks: inputs.map(() => ({})),
    }).gradients;

  it('a gate is 1.02 at p = .9, 1 at p = .5, and keeps the most probable tokens', () => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const z = tensor(scope, [4, 1], [logit(0.9), -3, 0, -1]);
    expectClose(routeGate(context, z, share(scope, 0.5), ROUTE), [1.02, 0, 1, 0]);
    // ceil(.51 * 4) = 3.
    expectClose(routeGate(context, z, share(scope, 0.51), ROUTE), [1.02, 0, 1, 1 + (1 / (1 + Math.E) - 0.5) * 0.05]);
    expectClose(routeGate(context, z, share(scope, 0), ROUTE), [0, 0, 0, 0]);
  });

  it('a router of zeros keeps every token, whatever the capacity', () => {
    using scope = new Scope();
    const zeros = tensor(scope, [5, 1], [0, 0, 0, 0, 0]);
    expectClose(routeGate(new EagerContext(scope), zeros, share(scope, 0.2), ROUTE), [1, 1, 1, 1, 1]);
  });

  it("gives the router the gate's slope where a token was kept", () => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const inputs = [tensor(scope, [3, 1], [logit(0.9), logit(0.2), 0]), share(scope, 0.6)];
    const gate = routeGate(context, inputs[0]!, inputs[1]!, ROUTE);
    const [dz] = backward(context, routeGateRule as never, inputs, [gate], ROUTE, tensor(scope, [3], [2, 7, -1]));
    // dgate * gap * p (1 - p).
    expectClose(dz!, [2 * 0.05 * 0.09, 0, -0.05 * 0.25]);
  });

  it('scales rows, and adds what was there', () => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const [x, g, residual] = [
      tensor(scope, [2, 2], [1, 2, 3, 4]),
      tensor(scope, [2], [0, 2]),
      tensor(scope, [2, 2], [5, 6, 7, 8]),
    ];
    const y = scaleRows(context, x, g, residual);
    expectClose(y, [5, 6, 13, 16]);
    const [dx, dg] = backward(context, scaleRowsRule as never, [x, g], [y], {}, tensor(scope, [2, 2], [1, 1, 1, -1]));
    expectClose(dx!, [0, 0, 2, -2]);
    expectClose(dg!, [3, -1]);
  });

  it('measures how little a branch changes a token', () => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    // cos([3, 4], [4, 3]) = 24 / 25; no branch 1; a branch that turns it round -1.
    const x = tensor(scope, [3, 2], [3, 4, 1, 2, 1, 0]);
    const f = tensor(scope, [3, 2], [1, -1, 0, 0, -2, 0]);
    expectClose(rowSimilarity(context, x, f), [0.96, 1, -1]);
  });

  it('labels the lowest similarities of all layers together: A = [.99, .80, .95], B = [.70, .97, .90], half of them', () => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const p = [0.9, 0.5, 0.2];
    const logits = tensor(scope, [3, 1], p.map(logit));
    const layers = [
      { logits, similarity: tensor(scope, [3], [0.99, 0.8, 0.95]) },
      { logits: tensor(scope, [3, 1], [0, 0, 0]), similarity: tensor(scope, [3], [0.7, 0.97, 0.9]) },
    ];
    const operands = { weights: tensor(scope, [3], [0.5, 0.25, 0.25]), capacity: share(scope, 0.5), layers };
    const { total, shares } = routingLoss(context, operands, { coefficient: 3 });
    expectClose(shares, [1 / 3, 2 / 3]);
    // Labels A = [0, 1, 0]: -ln(.1), -ln(.5), -ln(.8); B: ln 2 each.
    const first = -0.5 * Math.log(0.1) - 0.25 * Math.log(0.5) - 0.25 * Math.log(0.8);
    expectClose(total, [(3 * (first + Math.LN2)) / 2]);
    const inputs = [
      operands.weights,
      operands.capacity,
      ...layers.map((l) => l.logits),
      ...layers.map((l) => l.similarity),
    ];
    const gradients = backward(
      context,
      routingLossRule as never,
      inputs,
      [total, shares],
      { coefficient: 3 },
      GRADIENT_SEED,
    );
    // weights * 3 / 2 * (p - label).
    expectClose(gradients[2]!, [0.75 * 0.9, 0.375 * -0.5, 0.375 * 0.2]);
    expectClose(gradients[3]!, [0.75 * -0.5, 0.375 * 0.5, 0.375 * -0.5]);
  });

  it('at capacity one labels every token 1', () => {
    using scope = new Scope();
    const layers = [{ logits: tensor(scope, [2, 1], [0, 0]), similarity: tensor(scope, [2], [0.3, 0.1]) }];
    const operands = { weights: tensor(scope, [2], [0.5, 0.5]), capacity: share(scope, 1), layers };
    expectClose(routingLoss(new EagerContext(scope), operands, { coefficient: 1 }).shares, [1]);
  });

  it.each([
    ['a few', [1, -1, 0.5, -2, 0, -0.1, 3]],
    ['all', [1, 2, 3, 4, 5, 6, 7]],
    ['none', [-1, -2, -3, -4, -5, -6, -7]],
  ])('computes the branch of %s of the tokens as if it were computed for all', (_name, values) => {
    using scope = new Scope();
    const context = new EagerContext(scope);
    const [rows, columns, ffn, eps] = [7, 8, 12, 1e-5];
    const x = random(scope, 'x', rows, columns);
    const z = tensor(scope, [rows, 1], values);
    const gain = random(scope, 'gain', columns);
    const gateUp = random(scope, 'gateUp', 2 * ffn, columns);
    const down = random(scope, 'down', columns, ffn);
    const { y, computed } = routedFeedForward(context, { x, z, gain, gateUp, down }, { ...ROUTE, eps });
    const branch = linear(
      context,
      swiglu(context, linear(context, rmsNorm(context, x, gain, eps), gateUp, {})),
      down,
      {},
    );
    const factors = values.map((value) => (value < 0 ? 0 : 1 + (1 / (1 + Math.exp(-value)) - 0.5) * 0.05));
    const whole = numbers(scaleRows(context, branch, tensor(scope, [rows], factors), x));
    numbers(y).forEach((value, i) =>
      expect(Math.abs(value - at(whole, i))).toBeLessThan(dtype === 'f64' ? 1e-12 : 3e-5),
    );
    expect(numbers(computed)).toEqual(values.map((value) => (value < 0 ? 0 : 1)));
  });
});
