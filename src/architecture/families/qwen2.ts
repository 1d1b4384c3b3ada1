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
  model_type: z.literal('qwen2'),
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullable().default(null),
  max_window_layers: z.int().min(0).default(28),
  layer_types: layerTypeField,
});

/** A full config of the Qwen2 family; `sliding_window` is null unless `use_sliding_window`. */
export type Qwen2Config = ModelConfig &
  z.output<typeof schema> & {
    readonly num_key_value_heads: number;
    readonly head_dim: number;
    readonly layer_types: readonly ('full_attention' | 'sliding_attention')[];
  };

/** Qwen2 and 2.5 (arXiv 2407.10671): Llama with biases on queries, keys and values, and windows in upper layers where asked. */
export const qwen2 = defineFamily({
  modelType: 'qwen2',
  architecture: 'Qwen2ForCausalLM',
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
    max_position_embeddings: 32768,
    sliding_window: 4096,
  },
  complete(fields, source): Qwen2Config {
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
  weights: (config) => decoderWeights(config, { queryKeyValueBias: true, norms: preNorms }),
});
