import { z } from 'zod';
import type { ModelConfig } from '../types.js';
import { llamaSizes } from './llama.js';
import {
  axesOf,
  commonFields,
  completeRotaryHeads,
  decoderWeights,
  defineFamily,
  preNorms,
  ropeFieldShape,
  weight,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('llama_dlo').default('llama_dlo'),
  ...commonFields,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  ...ropeFieldShape,
  tie_word_embeddings: z.boolean().default(false),
  /** Twice the factor on a feed-forward branch whose router is undecided (p = 1/2). */
  router_scale: z.number().positive().default(2),
  /** How much the factor changes from p = 0 to p = 1. */
  router_gap: z.number().min(0).default(0.05),
});

/** A full config of Llama with routed feed-forward branches. */
export type LlamaDloConfig = ModelConfig &
  z.output<typeof schema> & { readonly num_key_value_heads: number; readonly head_dim: number };

/**
 * Llama with a router in every layer that says which tokens its feed-forward branch is computed for (DLO, arXiv 2407.11030).
 *
 * A variant of Strata's own: transformers does not know it. Routers of zeros compute what the Llama without them does.
 */
export const llamaDlo = defineFamily({
  modelType: 'llama_dlo',
  architecture: 'LlamaDloForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  defaults: llamaSizes,
  complete: (fields, source): LlamaDloConfig => completeRotaryHeads(fields, source),
  write: ({ rope_theta, rope_scaling, ...rest }) => ({ ...rest, ...writeRope(rope_theta, rope_scaling) }),
  weights(config) {
    const router = [{ role: 'other', size: 1, unit: 1 } as const, axesOf(config).hidden];
    return decoderWeights(config, { norms: preNorms }).flatMap((spec) =>
      spec.role === 'down'
        ? [spec, weight(`model.layers.${spec.layer}.router.weight`, 'router', router, spec.layer)]
        : [spec],
    );
  },
});
