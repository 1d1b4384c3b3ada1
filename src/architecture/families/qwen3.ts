import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import {
  commonFields,
  completeRotaryHeads,
  decoderWeights,
  defineFamily,
  layerTypeField,
  layerTypes,
  preNorms,
  ropeFieldShape,
  size,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('qwen3'),
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullable().default(null),
  max_window_layers: z.int().min(0).default(28),
  layer_types: layerTypeField,
});

/** A full config of the Qwen3 family; `sliding_window` is null unless `use_sliding_window`. */
export type Qwen3Config = ModelConfig &
  z.output<typeof schema> & {
    readonly num_key_value_heads: number;
    readonly head_dim: number;
    readonly layer_types: readonly ('full_attention' | 'sliding_attention')[];
  };

/** Qwen3 (arXiv 2505.09388), dense: Llama with norms of each head's queries and keys. */
export const qwen3 = defineFamily({
  modelType: 'qwen3',
  architecture: 'Qwen3ForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: {
    vocab_size: 151936,
    hidden_size: 4096,
    intermediate_size: 22016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    head_dim: 128,
    max_position_embeddings: 32768,
    sliding_window: 4096,
  },
  complete(fields, source): Qwen3Config {
    const window = fields.use_sliding_window ? fields.sliding_window : null;
    const isWindowed = (layer: number): boolean => window !== null && layer >= fields.max_window_layers;
    const types = layerTypes(
      fields.layer_types,
      fields.num_hidden_layers,
      (layer) => (isWindowed(layer) ? 'sliding_attention' : 'full_attention'),
      source,
    );
    return completeRotaryHeads({ ...fields, sliding_window: window, layer_types: types }, source);
  },
  write: ({ rope_theta, rope_scaling, ...rest }) => ({ ...rest, ...writeRope(rope_theta, rope_scaling) }),
  weights(config) {
    const { attention_bias } = config as Qwen3Config;
    return decoderWeights(config, {
      queryKeyValueBias: attention_bias,
      outputBias: attention_bias,
      queryKeyNorm: 'head',
      norms: preNorms,
    });
  },
});
