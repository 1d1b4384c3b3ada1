import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ModelConfig, preset } from '../src/architecture/index.js';
import { type GrowthRequest, type Plan, planGrowth } from '../src/growth/index.js';
import { difference, grownWeights, logitChange, logitsOf, randomWeights } from './support/grown.js';
import type { ReferenceMasks } from './support/reference-llama.js';

/** Rounding in float64; logits here are of order 1 to 10. */
const EXACT = 1e-10;
/** What counts as another function: far above rounding, far below any real change. */
const CHANGED = 1e-4;

interface Shape {
  layers: number;
  kvHeads: number;
  perGroup: number;
  headDim: number;
  hidden: number;
  ffn: number;
  tied: boolean;
  bias: boolean;
}

const modelOf = (shape: Shape): ModelConfig =>
  preset('test-tiny', {
    vocab_size: 7,
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.kvHeads * shape.perGroup,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.headDim,
    intermediate_size: shape.ffn,
    tie_word_embeddings: shape.tied,
    attention_bias: shape.bias,
    mlp_bias: shape.bias,
    rms_norm_eps: 1e-3,
  });

/** Small models; sizes of unrelated axes often coincide, so that an operator that goes by sizes would mix them up. */
const shapes = fc.record<Shape>({
  layers: fc.integer({ min: 1, max: 3 }),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  perGroup: fc.integer({ min: 1, max: 3 }),
  headDim: fc.constantFrom(2, 4),
  hidden: fc.integer({ min: 2, max: 8 }),
  ffn: fc.integer({ min: 2, max: 8 }),
  tied: fc.boolean(),
  bias: fc.boolean(),
});

const runs = { numRuns: 25, seed: 20261123 };

const changeOf = (request: GrowthRequest): { change: number; claimed: boolean } => {
  const { plan, change } = logitChange(request);
  return { change, claimed: plan.preservesFunction.claimed };
};

/** Asserts for random models that the function is kept and that the plan says so. */
function preserves(
  requestOf: (source: ModelConfig, shape: Shape, extra: number) => Omit<GrowthRequest, 'source'>,
): void {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 0, max: 5 }), (shape, extra) => {
      const source = modelOf(shape);
      const { change, claimed } = changeOf({ source, ...requestOf(source, shape, extra) });
      expect(claimed).toBe(true);
      expect(change).toBeLessThan(EXACT);
    }),
    runs,
  );
}

describe('depth operators that claim it keep the function', () => {
  it('zero-depth', () =>
    preserves((source, _, extra) => ({
      operator: 'zero-depth',
      target: { num_hidden_layers: source.num_hidden_layers + extra },
    })));
  it('block-expansion', () =>
    preserves((source) => ({ operator: 'block-expansion', options: { groups: source.num_hidden_layers } })));
  it('dlo with zeros', () => preserves(() => ({ operator: 'dlo', factor: 2 })));
  it('opt-deus', () =>
    preserves((source) => ({ operator: 'opt-deus', target: { num_hidden_layers: 2 * source.num_hidden_layers - 1 } })));
});

const anyWidths = (source: ModelConfig, shape: Shape, extra: number): Record<string, number> => ({
  intermediate_size: source.intermediate_size + extra,
  num_key_value_heads: shape.kvHeads + (extra % 3),
  num_attention_heads: (shape.kvHeads + (extra % 3)) * (shape.perGroup + (extra % 2)),
});

