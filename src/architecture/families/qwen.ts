import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import {
  commonFields,
  completeRotaryHeads,
  layerTypeField,
  layerTypes,
  ropeFieldShape,
  size,
  writeRope,
} from './shared.js';

/** Fields that Qwen2 and Qwen3 share. */
export const qwenFields = {
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullable().default(null),
  max_window_layers: z.int().min(0).default(28),
  layer_types: layerTypeField,
} as const;

/** What transformers assumes where config.json is silent. */
export const qwenDefaults = {
  vocab_size: 151936,
  hidden_size: 4096,
  intermediate_size: 22016,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 32768,
  sliding_window: 4096,
} as const;

type Fields = z.output<z.ZodObject<{ model_type: z.ZodString } & typeof qwenFields>>;

/** What every full Qwen config has; `sliding_window` is null unless `use_sliding_window`. */
export type QwenConfig = ModelConfig &
  Fields & {
    readonly num_key_value_heads: number;
    readonly head_dim: number;
    readonly layer_types: readonly ('full_attention' | 'sliding_attention')[];
  };

/** Fills in heads and the kind of each layer: windows from layer `max_window_layers` on, where they are used. */
export function completeQwen<F extends Fields>(given: F, source: string) {
  const window = given.use_sliding_window ? given.sliding_window : null;
  const isWindowed = (layer: number): boolean => window !== null && layer >= given.max_window_layers;
  const types = layerTypes(
    given.layer_types,
    given.num_hidden_layers,
    (layer) => (isWindowed(layer) ? 'sliding_attention' : 'full_attention'),
    source,
  );
  return completeRotaryHeads({ ...given, sliding_window: window, layer_types: types }, source);
}

/** Fields of config.json. */
export const writeQwen = ({ rope_theta, rope_scaling, ...rest }: QwenConfig): Record<string, unknown> => ({
  ...rest,
  ...writeRope(rope_theta, rope_scaling),
});
