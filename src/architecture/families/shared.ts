import { z } from 'zod';
import { cite, InputError } from '../../errors.js';
import { parseBySchema } from '../parse.js';
import type { Axis, Family, ModelConfig, WeightRole, WeightSpec } from '../types.js';

export const size = z.int('expected a whole number').min(1).max(1e8);
export const positive = z.number().positive();

/** Fields that every family's config has, under Hugging Face's names. */
export const commonFields = {
  vocab_size: size,
  hidden_size: size.max(1e6),
  num_hidden_layers: z.int('expected a whole number').min(0).max(2000),
  num_attention_heads: size.max(1e4),
  num_key_value_heads: size.max(1e4).optional(),
  head_dim: size.max(1e5).optional(),
  intermediate_size: size,
  max_position_embeddings: size.default(2048),
  initializer_range: positive.default(0.02),
  bos_token_id: z.int().nullable().optional(),
  eos_token_id: z
    .union([z.int(), z.array(z.int())])
    .nullable()
    .optional(),
  pad_token_id: z.int().nullable().optional(),
} as const;

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

export type RopeScaling = z.output<typeof ropeScaling> | null;

/** Fields of families with rotary positions. */
export const ropeFieldShape = {
  rope_theta: positive.default(10000),
  rope_scaling: ropeScaling.nullable().default(null),
} as const;

/** What `completeHeads` needs and fills in. */
interface HeadFields {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | undefined;
  readonly head_dim?: number | undefined;
}

/** Fills in kv heads (as many as heads) and head_dim (hidden size / heads) where they are not given, and checks that they fit. */
export function completeHeads<F extends HeadFields>(
  fields: F,
  source: string,
): F & { num_key_value_heads: number; head_dim: number } {
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
  return { ...fields, num_key_value_heads: kvHeads, head_dim: headDim };
}

/** The same for families with rotary positions, whose pairs need an even head_dim. */
export function completeRotaryHeads<F extends HeadFields>(fields: F, source: string) {
  const complete = completeHeads(fields, source);
  if (complete.head_dim % 2 !== 0)
    throw new InputError(`${source}: field "head_dim" must be even for rotary positions, found ${complete.head_dim}.`);
  return complete;
}

/** For families that know neither grouped keys nor a head_dim of its own: heads fill the hidden size exactly. */
export function requirePlainHeads(
  { num_attention_heads, num_key_value_heads, head_dim, hidden_size, model_type }: ModelConfig,
  source: string,
): void {
  if (num_key_value_heads !== num_attention_heads)
    throw new InputError(
      `${source}: field "num_key_value_heads" must be num_attention_heads ${num_attention_heads} in a ${model_type}, found ${num_key_value_heads}.`,
    );
  if (head_dim * num_attention_heads !== hidden_size)
    throw new InputError(
      `${source}: field "head_dim" must be hidden_size / num_attention_heads = ${hidden_size / num_attention_heads} in a ${model_type}, found ${head_dim}.`,
    );
}

/** Kinds of attention that a layer may have. */
export const layerTypeField = z.array(z.enum(['full_attention', 'sliding_attention'])).optional();

/** The kind of each layer: as given, else by the family's rule. */
export function layerTypes(
  given: z.output<typeof layerTypeField>,
  layers: number,
  rule: (layer: number) => 'full_attention' | 'sliding_attention',
  source: string,
): ('full_attention' | 'sliding_attention')[] {
  const types = given ?? Array.from({ length: layers }, (_, i) => rule(i));
  if (types.length !== layers)
    throw new InputError(
      `${source}: field "layer_types" must have an entry for each of num_hidden_layers ${layers}, found ${types.length}.`,
    );
  return types;
}

/** Fields of config.json that say again what others, or the weights, say. */
const derivedFields: readonly string[] = ['architectures', 'rope_parameters', 'torch_dtype', 'dtype'];

/** How a family reads Hugging Face's config.json. */
export interface HuggingFaceReading {
  readonly schema: z.ZodObject;
  /** What transformers assumes where config.json is silent. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Other names of fields, as `n_embd` for `hidden_size`. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** More fields that say nothing of their own. */
  readonly derived?: readonly string[];
  readonly rotary: boolean;
}

