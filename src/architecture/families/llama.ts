import { z } from 'zod';
import { InputError } from '../../errors.js';
import { parseBySchema } from '../parse.js';
import type { Axis, Family, ModelConfig, StoredAs, WeightRole, WeightSpec } from '../types.js';

const size = z.int('expected a whole number').min(1).max(1e8);
const positive = z.number().positive();

/** RoPE scaling of Hugging Face's Llama: `rope_type` default, linear or llama3. */
const ropeScaling = z.discriminatedUnion('rope_type', [
  z.strictObject({ rope_type: z.literal('default') }),
  z.strictObject({ rope_type: z.literal('linear'), factor: positive }),
  z.strictObject({
    rope_type: z.literal('llama3'),
    factor: positive,
    low_freq_factor: positive,
    high_freq_factor: positive,
    original_max_position_embeddings: size,
  }),
]);

const schema = z.strictObject({
  model_type: z.literal('llama').default('llama'),
  vocab_size: size,
  hidden_size: size.max(1e6),
  num_hidden_layers: z.int('expected a whole number').min(0).max(1e5),
  num_attention_heads: size.max(1e6),
  num_key_value_heads: size.max(1e6).optional(),
  head_dim: size.max(1e5).optional(),
  intermediate_size: size,
  max_position_embeddings: size.default(2048),
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().min(0).default(1e-6),
  rope_theta: positive.default(10000),
  rope_scaling: ropeScaling.nullable().default(null),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  initializer_range: positive.default(0.02),
  bos_token_id: z.int().nullable().optional(),
  eos_token_id: z
    .union([z.int(), z.array(z.int())])
    .nullable()
    .optional(),
  pad_token_id: z.int().nullable().optional(),
});

/** A full config of the Llama family. */
export type LlamaConfig = ModelConfig &
  z.output<typeof schema> & { readonly num_key_value_heads: number; readonly head_dim: number };

/** What Hugging Face's LlamaConfig assumes where config.json is silent. */
const huggingFaceDefaults = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
};

function parse(config: unknown, source: string): LlamaConfig {
  return complete(parseBySchema(schema, config, source), source);
}

function complete(fields: z.output<typeof schema>, source: string): LlamaConfig {
  const heads = fields.num_attention_heads;
  const kvHeads = fields.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0)
    throw new InputError(
      `${source}: field "num_key_value_heads" must divide num_attention_heads ${heads}, found ${kvHeads}.`,
    );
  const headDim = fields.head_dim ?? fields.hidden_size / heads;
  if (!Number.isInteger(headDim))
    throw new InputError(
      `${source}: field "hidden_size" must be a multiple of num_attention_heads ${heads} where head_dim is not given, ` +
        `found ${fields.hidden_size}.`,
    );
  if (headDim % 2 !== 0)
    throw new InputError(`${source}: field "head_dim" must be even for rotary positions, found ${headDim}.`);
  return { ...fields, num_key_value_heads: kvHeads, head_dim: headDim };
}

function fromHuggingFace(config: unknown, source: string): LlamaConfig {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new InputError(`${source}: expected an object, found ${JSON.stringify(config)?.slice(0, 40)}.`);
  const known: Record<string, unknown> = { ...huggingFaceDefaults };
  const unknown: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(config)) {
    if (field in schema.shape) {
      if (value !== null || field === 'rope_scaling' || field.endsWith('token_id')) known[field] = value;
    } else if (!derivedFields.has(field)) unknown[field] = value;
  }
  Object.assign(known, ropeFields(config as Record<string, unknown>, source));
  return { ...unknown, ...parse(known, source) };
}

/** Fields of config.json that say again what others, or the weights, say. */
const derivedFields = new Set(['architectures', 'rope_parameters', 'torch_dtype', 'dtype']);

/** `rope_theta` and `rope_scaling` out of any of the forms that config.json has had. */
function ropeFields(config: Record<string, unknown>, source: string): Record<string, unknown> {
  const given = config['rope_parameters'] ?? config['rope_scaling'];
  if (given === undefined || given === null) return { rope_scaling: null };
  if (typeof given !== 'object')
    throw new InputError(`${source}: field "rope_scaling" must be an object, found ${JSON.stringify(given)}.`);
  const { rope_theta, type, rope_type = type ?? 'default', ...rest } = given as Record<string, unknown>;
  return {
    ...(rope_theta === undefined ? {} : { rope_theta }),
    rope_scaling: rope_type === 'default' ? null : { rope_type, ...rest },
  };
}

