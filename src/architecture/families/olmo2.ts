import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import {
  commonFields,
  completeRotaryHeads,
  decoderWeights,
  defineFamily,
  ropeFieldShape,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('olmo2'),
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-5),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
});

/** A full config of the OLMo-2 family. */
export type Olmo2Config = ModelConfig &
  z.output<typeof schema> & { readonly num_key_value_heads: number; readonly head_dim: number };

/** OLMo-2 (arXiv 2501.00656): norms behind attention and feed-forward instead of before, and over all queries and all keys of a token. */
export const olmo2 = defineFamily({
  modelType: 'olmo2',
  architecture: 'Olmo2ForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: {
    vocab_size: 50304,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  complete: (fields, source): Olmo2Config => completeRotaryHeads(fields, source),
  write: ({ rope_theta, rope_scaling, ...rest }) => ({ ...rest, ...writeRope(rope_theta, rope_scaling) }),
  weights(config) {
    const { attention_bias } = config as Olmo2Config;
    return decoderWeights(config, {
      queryKeyValueBias: attention_bias,
      outputBias: attention_bias,
      queryKeyNorm: 'all',
      norms: { postAttentionNorm: 'post_attention_layernorm', postFfnNorm: 'post_feedforward_layernorm' },
    });
  },
});