describe('width operators that claim it keep the function', () => {
  for (const operator of ['fpi', 'direct-width', 'lemon'] as const)
    it(`${operator}, whole multiples of the hidden size, any ffn, kv heads and heads per group`, () =>
      preserves((source, shape, extra) => ({
        operator,
        target: { ...anyWidths(source, shape, extra), hidden_size: source.hidden_size * (1 + (extra % 3)) },
      })));

  it('hypercloning', () => preserves((_, __, extra) => ({ operator: 'hypercloning', factor: 1 + (extra % 3) })));

  it('hypercloning as its authors have it', () =>
    preserves(() => ({ operator: 'hypercloning', factor: 2, options: { faithful: true } })));

  it('lemon, any hidden size', () =>
    preserves((source, shape, extra) => ({
      operator: 'lemon',
      target: { ...anyWidths(source, shape, extra), hidden_size: source.hidden_size + extra },
    })));

  it('more kv heads for the same query heads', () =>
    preserves((source) => ({ operator: 'fpi', target: { num_key_value_heads: source.num_attention_heads } })));

  it('staged-width, mup-width and sparkling at whole factors', () => {
    for (const operator of ['staged-width', 'mup-width', 'sparkling'] as const)
      preserves((_, __, extra) => ({ operator, factor: 1 + (extra % 3) }));
  });

  it('staged, in both directions', () =>
    preserves((_, __, extra) => ({
      operator: 'staged',
      factor: [1 + (extra % 2), 2],
      options: { order: extra > 2 ? 'append' : 'alternate' },
    })));

  for (const gate of ['draw', 'zero'])
    it(`zero-width with gate ${gate}, any widths, new heads in old groups included`, () =>
      preserves((source, shape, extra) => ({
        operator: 'zero-width',
        target: { ...anyWidths(source, shape, extra), hidden_size: source.hidden_size + extra },
        options: { gate },
      })));

  it('depth and width together', () =>
    preserves((source, _, extra) => ({
      operator: 'zero-depth+lemon',
      target: { num_hidden_layers: source.num_hidden_layers + 1, hidden_size: source.hidden_size + extra },
    })));
});

describe('operators that do not claim it change the function', () => {
  const source = preset('test-tiny', {
    vocab_size: 7,
    hidden_size: 8,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    head_dim: 4,
    intermediate_size: 6,
    rms_norm_eps: 1e-3,
  });
  it.each<[string, Omit<GrowthRequest, 'source'>]>([
    ['stack', { operator: 'stack', factor: 2 }],
    ['interpolate', { operator: 'interpolate', factor: 2 }],
    ['solar', { operator: 'solar', options: { drop: 0 } }],
    ['average', { operator: 'average' }],
    ['random-depth with mask=1', { operator: 'random-depth', factor: 2, options: { mask: 1 } }],
    ['fpi 8 to 12', { operator: 'fpi', target: { hidden_size: 12 } }],
    ["direct-width with the paper's factor", { operator: 'direct-width', factor: 2, options: { paperGain: true } }],
    ['aki', { operator: 'aki', factor: 2 }],
    ['aki-pro', { operator: 'aki-pro', factor: [2, 2] }],
    ['szp', { operator: 'szp', factor: 2 }],
    ['mean-field', { operator: 'mean-field', target: { intermediate_size: 9 } }],
    ['mup-width with plain noise', { operator: 'mup-width', factor: 2, options: { level: 0.5 } }],
    ['staged with plain copies', { operator: 'staged', factor: [2, 1], options: { identity: false } }],
    ['sparkling 2 to 3', { operator: 'sparkling', factor: 1.5 }],
    ['any operator with noise', { operator: 'zero-depth', factor: 2, options: { noise: 0.2 } }],
  ])('%s', (_, request) => {
    const { change, claimed } = changeOf({ source, ...request });
    expect(claimed).toBe(false);
    expect(change).toBeGreaterThan(CHANGED);
  });
});

describe('an identity target', () => {
  it('is bit-equal for every operator that reaches it', () => {
    const source = modelOf({
      layers: 2,
      kvHeads: 2,
      perGroup: 2,
      headDim: 4,
      hidden: 6,
      ffn: 6,
      tied: false,
      bias: true,
    });
    const weights = randomWeights(source);
    for (const operator of [
      'stack',
      'interpolate',
      'zero-depth',
      'random-depth',
      'gradual-top',
      'midas',
      'average',
      'opt-deus',
      'dlo',
      'expand',
      'inherit',
      'solar',
      'block-expansion',
      'fpi',
      'direct-width',
      'hypercloning',
      'lemon',
    ]) {
      const { change, plan } = logitChange({ operator, source, target: { ...source } }, weights);
      expect([operator, change]).toEqual([operator, 0]);
      expect([operator, plan.preservesFunction.claimed]).toEqual([operator, true]);
    }
  });
});

