import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RandomStream } from '../../architecture/index.js';
import { excessWeights, type ExcessWeightsAttributes } from '../../ops/index.js';
import { counters, Scope, type Tensor } from '../buffers.js';
import { EagerContext } from '../eager.js';
import { loadLibtorch } from '../libtorch/load.js';

loadLibtorch({ threads: 1 });
let before = counters();
beforeEach(() => {
  before = counters();
});
afterEach(() => {
  vi.unstubAllEnvs();
  expect(counters()).toEqual(before);
});

const kl: ExcessWeightsAttributes = { kind: 'kl', group: 1, clip: 5, alpha: 1 };
const cvar: ExcessWeightsAttributes = { kind: 'cvar', group: 1, clip: 5, alpha: 0.5 };

function weigh(
  losses: readonly number[],
  reference: readonly number[],
  attributes: ExcessWeightsAttributes,
  {
    shares = losses.map(() => 1 / losses.length),
    inverseTau = 1,
    logNormaliser = 0,
    dtype = 'f32' as 'f32' | 'f64',
  } = {},
): { weights: number[]; sums: number[] } {
  using scope = new Scope();
  const tensor = (values: readonly number[]): Tensor =>
    scope.from(
      { dtype, shape: [values.length] },
      dtype === 'f32' ? Float32Array.from(values) : Float64Array.from(values),
    );
  const scalars = scope.from({ dtype: 'f64', shape: [2] }, Float64Array.of(inverseTau, logNormaliser));
  const operands = { losses: tensor(losses), reference: tensor(reference), shares: tensor(shares), scalars };
  const { weights, sums } = excessWeights(new EagerContext(scope), operands, attributes);
  const numbers = (value: unknown): number[] => Array.from((value as Tensor).read() as Float64Array);
  return { weights: numbers(weights), sums: numbers(sums) };
}

describe.each([
  ['fused', 'on', 'f32'],
  ['fallback', 'off', 'f32'],
  ['fallback', 'off', 'f64'],
] as const)('%s kernels in %s: weights by excess loss', (_, setting, dtype) => {
  beforeEach(() => vi.stubEnv('STRATA_KERNELS', setting));
  const digits = dtype === 'f64' ? 12 : 6;

  it('KL: r = [1, .5] at tau 1 gives p = [.62246, .37754] and F = .78093', () => {
    const { weights, sums } = weigh([2, 3], [1, 2.5], kl, { dtype });
    const [mean, loss, excess] = sums as [number, number, number];
    // p is the softmax of r: weights over their sum.
    expect(weights.map((w) => w / mean)).toEqual([expect.closeTo(0.62246, 5), expect.closeTo(0.37754, 5)]);
    expect(Math.log(mean)).toBeCloseTo(0.78093, 5);
    expect([loss, excess]).toEqual([2.5, 0.75]);
    expect(sums[3]).toBeCloseTo(Math.exp(1) / 2 + Math.exp(0.5) / 4, digits);
  });

  it('KL at tau 1e6 is the mean: F goes to .75', () => {
    const { weights, sums } = weigh([2, 3], [1, 2.5], kl, { inverseTau: 1e-6, dtype });
    expect(1e6 * Math.log(sums[0]!)).toBeCloseTo(0.75, 5);
    for (const w of weights) expect(w).toBeCloseTo(0.5, 5);
  });

  it('CVaR at alpha .5 picks item 0, with the weight of both', () => {
    const { weights, sums } = weigh([2, 3], [1, 2.5], cvar, { dtype });
    expect(weights).toEqual([1, 0]);
    expect(sums).toEqual([1, 2.5, 0.75, 1]);
  });

  it('CVaR keeps ceil(alpha * items), of equals the first', () => {
    const of = (alpha: number): number[] =>
      weigh([1, 2, 2, 2, 0], [0, 0, 0, 0, 0], { ...cvar, alpha }, { dtype }).weights;
    const share = (kept: number) => expect.closeTo(1 / kept, 6);
    expect(of(0.2)).toEqual([0, 1, 0, 0, 0]);
    expect(of(0.4)).toEqual([0, share(2), share(2), 0, 0]);
    expect(of(0.6)).toEqual([0, share(3), share(3), share(3), 0]);
    expect(of(0.61)).toEqual([share(4), share(4), share(4), share(4), 0]);
  });

  it('sequences are weighed as wholes, by the mean over their tokens that count', () => {
    // Sequence 0: excess of tokens 1 and 3 (the second has no share); sequence 1: 1/2.
    const attributes = { ...kl, group: 3 };
    const shares = [0.25, 0, 0.25, 0.25, 0.25, 0];
    const { weights, sums } = weigh([1, 99, 3, 2, 3, 7], [0, 0, 0, 1.5, 2.5, 0], attributes, { shares, dtype });
    const [a, b] = [Math.exp(2), Math.exp(0.5)].map((w) => expect.closeTo(w / 4, digits - 1));
    expect(weights).toEqual([a, 0, a, b, b, 0]);
    expect(sums[2]).toBeCloseTo(1.25, digits);
    expect(sums[1]).toBeCloseTo(0.25 * 9, digits);
  });

  it('an item without shares neither counts nor is chosen', () => {
    const shares = [0.5, 0.5, 0];
    const { weights, sums } = weigh([1, 2, 9], [0, 0, 0], cvar, { shares, dtype });
    expect(weights).toEqual([0, 1, 0]);
    expect(sums).toEqual([1, 1.5, 1.5, 2]);
  });

  it('excess is clipped on both sides', () => {
    const { weights, sums } = weigh([9, 0], [0, 9], { ...kl, clip: 2 }, { dtype });
    expect(weights).toEqual([
      expect.closeTo(Math.exp(2) / 2, digits - 1),
      expect.closeTo(Math.exp(-2) / 2, digits - 1),
    ]);
    expect(sums[2]).toBe(0);
  });

  it('a loss that is not finite shows in the sums', () => {
    expect(weigh([NaN, 1], [0, 0], kl, { dtype }).sums[1]).toBeNaN();
    expect(weigh([NaN, 1], [0, 0], cvar, { dtype }).sums[1]).toBeNaN();
  });

  it('selects among thousands as sorting does', () => {
    const losses = new Float64Array(4099);
    new RandomStream(3, 'losses').fillNormal(losses, 1);
    const rounded = Array.from(losses, (x) => Math.round(x * 40) / 40);
    const { weights } = weigh(
      rounded,
      rounded.map(() => 0),
      { ...cvar, alpha: 0.37 },
      { dtype },
    );
    const order = rounded.map((_r, i) => i).sort((a, b) => rounded[b]! - rounded[a]! || a - b);
    const kept = new Set(order.slice(0, Math.ceil(0.37 * 4099)));
    expect(weights.map((w) => w > 0)).toEqual(rounded.map((_r, i) => kept.has(i)));
  });
});
