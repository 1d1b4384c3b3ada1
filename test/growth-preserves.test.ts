import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ModelConfig, preset } from '../src/architecture/index.js';
import type { GrowthRequest } from '../src/growth/index.js';
import { logitChange, randomWeights } from './support/grown.js';

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
