import { describe, expect, it } from 'vitest';
import { InputError } from '../../errors.js';
import { countParameters, growthFactor } from '../counts.js';
import { initialisation } from '../initialisation.js';
import { preset } from '../presets.js';
import { llama } from './llama.js';

const small = {
  vocab_size: 100,
  hidden_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 24,
};

describe('counts', () => {
  // Numbers worked out in G_stack's protocol for 24 and 6 layers of 2048, 32 heads, ffn 5632, vocabulary 32000, untied.
  it('of the 1.1B model are exact', () => {
    const counts = countParameters(preset('gstack-1.1b'));
    expect(counts.nonEmbedding).toBe(1_233_225_728);
    expect(counts.total).toBe(1_364_297_728);
    expect(counts.matmul).toBe(1_298_661_376);
  });

  it('of its base are exact, and the growth factor is theirs', () => {
    const base = preset('gstack-1.1b', { num_hidden_layers: 6 });
    expect(countParameters(base).nonEmbedding).toBe(308_307_968);
    expect(countParameters(base).total).toBe(439_379_968);
    expect(growthFactor(base, preset('gstack-1.1b'))).toBeCloseTo(4, 4);
  });

  it('count a tied head once, but as a matrix product', () => {
    const tied = countParameters(preset('gstack-1.1b', { tie_word_embeddings: true }));
    expect(tied.total).toBe(1_364_297_728 - 32000 * 2048);
    expect(tied.matmul).toBe(1_298_661_376);
    expect(tied.nonEmbedding).toBe(1_233_225_728);
  });

  it('of all presets agree with the sizes printed in the paper', () => {
    expect(countParameters(preset('gstack-410m')).total / 1e9).toBeCloseTo(0.374, 3);
    expect(countParameters(preset('gstack-3b')).total / 1e9).toBeCloseTo(2.397, 3);
    expect(countParameters(preset('gstack-7b')).total / 1e9).toBeCloseTo(5.933, 3);
  });
});

describe('weights', () => {
  it('carry the names of LlamaForCausalLM in an order that keeps q, k, v and gate, up together', () => {
    const names = llama.weights(llama.parse(small, 'model')).map((spec) => spec.name);
    expect(names).toEqual([
      'model.embed_tokens.weight',
      'model.layers.0.input_layernorm.weight',
      'model.layers.0.self_attn.q_proj.weight',
      'model.layers.0.self_attn.k_proj.weight',
      'model.layers.0.self_attn.v_proj.weight',
      'model.layers.0.self_attn.o_proj.weight',
      'model.layers.0.post_attention_layernorm.weight',
      'model.layers.0.mlp.gate_proj.weight',
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.0.mlp.down_proj.weight',
      'model.norm.weight',
      'lm_head.weight',
    ]);
  });

  it('give shapes from heads and kv heads, biases where asked', () => {
    const config = llama.parse({ ...small, head_dim: 8, attention_bias: true, mlp_bias: true }, 'model');
    const shapes = new Map(llama.weights(config).map((spec) => [spec.name, spec.stored.shape]));
    expect(shapes.get('model.layers.0.self_attn.q_proj.weight')).toEqual([32, 16]);
    expect(shapes.get('model.layers.0.self_attn.v_proj.bias')).toEqual([16]);
    expect(shapes.get('model.layers.0.self_attn.o_proj.weight')).toEqual([16, 32]);
    expect(shapes.get('model.layers.0.mlp.down_proj.bias')).toEqual([16]);
  });
});

describe('parse', () => {
  it.each([
    [{ ...small, hiden_size: 3 }, 'model: unknown field "hiden_size" (did you mean "hidden_size"?).'],
    [{ ...small, num_key_value_heads: 3 }, 'num_key_value_heads'],
    [{ ...small, hidden_size: 18 }, 'hidden_size'],
    [{ ...small, hidden_size: 1.5 }, 'hidden_size'],
    [{ ...small, vocab_size: undefined }, 'model: field "vocab_size" is missing.'],
    [{ ...small, hidden_act: 'gelu' }, 'hidden_act'],
    [{ ...small, rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'rope_scaling.low_freq_factor'],
    [{ ...small, num_hidden_layers: 1e9 }, 'num_hidden_layers'],
    [null, 'model'],
  ])('refuses %j', (config, message) => {
    expect(() => llama.parse(config, 'model')).toThrow(InputError);
    expect(() => llama.parse(config, 'model')).toThrow(message);
  });

  it('accepts zero layers', () => {
    expect(llama.parse({ ...small, num_hidden_layers: 0 }, 'model').num_hidden_layers).toBe(0);
  });
});

describe('Hugging Face configs', () => {
  it('keep unknown fields and read both forms of RoPE scaling', () => {
    const scaling = {
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
      rope_type: 'llama3',
    };
    const old = llama.fromHuggingFace({ ...small, rope_theta: 5e5, rope_scaling: scaling, odd: [1] }, 'config.json');
    const recent = llama.fromHuggingFace(
      { ...small, rope_parameters: { ...scaling, rope_theta: 5e5 }, odd: [1] },
      'config.json',
    );
    expect(old).toEqual(recent);
    expect(old['rope_theta']).toBe(5e5);
    const written = llama.toHuggingFace(old);
    expect(written['odd']).toEqual([1]);
    expect(written['architectures']).toEqual(['LlamaForCausalLM']);
    expect(llama.fromHuggingFace(written, 'config.json')).toEqual(old);
  });

  it('fill what is left out as LlamaConfig does', () => {
    const config = llama.fromHuggingFace({ model_type: 'llama' }, 'config.json');
    expect(config).toMatchObject({ hidden_size: 4096, num_key_value_heads: 32, head_dim: 128, rms_norm_eps: 1e-6 });
  });
});

describe('initialisation', () => {
  it('has variance 2/(5 fan-in), output projections divided by sqrt(2 L)', () => {
    const config = llama.parse({ ...small, num_hidden_layers: 8 }, 'model');
    const std = (role: string): unknown => {
      const spec = llama.weights(config).find((s) => s.role === role)!;
      const fill = initialisation(spec, config);
      return fill.kind === 'normal' ? fill.std : fill.value;
    };
    expect(std('query')).toBeCloseTo(Math.sqrt(0.025), 12);
    expect(std('embedding')).toBeCloseTo(Math.sqrt(0.025), 12);
    expect(std('down')).toBeCloseTo(Math.sqrt(2 / 120) / 4, 12);
    expect(std('finalNorm')).toBe(1);
  });
});
