import { suggestion, type ModelConfig, type WeightSpec } from '../architecture/index.js';
import { InputError } from '../errors.js';
import type { Trainable } from './config/index.js';

/**
 * Which of a model's weights a stage trains.
 *
 * A tied head is one weight with the embedding, at the bottom of the model: `lastLayers` and `added` leave it frozen.
 *
 * @param addedLayers Layers that the last growth added.
 * @param source What the selector is, for messages.
 * @throws InputError where it selects nothing, or names roles that the model has not.
 */
export function trainableWeights(
  selector: Trainable,
  config: ModelConfig,
  specs: readonly WeightSpec[],
  addedLayers: readonly number[],
  source: string,
): (spec: WeightSpec) => boolean {
  const select = selectorOf(selector, config, specs, addedLayers, source);
  if (!specs.some((spec) => spec.tiedTo === undefined && select(spec)))
    throw new InputError(`${source}: it selects no weight of the model.`);
  return select;
}

function selectorOf(
  selector: Trainable,
  config: ModelConfig,
  specs: readonly WeightSpec[],
  addedLayers: readonly number[],
  source: string,
): (spec: WeightSpec) => boolean {
  if (selector === 'all') return () => true;
  if (selector === 'added') {
    if (addedLayers.length === 0)
      throw new InputError(
        `${source}: the growth before it added no layers; "added" trains layers that are new, and new entries of old weights learn apart by optimizer.newEntries.`,
      );
    const added = new Set(addedLayers);
    return (spec) => spec.layer !== undefined && added.has(spec.layer);
  }
  if ('lastLayers' in selector) {
    const first = config.num_hidden_layers - selector.lastLayers;
    if (first < 0)
      throw new InputError(
        `${source}: lastLayers must be at most the model's ${config.num_hidden_layers} layers, found ${selector.lastLayers}.`,
      );
    return ({ layer, role }) => (layer === undefined ? role === 'finalNorm' || role === 'head' : layer >= first);
  }
  const known = new Set<string>(specs.map((spec) => spec.role));
  const wanted = new Set(selector.roles);
  for (const role of wanted)
    if (!known.has(role))
      throw new InputError(
        `${source}: the model has no weights of role "${role}"${suggestion(role, known)}; there are ${[...known].join(', ')}.`,
      );
  return (spec) => wanted.has(spec.role);
}
