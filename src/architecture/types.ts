import type { z } from 'zod';

/** What an axis of a weight counts; `layer` is part of the identity for ffn and head axes. */
export type AxisRole = 'vocab' | 'position' | 'hidden' | 'heads' | 'kvHeads' | 'ffn' | 'headDim' | 'layer' | 'other';

/** One axis of a logical weight. Head axes hold `unit` rows (head_dim) per head, which move together. */
export interface Axis {
  readonly role: AxisRole;
  /** Length in elements (heads x head_dim for head axes). */
  readonly size: number;
  /** Elements that move as one: head_dim for head axes, else 1. */
  readonly unit: number;
}

/** What a weight does in the model: operators and optimizers look at this, never at names or sizes. */
export type WeightRole =
  | 'embedding'
  | 'positionEmbedding'
  | 'attentionNorm'
  | 'query'
  | 'key'
  | 'value'
  | 'attentionOutput'
  | 'queryNorm'
  | 'keyNorm'
  | 'postAttentionNorm'
  | 'ffnNorm'
  | 'gate'
  | 'up'
  | 'down'
  | 'postFfnNorm'
  /** Says which tokens a layer's feed-forward branch is computed for. */
  | 'router'
  | 'finalNorm'
  | 'head'
  /** Of a family that was described by a file; nothing but copying knows what to do with it. */
  | 'other';

/** How a logical weight lies in a stored tensor, where that differs from "the whole tensor, as it is". */
export interface StoredAs {
  readonly name: string;
  readonly shape: readonly number[];
  /** The stored tensor is the transpose of [out, in] (GPT-2's Conv1D). */
  readonly transposed?: boolean;
  /** Rows (of the untransposed, logical layout) taken from the stored tensor, in order; [start, length] runs. */
  readonly rows?: readonly (readonly [start: number, length: number])[];
}

/** One logical weight of a model: a matrix [out, in], a table [vocab, hidden] or a vector. */
export interface WeightSpec {
  /** Unique logical name; the Hugging Face tensor name wherever one tensor holds exactly this weight. */
  readonly name: string;
  readonly role: WeightRole;
  readonly kind: 'weight' | 'bias';
  /** Layer index from 0; undefined outside the layers. */
  readonly layer?: number;
  readonly axes: readonly Axis[];
  /** Set where the weight is the same memory as another (a tied head); it is then not stored. */
  readonly tiedTo?: string;
  readonly stored: StoredAs;
  /** Weight decay applies: matrices and tables, not vectors. */
  readonly decayed: boolean;
}

/** Fields every family's config has, under Hugging Face's names; families add theirs. */
export interface ModelConfig {
  readonly model_type: string;
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly tie_word_embeddings: boolean;
  readonly initializer_range: number;
  readonly [field: string]: unknown;
}

/** A model family: config schema, weight map, counts. No tensor code. */
export interface Family {
  readonly modelType: string;
  /** `architectures[0]` of config.json. */
  readonly architecture: string;
  /** Parses a (possibly partial) config into a full one with every default filled in. Throws InputError naming the field. */
  parse(config: unknown, source: string): ModelConfig;
  /** Reads a Hugging Face config.json: fields it does not know are kept as they are, defaults are Hugging Face's. */
  fromHuggingFace(config: unknown, source: string): ModelConfig;
  readonly schema: z.ZodType;
  /** The logical weights in canonical order. */
  weights(config: ModelConfig): WeightSpec[];
  /** The field with the epsilon of the norms, which width growth may have to change. */
  readonly normEpsilonField: string;
  readonly norm: 'rms' | 'layer';
  /** Positions are rotations of pairs inside a head, so that head_dim cannot grow. */
  readonly rotary: boolean;
  /** What norms add to their stored gain: 1 where the family stores gain - 1 (Gemma); 0 where left out. */
  readonly normGainOffset?: number;
  /** The forward multiplies embeddings by sqrt(hidden_size) (Gemma). */
  readonly embeddingTimesSqrtHidden?: boolean;
  /** Whether a layer computes something else at another place in the stack (GPT-2's scores divided by the layer's number). */
  readonly layersDependOnPlace?: (config: ModelConfig) => boolean;
  /** Prefix of stored names that checkpoints of the bare model lack (the hub's GPT-2). */
  readonly storedPrefix?: string;
  /** Set where every stored tensor has to be a weight of the map, but for those that this function names. */
  readonly ignoredTensor?: (name: string) => boolean;
  /** What config.json gets: Hugging Face fields only. */
  toHuggingFace(config: ModelConfig): Record<string, unknown>;
}