/** A config.json's fields: those that the family knows, parsed by it, and all others as they are. */
export function readHuggingFace<C extends ModelConfig>(
  config: unknown,
  source: string,
  { schema, defaults, aliases = {}, derived = [], rotary }: HuggingFaceReading,
  parse: (config: unknown, source: string) => C,
): C {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new InputError(`${source}: expected an object, found ${cite(config)}.`);
  const known: Record<string, unknown> = { ...defaults };
  const unknown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(config)) {
    const field = aliases[name] ?? name;
    const accepted = schema.shape[field] as z.ZodType | undefined;
    if (accepted !== undefined) {
      if (value !== null || accepted.safeParse(null).success) known[field] = value;
    } else if (!derivedFields.includes(field) && !derived.includes(field)) unknown[field] = value;
  }
  if (rotary) Object.assign(known, ropeFields(config as Record<string, unknown>, source));
  return { ...unknown, ...parse(known, source) };
}

/** `rope_theta` and `rope_scaling` out of any of the forms that config.json has had. */
function ropeFields(config: Record<string, unknown>, source: string): Record<string, unknown> {
  const given = config['rope_parameters'] ?? config['rope_scaling'];
  if (given === undefined || given === null) return { rope_scaling: null };
  if (typeof given !== 'object')
    throw new InputError(`${source}: field "rope_scaling" must be an object, found ${cite(given)}.`);
  const {
    rope_theta,
    type,
    rope_type = type ?? 'default',
    partial_rotary_factor,
    ...rest
  } = given as Record<string, unknown>;
  return {
    ...(rope_theta === undefined ? {} : { rope_theta }),
    ...(partial_rotary_factor === undefined ? {} : { rotary_pct: partial_rotary_factor }),
    rope_scaling: rope_type === 'default' ? null : { rope_type, ...rest },
  };
}

/** Rotary fields for config.json: transformers 4 reads the first two, transformers 5 the third. */
export const writeRope = (rope_theta: number, rope_scaling: RopeScaling): Record<string, unknown> => ({
  rope_theta,
  rope_scaling,
  rope_parameters: { rope_theta, ...(rope_scaling ?? { rope_type: 'default' }) },
});

/** A family out of its schema and what is its own. */
export function defineFamily<S extends z.ZodObject, C extends ModelConfig>(
  draft: Pick<Family, 'modelType' | 'architecture' | 'normEpsilonField' | 'norm' | 'rotary' | 'weights'> &
    Partial<Pick<Family, 'normGainOffset' | 'embeddingTimesSqrtHidden' | 'layersDependOnPlace' | 'storedPrefix'>> &
    Omit<HuggingFaceReading, 'schema' | 'rotary'> & {
      readonly schema: S;
      /** Fills in what follows from other fields, and checks that all fit together. */
      readonly complete: (fields: z.output<S>, source: string) => C;
      /** Fields of config.json beside `architectures` and `model_type`. */
      readonly write: (config: C) => Record<string, unknown>;
    },
): Family {
  const { schema, complete, write, defaults, aliases = {}, derived = [], ...family } = draft;
  const rename = (config: unknown): unknown =>
    typeof config === 'object' && config !== null && !Array.isArray(config)
      ? Object.fromEntries(Object.entries(config).map(([name, value]) => [aliases[name] ?? name, value]))
      : config;
  const parse = (config: unknown, source: string): C => complete(parseBySchema(schema, rename(config), source), source);
  return {
    ...family,
    schema,
    parse,
    fromHuggingFace: (config, source) =>
      readHuggingFace(config, source, { schema, defaults, aliases, derived, rotary: family.rotary }, parse),
    toHuggingFace: (config) => ({
      architectures: [family.architecture],
      model_type: family.modelType,
      ...write(config as C),
    }),
  };
}

/** Axes of a model's weights. */
export function axesOf(config: ModelConfig) {
  const { vocab_size, hidden_size, intermediate_size, head_dim, num_attention_heads, num_key_value_heads } = config;
  const axis = (role: Axis['role'], length: number, unit = 1): Axis => ({ role, size: length, unit });
  return {
    vocab: axis('vocab', vocab_size),
    position: axis('position', config.max_position_embeddings),
    hidden: axis('hidden', hidden_size),
    ffn: axis('ffn', intermediate_size),
    heads: axis('heads', num_attention_heads * head_dim, head_dim),
    kvHeads: axis('kvHeads', num_key_value_heads * head_dim, head_dim),
    headDim: axis('headDim', head_dim),
  };
}

