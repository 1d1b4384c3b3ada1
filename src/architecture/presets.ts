import { InputError } from '../errors.js';
import { suggestion } from './nearest.js';
import { parseModelConfig } from './registry.js';
import type { ModelConfig } from './types.js';

const llamaShape = (
  layers: number,
  hidden: number,
  heads: number,
  kvHeads: number,
  ffn: number,
  vocab: number,
  positions: number,
): Record<string, unknown> => ({
  model_type: 'llama',
  vocab_size: vocab,
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kvHeads,
  intermediate_size: ffn,
  max_position_embeddings: positions,
  rms_norm_eps: 1e-5,
});

/** Model sizes by name: those of G_stack's paper (Du et al. 2024, arXiv 2405.15319), and small ones for tests. */
const shapes: Readonly<Record<string, Record<string, unknown>>> = {
  'gstack-410m': llamaShape(24, 1024, 16, 16, 2816, 32000, 2048),
  'gstack-1.1b': llamaShape(24, 2048, 32, 32, 5632, 32000, 2048),
  'gstack-3b': llamaShape(32, 2560, 20, 4, 7040, 32000, 2048),
  'gstack-7b': llamaShape(32, 4096, 32, 8, 11008, 32000, 2048),
  'test-tiny': llamaShape(2, 32, 4, 2, 88, 256, 64),
  'test-small': llamaShape(4, 128, 4, 4, 320, 2048, 256),
  'test-medium': llamaShape(8, 256, 8, 8, 688, 4096, 256),
};

/** Names of all presets. */
export const presetNames: readonly string[] = Object.keys(shapes);

/**
 * A model config by name, with fields changed as given.
 *
 * @throws InputError for an unknown name or field.
 */
export function preset(name: string, changes: Record<string, unknown> = {}): ModelConfig {
  const shape = shapes[name];
  if (shape === undefined)
    throw new InputError(
      `Unknown model preset "${name}"${suggestion(name, presetNames)}; there are ${presetNames.join(', ')}.`,
    );
  return parseModelConfig({ ...shape, ...changes }, `preset ${name}`);
}
