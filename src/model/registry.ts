import type { ModelConfig } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { softcap, type Context, type LogitAttributes, type Value } from '../ops/index.js';
import { gemma2Forward } from './families/gemma2.js';
import { gpt2Forward } from './families/gpt2.js';
import { gptNeoxForward } from './families/gpt-neox.js';
import { llamaDloForward } from './families/llama-dlo.js';
import { llamaForward } from './families/llama.js';
import { olmo2Forward } from './families/olmo2.js';
import { mistralForward, qwenForward } from './families/pre-norm.js';
import type { ModelForward } from './types.js';

/** Every family with a forward, by `model_type`. */
export const forwards: ReadonlyMap<string, ModelForward> = new Map([
  ['llama', llamaForward],
  ['llama_dlo', llamaDloForward],
  ['mistral', mistralForward],
  ['qwen2', qwenForward],
  ['qwen3', qwenForward],
  ['gpt_neox', gptNeoxForward],
  ['gpt2', gpt2Forward],
  ['olmo2', olmo2Forward],
  ['gemma2', gemma2Forward],
]);

/** The forward of a config's family. Throws InputError where Strata can grow but not run that family. */
export function forwardOf({ model_type }: Pick<ModelConfig, 'model_type'>): ModelForward {
  const forward = forwards.get(model_type);
  if (forward !== undefined) return forward;
  throw new InputError(
    `Models of model_type "${model_type}" can be grown but not run; those that run are ${[...forwards.keys()].join(', ')}.`,
  );
}

/** What ops that apply the head need to know of a config's family. */
export function logitAttributes(config: ModelConfig): LogitAttributes {
  const cap = forwardOf(config).logitSoftcap?.(config);
  return cap === undefined ? {} : { softcap: cap };
}

/** Logits as the family bounds them, from the products with the head. */
export function boundLogits(context: Context, config: ModelConfig, logits: Value): Value {
  const { softcap: cap } = logitAttributes(config);
  return cap === undefined ? logits : softcap(context, logits, cap);
}
