import type { ModelConfig } from '../architecture/index.js';
import type { Context, Value } from '../ops/index.js';
import type { Parameters } from './parameters.js';

/** What a forward reads beside its weights. */
export interface ForwardInputs {
  /** Token ids i32 [batch * length]. */
  readonly ids: Value;
  /** Tables that depend on positions only, as the family's `tables` made them. */
  readonly tables: Readonly<Record<string, Value>>;
  readonly batch: number;
  readonly length: number;
}

/** The computation of a model family: pure functions of a named parameter set. */
export interface ModelForward {
  /** Constant tables by name, for positions start, start + 1, ...; shapes [length, columns]. */
  tables(
    config: ModelConfig,
    length: number,
    start?: number,
  ): Record<string, { readonly values: Float32Array; readonly columns: number }>;
  /** From token ids to normalised hidden states [batch * length, hidden]: everything but the head. */
  hidden(context: Context, config: ModelConfig, parameters: Parameters, inputs: ForwardInputs): Value;
}
