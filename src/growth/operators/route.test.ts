import { describe, expect, it } from 'vitest';
import { parseModelConfig, preset } from '../../architecture/index.js';
import { planGrowth } from '../request.js';

const source = preset('test-tiny', { rms_norm_eps: 1e-5 });

describe('route', () => {
  it('copies every weight and puts a router of zeros into each layer', () => {
    const plan = planGrowth({ operator: 'route', source, options: { gap: 0.1 } });
    expect(plan.target).toMatchObject({
      model_type: 'llama_dlo',
      num_hidden_layers: 2,
      rms_norm_eps: 1e-5,
      router_scale: 2,
      router_gap: 0.1,
    });
    const { 'model.layers.0.router.weight': first, 'model.layers.1.router.weight': second, ...copied } = plan.tensors;
    expect([first, second]).toEqual([
      { op: 'zero', shape: [1, 32] },
      { op: 'zero', shape: [1, 32] },
    ]);
    for (const [name, expression] of Object.entries(copied)) expect(expression).toEqual({ op: 'copy', of: name });
    expect(Object.keys(copied)).toHaveLength(2 * 9 + 3);
    expect(plan.preservesFunction.claimed).toBe(true);
    expect(planGrowth({ operator: 'route', source, options: { scale: 3 } }).preservesFunction.claimed).toBe(false);
  });

  it('refuses other families, biases and other sizes', () => {
    const gpt2 = {
      model_type: 'gpt2',
      hidden_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      intermediate_size: 8,
    };
    const other = parseModelConfig({ ...gpt2, vocab_size: 8 }, 'gpt2');
    expect(() => planGrowth({ operator: 'route', source: other })).toThrow('puts routers into a llama, found a gpt2');
    const biased = preset('test-tiny', { mlp_bias: true });
    expect(() => planGrowth({ operator: 'route', source: biased })).toThrow('needs a llama without biases');
    expect(() => planGrowth({ operator: 'route', source, factor: 2 })).toThrow('changes no sizes');
  });

  it('is followed by growth as a Llama is: routers are copied with their layers, inputs scaled with the hidden size', () => {
    const routed = planGrowth({ operator: 'route', source }).target;
    const deeper = planGrowth({ operator: 'stack', source: routed, factor: 2 });
    expect(deeper.tensors['model.layers.3.router.weight']).toEqual({ op: 'copy', of: 'model.layers.1.router.weight' });
    const wider = planGrowth({ operator: 'hypercloning', source: routed, factor: 2, options: { faithful: true } });
    expect(wider.target.hidden_size).toBe(64);
    expect(() => planGrowth({ operator: 'ligo-depth', source: routed, factor: 2 })).toThrow('grow the llama first');
    expect(JSON.stringify(wider.tensors['model.layers.0.router.weight'])).toContain('model.layers.0.router.weight');
  });
});