describe('zero-width, 8 to 13 with 2 to 3 kv heads and ffn 12 to 20', () => {
  const source = preset('test-tiny', {
    vocab_size: 7,
    hidden_size: 8,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 2,
    intermediate_size: 12,
    rms_norm_eps: 1e-5,
  });
  const target = { hidden_size: 13, num_attention_heads: 6, num_key_value_heads: 3, intermediate_size: 20 };
  const changeWith = (options: Record<string, unknown>): number =>
    logitChange({ operator: 'zero-width', source, target, options }).change;

  it('is exact; off by the epsilon where that stays; far off without the factor on gains', () => {
    expect(changeWith({})).toBeLessThan(1e-12);
    const epsilonStays = changeWith({ scaleEpsilon: false });
    expect(epsilonStays).toBeGreaterThan(1e-7);
    expect(epsilonStays).toBeLessThan(1e-3);
    expect(changeWith({ scaleGain: false })).toBeGreaterThan(0.1);
  });
});

describe('masked operators', () => {
  const source = preset('test-tiny', {
    vocab_size: 7,
    hidden_size: 6,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 2,
    intermediate_size: 5,
    rms_norm_eps: 0,
  });
  const weights = randomWeights(source);
  const widths = { hidden_size: 9, num_attention_heads: 9, num_key_value_heads: 3, intermediate_size: 8 };

  /** The masks of a plan at value m. */
  const masksAt = (plan: Plan, m: number): ReferenceMasks => {
    const of = (axis: string): number[] | undefined => {
      const ramp = plan.masks!.find((mask) => mask.axis === axis);
      if (ramp === undefined) return undefined;
      const isNew = (i: number): boolean => ramp.newEntries?.includes(i) ?? i >= ramp.old;
      return Array.from({ length: ramp.size }, (_, i) => (isNew(i) ? m : 1));
    };
    const masks = { hidden: of('hidden'), ffn: of('ffn'), heads: of('heads'), layers: of('layers') };
    const given = Object.fromEntries(Object.entries(masks).filter(([, mask]) => mask !== undefined));
    return { kind: plan.masks![0]!.kind, ...given };
  };

  it.each<[string, Omit<GrowthRequest, 'source'>]>([
    ['random-depth', { operator: 'random-depth', factor: 2 }],
    ['random-width', { operator: 'random-width', target: widths }],
    [
      'random-depth+random-width',
      { operator: 'random-depth+random-width', target: { ...widths, num_hidden_layers: 3 } },
    ],
    ['msg', { operator: 'msg', target: { ...widths, num_hidden_layers: 4 } }],
    [
      'msg, interpolated',
      { operator: 'msg', target: { ...widths, num_hidden_layers: 3 }, options: { layers: 'interpolate' } },
    ],
    ['msg, drawn', { operator: 'msg', target: { num_hidden_layers: 3 }, options: { layers: 'draw' } }],
  ])('%s is the source at m = 0 and the plain model at m = 1', (_, request) => {
    const plan = planGrowth({ source, ...request });
    const grown = grownWeights(plan, weights);
    const before = logitsOf(source, weights);
    expect(difference(before, logitsOf(plan.target, grown, masksAt(plan, 0)))).toBeLessThan(EXACT);
    const plain = logitsOf(plan.target, grown);
    expect(difference(plain, logitsOf(plan.target, grown, masksAt(plan, 1)))).toBeLessThan(EXACT);
    expect(difference(before, plain)).toBeGreaterThan(CHANGED);
    expect(plan.preservesFunction.claimed).toBe(true);
  });
});
