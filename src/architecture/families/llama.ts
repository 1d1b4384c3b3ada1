import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import {
  commonFields,
  completeRotaryHeads,
  decoderWeights,
  defineFamily,
  preNorms,
  ropeFieldShape,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('llama').default('llama'),
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

/** A full config of the Llama family. */
export type LlamaConfig = ModelConfig &
  z.output<typeof schema> & { readonly num_key_value_heads: number; readonly head_dim: number };

/** Sizes that a config means where it names none: those of the 7B model, as in transformers. */
export const llamaSizes = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
};

/** Llama 2 and 3 and what is built alike: RMSNorm, rotary positions, SwiGLU, grouped-query attention. */
export const llama = defineFamily({
  modelType: 'llama',
  architecture: 'LlamaForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: llamaSizes,
  complete: (fields, source): LlamaConfig => completeRotaryHeads(fields, source),
  write: ({ rope_theta, rope_scaling, ...rest }) => ({ ...rest, ...writeRope(rope_theta, rope_scaling) }),
  weights(config) {
    const { attention_bias, mlp_bias } = config as LlamaConfig;
    return decoderWeights(config, {
      queryKeyValueBias: attention_bias,
      outputBias: attention_bias,
      ffnBias: mlp_bias,
      norms: preNorms,
    });
  },
});
