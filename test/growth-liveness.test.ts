import { describe, expect, it } from 'vitest';
import { type ModelConfig, preset } from '../src/architecture/index.js';
import { type GrowthRequest, planGrowth } from '../src/growth/index.js';
import { grownWeights, logitsOf, randomWeights, type Weights } from './support/grown.js';

const source = preset('test-tiny', {
  vocab_size: 7,
  hidden_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  head_dim: 2,
  intermediate_size: 3,
});
const layer = 'model.layers.0';

/** A loss that looks at every position and every logit differently. */
function loss(config: ModelConfig, weights: Weights): number {
  return logitsOf(config, weights)
    .map((row, t) => Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)) - row[(3 * t + 1) % row.length]!)
    .reduce((sum, value) => sum + value, 0);
}

/** Gradient of one number, by central differences. */
function gradient(config: ModelConfig, weights: Weights, name: string, place: number): number {
  const values = weights.get(name)!;
  const [kept, step] = [values[place]!, 1e-5];
  values[place] = kept + step;
  const above = loss(config, weights);
  values[place] = kept - step;
  const below = loss(config, weights);
  values[place] = kept;
  return (above - below) / (2 * step);
}

const DEAD = 1e-9;

function grown(request: Omit<GrowthRequest, 'source'>): { config: ModelConfig; weights: Weights } {
  const plan = planGrowth({ source, ...request });
  return { config: plan.target, weights: grownWeights(plan, randomWeights(source)) };
}

describe('zero-width', () => {
  const target = { hidden_size: 5, intermediate_size: 4, num_attention_heads: 3, num_key_value_heads: 3 };
  const gradientsOf = (options: Record<string, unknown>): Record<string, number> => {
    const { config, weights } = grown({ operator: 'zero-width', target, options });
    // One entry in the new part of each weight: the last row, or the last column of the embedding.
    const last: Record<string, [string, number]> = {
      embedding: ['model.embed_tokens.weight', 3 * 5 + 4],
      value: [`${layer}.self_attn.v_proj.weight`, 5 * 5],
      output: [`${layer}.self_attn.o_proj.weight`, 4 * 6],
      down: [`${layer}.mlp.down_proj.weight`, 4 * 4],
      gate: [`${layer}.mlp.gate_proj.weight`, 3 * 5],
      up: [`${layer}.mlp.up_proj.weight`, 3 * 5],
    };
    return Object.fromEntries(
      Object.entries(last).map(([role, [name, place]]) => [role, Math.abs(gradient(config, weights, name, place))]),
    );
  };

  it('reaches new embedding columns, v, o and down rows at once; gate and up rows of the paper form not', () => {
    const { gate, up, ...alive } = gradientsOf({ gate: 'zero' });
    expect([gate! < DEAD, up! < DEAD]).toEqual([true, true]);
    for (const [role, size] of Object.entries(alive)) expect([role, size > DEAD]).toEqual([role, true]);
  });

  it('reaches new up rows at once where the gate is drawn, the default', () => {
    expect(gradientsOf({})['up']).toBeGreaterThan(DEAD);
  });

  it('leaves the new stream dead as released', () => {
    const { embedding, output, down } = gradientsOf({ faithful: true });
    expect([embedding! < DEAD, output! < DEAD, down! < DEAD]).toEqual([true, true, true]);
  });
});

describe('zeroed layers', () => {
  it('get gradients in o and down at once, in the rest only later', () => {
    const { config, weights } = grown({ operator: 'zero-depth', factor: 2 });
    const size = (name: string): number => Math.abs(gradient(config, weights, `model.layers.1.${name}`, 1));
    expect(size('self_attn.o_proj.weight')).toBeGreaterThan(DEAD);
    expect(size('mlp.down_proj.weight')).toBeGreaterThan(DEAD);
    expect(size('self_attn.q_proj.weight')).toBeLessThan(DEAD);
    expect(size('mlp.gate_proj.weight')).toBeLessThan(DEAD);
  });
});

describe('twins', () => {
  /** Gradients of a number of a ffn unit, of the stream and of a head, and of their copies. */
  const twins = (operator: string, options: Record<string, unknown>): [string, number, number][] => {
    const { config, weights } = grown({ operator, factor: 2, options });
    const pairs: [string, number, number][] = [
      // Row i and its copy, same column: copies of [out, in] lie out * in of the target apart.
      [`${layer}.mlp.up_proj.weight`, 1, 3 * 8 + 1],
      [`${layer}.mlp.gate_proj.weight`, 1, 3 * 8 + 1],
      [`${layer}.self_attn.v_proj.weight`, 1, 4 * 8 + 1],
      [`${layer}.self_attn.o_proj.weight`, 2, 4 * 8 + 2],
      ['model.embed_tokens.weight', 3 * 8, 3 * 8 + 4],
    ];
    return pairs.map(([name, a, b]) => [name, gradient(config, weights, name, a), gradient(config, weights, name, b)]);
  };

  it.each(['hypercloning', 'fpi', 'direct-width'])('of %s get different gradients by default', (operator) => {
    for (const [name, a, b] of twins(operator, {})) expect([name, Math.abs(a - b) > 1e-6]).toEqual([name, true]);
  });

  it.each(['hypercloning', 'direct-width'])(
    'of %s as its authors have it are locked, and the plan warns of it',
    (operator) => {
      for (const [name, a, b] of twins(operator, { faithful: true })) {
        expect(Math.abs(a)).toBeGreaterThan(DEAD);
        expect([name, Math.abs(a - b) < 1e-8]).toEqual([name, true]);
      }
      const { warnings } = planGrowth({ source, operator, factor: 2, options: { faithful: true } });
      expect(warnings.join()).toContain('stay equal for ever');
    },
  );
});
