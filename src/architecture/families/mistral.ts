import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import {
  commonFields,
  completeRotaryHeads,
  decoderWeights,
  defineFamily,
  preNorms,
  ropeFieldShape,
  size,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('mistral'),
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  sliding_window: size.nullable().default(null),
});

/** A full config of the Mistral family. */
export type MistralConfig = ModelConfig &
  z.output<typeof schema> & { readonly num_key_value_heads: number; readonly head_dim: number };

/** Mistral (Jiang et al., arXiv 2310.06825): Llama with a sliding window of attention, where one is given. */
export const mistral = defineFamily({
  modelType: 'mistral',
  architecture: 'MistralForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    sliding_window: 4096,
  },
  complete: (fields, source): MistralConfig => completeRotaryHeads(fields, source),
  write: ({ rope_theta, rope_scaling, ...rest }) => ({ ...rest, ...writeRope(rope_theta, rope_scaling) }),
  weights: (config) => decoderWeights(config, { norms: preNorms }),
});
