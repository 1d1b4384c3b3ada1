import { InputError } from '../errors.js';
import { gemma2 } from './families/gemma2.js';
import { gpt2 } from './families/gpt2.js';
import { gptNeox } from './families/gpt-neox.js';
import { llama } from './families/llama.js';
import { llamaDlo } from './families/llama-dlo.js';
import { mistral } from './families/mistral.js';
import { olmo2 } from './families/olmo2.js';
import { qwen2 } from './families/qwen2.js';
import { qwen3 } from './families/qwen3.js';
import { suggestion } from './nearest.js';
import type { Family, ModelConfig } from './types.js';

/** Every family that Strata can train, by Hugging Face's `model_type`. */
export const families: ReadonlyMap<string, Family> = new Map(
  [llama, llamaDlo, mistral, qwen2, qwen3, gptNeox, gpt2, olmo2, gemma2].map((family) => [family.modelType, family]),
);

/**
 * The family of a config or of a `model_type`.
 *
 * @throws InputError where no family has that model type.
 */
export function familyOf(configOrType: Pick<ModelConfig, 'model_type'> | string): Family {
  const type = typeof configOrType === 'string' ? configOrType : configOrType.model_type;
  const family = families.get(type);
  if (family !== undefined) return family;
  const known = [...families.keys()];
  throw new InputError(
    `Unknown model_type "${type}"${suggestion(type, known)}; Strata knows ${known.map((name) => `"${name}"`).join(', ')}.`,
  );
}

/**
 * Parses a model's fields as a run config has them; `model_type` is `llama` where it is left out.
 *
 * @param source What the fields are, for messages, for example "run.yaml: model".
 * @throws InputError naming the field; unknown fields are errors with the nearest name.
 */
export function parseModelConfig(config: unknown, source: string): ModelConfig {
  const type = (config as { model_type?: unknown } | null)?.model_type ?? 'llama';
  if (typeof type !== 'string')
    throw new InputError(`${source}: field "model_type" must be a text, found ${JSON.stringify(type)}.`);
  return familyOf(type).parse(config, source);
}
