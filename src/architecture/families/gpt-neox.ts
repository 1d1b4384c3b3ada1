import { z } from 'zod';
import { InputError } from '../../errors.js';
import type { Axis, ModelConfig, WeightRole, WeightSpec } from '../types.js';
import { geluNames } from './gpt2.js';
import {
  axesOf,
  commonFields,
  completeHeads,
  defineFamily,
  headWeight,
  requirePlainHeads,
  ropeFieldShape,
  weight,
  writeRope,
} from './shared.js';

const schema = z.strictObject({
  model_type: z.literal('gpt_neox'),
  ...commonFields,
  hidden_act: z.enum(geluNames).default('gelu'),
  layer_norm_eps: z.number().min(0).default(1e-5),
  ...ropeFieldShape,
  /** Share of each head's dimensions that is rotated. */
  rotary_pct: z.number().min(0).max(1).default(0.25),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
});

/** A full config of the GPT-NeoX family. */
export type GptNeoxConfig = ModelConfig &
  z.output<typeof schema> & { readonly num_key_value_heads: number; readonly head_dim: number };

/** Dimensions of each head that are rotated. */
export const rotatedDims = ({ head_dim, rotary_pct }: GptNeoxConfig): number => Math.trunc(head_dim * rotary_pct);

/** GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): LayerNorm, rotation of a part of each head, attention and feed-forward side by side. */
export const gptNeox = defineFamily({
  modelType: 'gpt_neox',
  architecture: 'GPTNeoXForCausalLM',
  schema,
  normEpsilonField: 'layer_norm_eps',
  norm: 'layer',
  rotary: true,
  aliases: { rotary_emb_base: 'rope_theta', partial_rotary_factor: 'rotary_pct' },
  defaults: {
    vocab_size: 50432,
    hidden_size: 6144,
    intermediate_size: 24576,
    num_hidden_layers: 44,
    num_attention_heads: 64,
  },
  complete(fields, source): GptNeoxConfig {
    const config = completeHeads(fields, source);
    requirePlainHeads(config, source);
    const rotated = rotatedDims(config);
    if (rotated % 2 !== 0)
      throw new InputError(
        `${source}: field "rotary_pct" must rotate an even number of a head's ${config.head_dim} dimensions, found ${rotated}.`,
      );
    return config;
  },
  write({ num_key_value_heads: _, head_dim: __, rope_theta, rope_scaling, ...rest }) {
    const { rope_parameters, ...rope } = writeRope(rope_theta, rope_scaling);
    return {
      ...rest,
      ...rope,
      rotary_emb_base: rope_theta,
      rope_parameters: { ...(rope_parameters as object), partial_rotary_factor: rest.rotary_pct },
    };
  },
  weights,
});

function weights(config: ModelConfig): WeightSpec[] {
  const { vocab, hidden, heads, ffn } = axesOf(config);
  const { attention_bias } = config as GptNeoxConfig;
  const rows = fusedRows(config);
  const list = [weight('gpt_neox.embed_in.weight', 'embedding', [vocab, hidden])];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `gpt_neox.layers.${layer}.`;
    const add = (name: string, role: WeightRole, axes: Axis[], bias = true): void => {
      list.push(weight(`${prefix}${name}.weight`, role, axes, layer));
      if (bias) list.push(weight(`${prefix}${name}.bias`, role, axes.slice(0, 1), layer, 'bias'));
    };
    add('input_layernorm', 'attentionNorm', [hidden]);
    list.push(...fusedAttention(config as GptNeoxConfig, `${prefix}attention.query_key_value`, layer, rows));
    add('attention.dense', 'attentionOutput', [hidden, heads], attention_bias);
    add('post_attention_layernorm', 'ffnNorm', [hidden]);
    add('mlp.dense_h_to_4h', 'up', [ffn, hidden]);
    add('mlp.dense_4h_to_h', 'down', [hidden, ffn]);
  }
  list.push(weight('gpt_neox.final_layer_norm.weight', 'finalNorm', [hidden]));
  list.push(weight('gpt_neox.final_layer_norm.bias', 'finalNorm', [hidden], undefined, 'bias'));
  list.push(headWeight('embed_out.weight', config, 'gpt_neox.embed_in.weight'));
  return list;
}

const fusedRoles = ['query', 'key', 'value'] as const;
type FusedRows = Readonly<Record<(typeof fusedRoles)[number], readonly (readonly [start: number, length: number])[]>>;

/** Where the rows of each role lie in the fused matrix, which holds for each head its query, key and value rows. Every layer shares the lists. */
function fusedRows({ head_dim, num_attention_heads }: ModelConfig): FusedRows {
  const rowsAt = (place: number) =>
    Array.from({ length: num_attention_heads }, (_, head) => [(3 * head + place) * head_dim, head_dim] as const);
  return { query: rowsAt(0), key: rowsAt(1), value: rowsAt(2) };
}

/** Queries, keys and values of one stored matrix, and of one stored bias. */
function fusedAttention(config: GptNeoxConfig, name: string, layer: number, rows: FusedRows): WeightSpec[] {
  const { hidden, heads } = axesOf(config);
  const kinds = config.attention_bias ? (['weight', 'bias'] as const) : (['weight'] as const);
  return kinds.flatMap((kind) => {
    const axes = kind === 'weight' ? [heads, hidden] : [heads];
    const shape = [3 * heads.size, ...axes.slice(1).map((axis) => axis.size)];
    return fusedRoles.map(
      (role): WeightSpec => ({
        ...weight(`${name}.${role}.${kind}`, role, axes, layer, kind),
        stored: { name: `${name}.${kind}`, shape, rows: rows[role] },
      }),
    );
  });
}
