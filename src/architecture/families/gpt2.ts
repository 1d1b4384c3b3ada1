import { z } from 'zod';
import type { Axis, ModelConfig, WeightRole, WeightSpec } from '../types.js';
import {
  axesOf,
  commonFields,
  completeHeads,
  defineFamily,
  headWeight,
  requirePlainHeads,
  size,
  weight,
} from './shared.js';

/** Nonlinearities by Hugging Face's names; all but the exact `gelu` are one approximation of it. */
export const geluNames = ['gelu', 'gelu_new', 'gelu_fast', 'gelu_pytorch_tanh', 'relu', 'silu'] as const;

const schema = z.strictObject({
  model_type: z.literal('gpt2'),
  ...commonFields,
  intermediate_size: size.nullable().optional(),
  max_position_embeddings: size.default(1024),
  activation_function: z.enum(geluNames).default('gelu_new'),
  layer_norm_epsilon: z.number().min(0).default(1e-5),
  tie_word_embeddings: z.boolean().default(true),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
});

/** A full config of the GPT-2 family. Fields have the names that transformers maps `n_embd` and its like to. */
export type Gpt2Config = ModelConfig &
  z.output<typeof schema> & {
    readonly intermediate_size: number;
    readonly num_key_value_heads: number;
    readonly head_dim: number;
  };

const aliases = {
  n_embd: 'hidden_size',
  n_layer: 'num_hidden_layers',
  n_head: 'num_attention_heads',
  n_positions: 'max_position_embeddings',
  n_inner: 'intermediate_size',
} as const;

/** GPT-2 (Radford et al. 2019): LayerNorm, learned positions, one fused matrix for q, k and v, matrices stored as [in, out]. */
export const gpt2 = defineFamily({
  modelType: 'gpt2',
  architecture: 'GPT2LMHeadModel',
  schema,
  normEpsilonField: 'layer_norm_epsilon',
  norm: 'layer',
  layersDependOnPlace: (config) => config['scale_attn_by_inverse_layer_idx'] === true,
  rotary: false,
  storedPrefix: 'transformer.',
  aliases,
  defaults: { vocab_size: 50257, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12 },
  derived: ['n_ctx'],
  complete(fields, source): Gpt2Config {
    const inner = fields.intermediate_size ?? 4 * fields.hidden_size;
    const config = completeHeads({ ...fields, intermediate_size: inner }, source);
    requirePlainHeads(config, source);
    return config;
  },
  write(config) {
    const { num_key_value_heads: _, head_dim: __, ...rest } = config;
    const names = new Map(Object.entries(aliases).map(([theirs, ours]) => [ours as string, theirs]));
    return Object.fromEntries(Object.entries(rest).map(([field, value]) => [names.get(field) ?? field, value]));
  },
  weights,
});

function weights(config: ModelConfig): WeightSpec[] {
  const { vocab, position, hidden, ffn } = axesOf(config);
  const list = [
    weight('transformer.wte.weight', 'embedding', [vocab, hidden]),
    weight('transformer.wpe.weight', 'positionEmbedding', [position, hidden]),
  ];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `transformer.h.${layer}.`;
    const vectors = (name: string, role: WeightRole): void => {
      list.push(weight(`${prefix}${name}.weight`, role, [hidden], layer));
      list.push(weight(`${prefix}${name}.bias`, role, [hidden], layer, 'bias'));
    };
    const linear = (name: string, role: WeightRole, axes: [Axis, Axis]): void => {
      list.push(transposed(weight(`${prefix}${name}.weight`, role, axes, layer)));
      list.push(weight(`${prefix}${name}.bias`, role, [axes[0]], layer, 'bias'));
    };
    vectors('ln_1', 'attentionNorm');
    list.push(...fusedAttention(config, `${prefix}attn.c_attn`, layer));
    linear('attn.c_proj', 'attentionOutput', [hidden, axesOf(config).heads]);
    vectors('ln_2', 'ffnNorm');
    linear('mlp.c_fc', 'up', [ffn, hidden]);
    linear('mlp.c_proj', 'down', [hidden, ffn]);
  }
  list.push(weight('transformer.ln_f.weight', 'finalNorm', [hidden]));
  list.push(weight('transformer.ln_f.bias', 'finalNorm', [hidden], undefined, 'bias'));
  list.push(headWeight('lm_head.weight', config, 'transformer.wte.weight'));
  return list;
}

/** The same weight, stored as [in, out] (Conv1D). */
const transposed = (spec: WeightSpec): WeightSpec => ({
  ...spec,
  stored: { ...spec.stored, shape: spec.stored.shape.toReversed(), transposed: true },
});

/** Queries, keys and values: thirds of one stored matrix, and of one stored bias. */
function fusedAttention(config: ModelConfig, name: string, layer: number): WeightSpec[] {
  const { hidden, heads, kvHeads } = axesOf(config);
  const thirds = [
    ['query', heads],
    ['key', kvHeads],
    ['value', kvHeads],
  ] as const;
  return (['weight', 'bias'] as const).flatMap((kind) =>
    thirds.map(([role, axis], i): WeightSpec => {
      const rows = [[i * heads.size, axis.size]] as const;
      const spec = weight(`${name}.${role}.${kind}`, role, kind === 'weight' ? [axis, hidden] : [axis], layer, kind);
      const stored = { name: `${name}.${kind}`, rows };
      return kind === 'weight'
        ? { ...spec, stored: { ...stored, shape: [hidden.size, 3 * heads.size], transposed: true } }
        : { ...spec, stored: { ...stored, shape: [3 * heads.size] } };
    }),
  );
}
