import { countParameters, type ModelConfig } from '../architecture/index.js';

/** Memory of training a model on one device, in bytes. */
export interface TrainingMemory {
  readonly weights: number;
  readonly gradients: number;
  /** AdamW's two moments in float32, and float32 master weights where the weights are bf16. */
  readonly optimizer: number;
  /** An estimate for one sequence without recomputation; `strata train --dry-run` plans the exact peak. */
  readonly activations: number;
  readonly total: number;
}

export interface MemoryOptions {
  readonly sequenceLength: number;
  readonly precision: 'f32' | 'bf16';
  /** Devices over which the optimizer state is sharded (ZeRO-1). */
  readonly shards: number;
}

/**
 * What training a model takes on each device under data parallelism, one sequence at a time.
 *
 * Weights, gradients and optimizer state follow from the parameter count; activations count what a pre-norm SwiGLU layer keeps for its
 * backward: 5 hidden + 2 kv + 3 ffn elements a token and layer, and one float32 row of logits a token.
 */
export function trainingMemory(config: ModelConfig, options: MemoryOptions): TrainingMemory {
  const { total: parameters } = countParameters(config);
  const bytes = options.precision === 'bf16' ? 2 : 4;
  const weights = parameters * bytes;
  const gradients = parameters * bytes;
  const optimizer = Math.ceil((parameters * (options.precision === 'bf16' ? 12 : 8)) / options.shards);
  const perLayer =
    3 * config.hidden_size +
    2 * config.num_attention_heads * config.head_dim +
    2 * config.num_key_value_heads * config.head_dim +
    3 * config.intermediate_size;
  const activations = options.sequenceLength * (config.num_hidden_layers * perLayer * bytes + config.vocab_size * 4);
  return { weights, gradients, optimizer, activations, total: weights + gradients + optimizer + activations };
}
