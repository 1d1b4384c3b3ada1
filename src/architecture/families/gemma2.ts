import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import {
  commonFields,
  completeRotaryHeads,
  decoderWeights,
  defineFamily,
  layerTypeField,
  layerTypes,
  positive,
  ropeFieldShape,
  size,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('gemma2'),
  ...commonFields,
  hidden_activation: z.literal('gelu_pytorch_tanh').default('gelu_pytorch_tanh'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(true),
  attention_bias: z.boolean().default(false),
  query_pre_attn_scalar: positive.default(256),
  sliding_window: size.nullable().default(4096),
  layer_types: layerTypeField,
  final_logit_softcapping: positive.nullable().default(30),
  attn_logit_softcapping: positive.nullable().default(50),
  use_bidirectional_attention: z.literal(false).nullable().optional(),
});

/** A full config of the Gemma 2 family. */
export type Gemma2Config = ModelConfig &
  z.output<typeof schema> & {
    readonly num_key_value_heads: number;
    readonly head_dim: number;
    readonly layer_types: readonly ('full_attention' | 'sliding_attention')[];
  };

/** Gemma 2 (arXiv 2408.00118), text: norms on both sides, bounded scores and logits, windows in every other layer. */
export const gemma2 = defineFamily({
  modelType: 'gemma2',
  architecture: 'Gemma2ForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  normGainOffset: 1,
  embeddingTimesSqrtHidden: true,
  rotary: true,
  defaults: {
    vocab_size: 256000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 8192,
  },
  derived: ['hidden_act'],
  complete(fields, source): Gemma2Config {
    const types = layerTypes(
      fields.layer_types,
      fields.num_hidden_layers,
      (layer) => (layer % 2 === 0 ? 'sliding_attention' : 'full_attention'),
      source,
    );
    return completeRotaryHeads({ ...fields, layer_types: types }, source);
  },
  write: ({ rope_theta, rope_scaling, ...rest }) => ({
    ...rest,
    hidden_act: rest.hidden_activation,
    ...writeRope(rope_theta, rope_scaling),
  }),
  weights(config) {
    const { attention_bias } = config as Gemma2Config;
    return decoderWeights(config, {
      queryKeyValueBias: attention_bias,
      outputBias: attention_bias,
      norms: {
        attentionNorm: 'input_layernorm',
        postAttentionNorm: 'post_attention_layernorm',
        ffnNorm: 'pre_feedforward_layernorm',
        postFfnNorm: 'post_feedforward_layernorm',
      },
    });
  },
});
