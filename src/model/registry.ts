import type { ModelConfig } from '../architecture/index.js';
import { InputError } from '../errors.js';
import { llamaForward } from './families/llama.js';
import type { ModelForward } from './types.js';

/** Every family with a forward, by `model_type`. */
export const forwards: ReadonlyMap<string, ModelForward> = new Map([['llama', llamaForward]]);

/** The forward of a config's family. Throws InputError where Strata can grow but not run that family. */
export function forwardOf({ model_type }: Pick<ModelConfig, 'model_type'>): ModelForward {
  const forward = forwards.get(model_type);
  if (forward !== undefined) return forward;
  throw new InputError(
    `Models of model_type "${model_type}" can be grown but not run; those that run are ${[...forwards.keys()].join(', ')}.`,
  );
}
