import { z } from 'zod';
import { completeQwen, type QwenConfig, qwenDefaults, qwenFields, writeQwen } from './qwen.js';
import { decoderWeights, defineFamily, preNorms } from './shared.js';

const schema = z.strictObject({ model_type: z.literal('qwen2'), ...qwenFields });

/** A full config of the Qwen2 family. */
export type Qwen2Config = QwenConfig & z.output<typeof schema>;

/** Qwen2 and 2.5 (arXiv 2407.10671): Llama with biases on queries, keys and values, and windows in upper layers where asked. */
export const qwen2 = defineFamily({
  modelType: 'qwen2',
  architecture: 'Qwen2ForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: qwenDefaults,
  complete: (fields, source): Qwen2Config => completeQwen(fields, source),
  write: writeQwen,
  weights: (config) => decoderWeights(config, { queryKeyValueBias: true, norms: preNorms }),
});
