import { z } from 'zod';
import { completeQwen, type QwenConfig, qwenDefaults, qwenFields, writeQwen } from './qwen.js';
import { decoderWeights, defineFamily, preNorms } from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('qwen3'),
  ...qwenFields,
  attention_bias: z.boolean().default(false),
});

/** A full config of the Qwen3 family. */
export type Qwen3Config = QwenConfig & z.output<typeof schema>;

/** Qwen3 (arXiv 2505.09388), dense: Llama with norms of each head's queries and keys. */
export const qwen3 = defineFamily({
  modelType: 'qwen3',
  architecture: 'Qwen3ForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: { ...qwenDefaults, head_dim: 128 },
  complete: (fields, source): Qwen3Config => completeQwen(fields, source),
  write: writeQwen,
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
