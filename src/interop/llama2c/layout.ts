import {
  familyOf,
  llama,
  type ModelConfig,
  type WeightRole,
  type WeightSpec,
  weightSize,
} from '../../architecture/index.js';
import { InputError } from '../../errors.js';

/** Bytes of the header: seven 32-bit integers. */
export const HEADER_BYTES = 28;

/** What run.c assumes instead of reading it. */
const assumed = { rms_norm_eps: 1e-5, rope_theta: 10000 };

/** A part of the file: a weight of every layer, one of the whole model, or numbers that nobody reads. */
export type Section =
  | { readonly kind: 'weights'; readonly specs: readonly WeightSpec[]; readonly isPaired: boolean }
  | { readonly kind: 'unused'; readonly elements: number };

/** Roles in the order of the file; those of layers hold all layers one after the other. */
const order: readonly WeightRole[] = [
  'embedding',
  'attentionNorm',
  'query',
  'key',
  'value',
  'attentionOutput',
  'ffnNorm',
  'gate',
  'down',
  'up',
  'finalNorm',
];

/**
 * The sections of a llama2.c file (version 0), float32.
 *
 * Rows of q and k lie in pairs of neighbours. Source: A. Karpathy, llama2.c, export.py (legacy_export) and run.c.
 */
export function sectionsOf(config: ModelConfig): Section[] {
  const weights = familyOf(config).weights(config);
  const sections: Section[] = order.map((role) => ({
    kind: 'weights',
    specs: weights.filter((spec) => spec.role === role),
    isPaired: role === 'query' || role === 'key',
  }));
  // Tables of rotary angles, which run.c computes itself.
  sections.push({ kind: 'unused', elements: config.max_position_embeddings * config.head_dim });
  if (!config.tie_word_embeddings)
    sections.push({ kind: 'weights', specs: weights.filter(({ role }) => role === 'head'), isPaired: false });
  return sections;
}

/** Bytes of a whole file. */
export const fileBytes = (config: ModelConfig): number =>
  sectionsOf(config).reduce(
    (sum, section) =>
      sum +
      4 * (section.kind === 'unused' ? section.elements : section.specs.reduce((n, spec) => n + weightSize(spec), 0)),
    HEADER_BYTES,
  );

/** @throws InputError naming the field where run.c would compute something else. */
export function requireLlama2c(config: ModelConfig): void {
  const refuse = (field: string, expected: unknown): never => {
    throw new InputError(
      `llama2.c cannot run this model: field "${field}" must be ${JSON.stringify(expected)}, found ${JSON.stringify(config[field])}.`,
    );
  };
  if (config.model_type !== llama.modelType) refuse('model_type', llama.modelType);
  for (const [field, value] of Object.entries(assumed)) if (config[field] !== value) refuse(field, value);
  if (config['rope_scaling'] !== null) refuse('rope_scaling', null);
  for (const field of ['attention_bias', 'mlp_bias']) if (config[field] === true) refuse(field, false);
  const headDim = config.hidden_size / config.num_attention_heads;
  if (config.head_dim !== headDim) refuse('head_dim', headDim);
}

/** The header; a negative vocabulary says that the head is a matrix of its own. */
export function headerOf(config: ModelConfig): Int32Array {
  return Int32Array.of(
    config.hidden_size,
    config.intermediate_size,
    config.num_hidden_layers,
    config.num_attention_heads,
    config.num_key_value_heads,
    config.tie_word_embeddings ? config.vocab_size : -config.vocab_size,
    config.max_position_embeddings,
  );
}

/** The config that a header stands for. */
export function configOf(header: Int32Array, source: string): ModelConfig {
  const [
    hidden_size,
    intermediate_size,
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads,
    vocabulary = 0,
    length,
  ] = header;
  return llama.parse(
    {
      ...assumed,
      model_type: llama.modelType,
      hidden_size,
      intermediate_size,
      num_hidden_layers,
      num_attention_heads,
      num_key_value_heads,
      vocab_size: Math.abs(vocabulary),
      max_position_embeddings: length,
      tie_word_embeddings: vocabulary > 0,
    },
    source,
  );
}