/** A weight that one stored tensor of the same name holds as it is. */
export function weight(
  name: string,
  role: WeightRole,
  axes: readonly Axis[],
  layer?: number,
  kind: 'weight' | 'bias' = 'weight',
): WeightSpec {
  return {
    name,
    role,
    kind,
    axes,
    stored: { name, shape: axes.map((axis) => axis.size) },
    decayed: axes.length > 1,
    ...(layer === undefined ? {} : { layer }),
  };
}

/** Which weights a decoder of Llama's naming has beside its matrices. */
export interface DecoderParts {
  readonly queryKeyValueBias?: boolean;
  readonly outputBias?: boolean;
  readonly ffnBias?: boolean;
  /** Norms of queries and keys: of each head, or of all heads together. */
  readonly queryKeyNorm?: 'head' | 'all';
  /** The norms around attention and feed-forward by their names in a layer. */
  readonly norms: Readonly<Partial<Record<WeightRole, string>>>;
}

/** Norms before attention and feed-forward, as Llama names them. */
export const preNorms = { attentionNorm: 'input_layernorm', ffnNorm: 'post_attention_layernorm' } as const;

/** The weights of a decoder with Llama's names, in canonical order. */
export function decoderWeights(config: ModelConfig, parts: DecoderParts): WeightSpec[] {
  const { vocab, hidden, ffn, heads, kvHeads, headDim } = axesOf(config);
  const list: WeightSpec[] = [weight('model.embed_tokens.weight', 'embedding', [vocab, hidden])];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const add = (name: string, role: WeightRole, axes: Axis[], kind: 'weight' | 'bias' = 'weight'): void => {
      list.push(weight(`model.layers.${layer}.${name}.${kind}`, role, axes, layer, kind));
    };
    const norm = (role: WeightRole): void => {
      const name = parts.norms[role];
      if (name !== undefined) add(name, role, [hidden]);
    };
    norm('attentionNorm');
    // Neighbours in this order lie side by side in memory, so that one matrix product serves q, k and v (gate and up).
    add('self_attn.q_proj', 'query', [heads, hidden]);
    add('self_attn.k_proj', 'key', [kvHeads, hidden]);
    add('self_attn.v_proj', 'value', [kvHeads, hidden]);
    if (parts.queryKeyValueBias === true) {
      add('self_attn.q_proj', 'query', [heads], 'bias');
      add('self_attn.k_proj', 'key', [kvHeads], 'bias');
      add('self_attn.v_proj', 'value', [kvHeads], 'bias');
    }
    if (parts.queryKeyNorm !== undefined) {
      add('self_attn.q_norm', 'queryNorm', [parts.queryKeyNorm === 'head' ? headDim : heads]);
      add('self_attn.k_norm', 'keyNorm', [parts.queryKeyNorm === 'head' ? headDim : kvHeads]);
    }
    add('self_attn.o_proj', 'attentionOutput', [hidden, heads]);
    if (parts.outputBias === true) add('self_attn.o_proj', 'attentionOutput', [hidden], 'bias');
    norm('postAttentionNorm');
    norm('ffnNorm');
    add('mlp.gate_proj', 'gate', [ffn, hidden]);
    add('mlp.up_proj', 'up', [ffn, hidden]);
    if (parts.ffnBias === true) {
      add('mlp.gate_proj', 'gate', [ffn], 'bias');
      add('mlp.up_proj', 'up', [ffn], 'bias');
    }
    add('mlp.down_proj', 'down', [hidden, ffn]);
    if (parts.ffnBias === true) add('mlp.down_proj', 'down', [hidden], 'bias');
    norm('postFfnNorm');
  }
  list.push(weight('model.norm.weight', 'finalNorm', [hidden]));
  list.push(headWeight('lm_head.weight', config, 'model.embed_tokens.weight'));
  return list;
}

/** The head, or the embedding in its place. */
export function headWeight(name: string, config: ModelConfig, embedding: string): WeightSpec {
  const { vocab, hidden } = axesOf(config);
  const head = weight(name, 'head', [vocab, hidden]);
  return config.tie_word_embeddings ? { ...head, tiedTo: embedding } : head;
}