function toHuggingFace(config: ModelConfig): Record<string, unknown> {
  const { rope_theta, rope_scaling, model_type, ...rest } = config as LlamaConfig;
  return {
    architectures: [llama.architecture],
    model_type,
    ...rest,
    // transformers 4 reads the first two, transformers 5 the third.
    rope_theta,
    rope_scaling,
    rope_parameters: { rope_theta, ...(rope_scaling ?? { rope_type: 'default' }) },
  };
}

function weights(config: ModelConfig): WeightSpec[] {
  const { vocab_size, hidden_size, intermediate_size, head_dim } = config;
  const { attention_bias, mlp_bias } = config as LlamaConfig;
  const vocab: Axis = { role: 'vocab', size: vocab_size, unit: 1 };
  const hidden: Axis = { role: 'hidden', size: hidden_size, unit: 1 };
  const ffn: Axis = { role: 'ffn', size: intermediate_size, unit: 1 };
  const heads: Axis = { role: 'heads', size: config.num_attention_heads * head_dim, unit: head_dim };
  const kvHeads: Axis = { role: 'kvHeads', size: config.num_key_value_heads * head_dim, unit: head_dim };
  const list: WeightSpec[] = [weight('model.embed_tokens.weight', 'embedding', [vocab, hidden])];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const add = (name: string, role: WeightRole, axes: Axis[], bias = false): void => {
      list.push(weight(`model.layers.${layer}.${name}`, role, axes, layer, bias));
    };
    add('input_layernorm.weight', 'attentionNorm', [hidden]);
    // Neighbours in this order lie side by side in memory, so that one matrix product serves q, k and v (gate and up).
    add('self_attn.q_proj.weight', 'query', [heads, hidden]);
    add('self_attn.k_proj.weight', 'key', [kvHeads, hidden]);
    add('self_attn.v_proj.weight', 'value', [kvHeads, hidden]);
    if (attention_bias) {
      add('self_attn.q_proj.bias', 'query', [heads], true);
      add('self_attn.k_proj.bias', 'key', [kvHeads], true);
      add('self_attn.v_proj.bias', 'value', [kvHeads], true);
    }
    add('self_attn.o_proj.weight', 'attentionOutput', [hidden, heads]);
    if (attention_bias) add('self_attn.o_proj.bias', 'attentionOutput', [hidden], true);
    add('post_attention_layernorm.weight', 'ffnNorm', [hidden]);
    add('mlp.gate_proj.weight', 'gate', [ffn, hidden]);
    add('mlp.up_proj.weight', 'up', [ffn, hidden]);
    if (mlp_bias) {
      add('mlp.gate_proj.bias', 'gate', [ffn], true);
      add('mlp.up_proj.bias', 'up', [ffn], true);
    }
    add('mlp.down_proj.weight', 'down', [hidden, ffn]);
    if (mlp_bias) add('mlp.down_proj.bias', 'down', [hidden], true);
  }
  list.push(weight('model.norm.weight', 'finalNorm', [hidden]));
  const head = weight('lm_head.weight', 'head', [vocab, hidden]);
  list.push(config.tie_word_embeddings ? { ...head, tiedTo: 'model.embed_tokens.weight' } : head);
  return list;
}

function weight(name: string, role: WeightRole, axes: Axis[], layer?: number, bias = false): WeightSpec {
  const stored: StoredAs = { name, shape: axes.map((axis) => axis.size) };
  return {
    name,
    role,
    kind: bias ? 'bias' : 'weight',
    axes,
    stored,
    decayed: axes.length > 1,
    ...(layer === undefined ? {} : { layer }),
  };
}

/** Llama 2 and 3 and what is built alike: RMSNorm, rotary positions, SwiGLU, grouped-query attention. */
export const llama: Family = {
  modelType: 'llama',
  architecture: 'LlamaForCausalLM',
  schema,
  normEpsilonField: 'rms_norm_eps',
  norm: 'rms',
  rotary: true,
  parse,
  fromHuggingFace,
  weights,
  toHuggingFace,
};
