import type { ModelConfig } from '../architecture/index.js';
import type { Context, Value } from '../ops/index.js';
import type { Parameters } from './parameters.js';

/**
 * Vectors that fade in new parts of a grown model, one number per column, 1 where nothing is new. Left out where nothing of that kind grows.
 *
 * hidden [D]: outputs of embedding, attention and ffn; normInput, normOutput [D]: around each norm, so that its statistics are those of what
 * is unmasked, and for layer norms normMean m / sum(m) and normShift -1 [D]; queryKeyValue [columns of q, k and v]; attended [heads x head_dim];
 * gateUp [columns of gate, where there is one, and up] before and ffn [F] behind the activation;
 * branch [D] times what a faded layer adds; layer and rest [D]: layer * block(x) + rest * x.
 */
export interface ForwardMasks<T> {
  readonly vectors: {
    readonly [N in
      | 'hidden'
      | 'normInput'
      | 'normOutput'
      | 'normMean'
      | 'normShift'
      | 'queryKeyValue'
      | 'attended'
      | 'gateUp'
      | 'ffn'
      | 'branch'
      | 'layer'
      | 'rest']?: T;
  };
  /** Layers that are faded as wholes. */
  readonly fadedLayers: readonly number[];
}

/** How a model with routers is trained: how many tokens each layer keeps, and what its forward found out about them. */
export interface RoutingInputs {
  /** Share of the tokens that each layer keeps, f64 [layers]. */
  readonly capacities: Value;
  /** Filled by the forward, first layer first: logits [N, 1] of the router, and how little the branch changes each token [N]. */
  readonly layers: { logits: Value; similarity: Value }[];
}

/** What a forward reads beside its weights. */
export interface ForwardInputs {
  /** Token ids i32 [batch * length]. */
  readonly ids: Value;
  /** Tables that depend on positions only, as the family's `tables` made them. */
  readonly tables: Readonly<Record<string, Value>>;
  /** Masks of a model that is growing; families that do not know them refuse. */
  readonly masks?: ForwardMasks<Value>;
  /**
   * For each position the first one of its own document within the sequence, i32 [batch * length]: attention then stays within documents.
   * Positions go on over documents: rotary ones are relative, learned ones are not.
   */
  readonly documentStarts?: Value;
  /** Of a family whose layers are routed, in training; left out where its routers decide for themselves. */
  readonly routing?: RoutingInputs;
  readonly batch: number;
  readonly length: number;
}

/** What a mask can be for. */
export type MaskedAxis = 'hidden' | 'ffn' | 'heads' | 'layers';

/** A table of numbers or of indices that depends on positions only, [length, columns]. */
export interface ForwardTable {
  readonly values: Float32Array | Int32Array;
  readonly columns: number;
}

/** The computation of a model family: pure functions of a named parameter set. */
export interface ModelForward {
  /** What it can fade in by masks; nothing where it is left out. */
  readonly maskedAxes?: readonly MaskedAxis[];
  /** Whether its layers are routed and take `routing` in training. */
  readonly routed?: boolean;
  /** Constant tables by name, for positions start, start + 1, ...; shapes [length, columns]. */
  tables(config: ModelConfig, length: number, start?: number): Record<string, ForwardTable>;
  /** From token ids to normalised hidden states [batch * length, hidden]: everything but the head. */
  hidden(context: Context, config: ModelConfig, parameters: Parameters, inputs: ForwardInputs): Value;
  /** What bounds the logits (see `LogitAttributes`); left out where the family has no such bound. */
  logitSoftcap?(config: ModelConfig): number | undefined;
}
