import { existsSync, rmSync } from 'node:fs';
import { InputError } from '../../errors.js';
import { publishFolder } from '../../files/atomic.js';
import { copyExtraFiles, openCheckpoint, saveModel, writeManifest } from '../../interop/index.js';
import { planGrowth } from '../request.js';

/**
 * Writes a model that goes on from one checkpoint and takes its further layers from a deeper one.
 *
 * Everything but the further layers is the target's: embedding, head, final norm and the layers that it has. What was paid, as the manifest says,
 * is the target's, too. Weights are stored as float32.
 *
 * @param target A checkpoint that was made out of the first layers of the reference.
 * @param reference A deeper checkpoint of the same sizes.
 * @param layers Layers of the new model.
 * @throws InputError where the two do not fit, or `out` exists.
 */
export function appendLayers(target: string, reference: string, layers: number, out: string): void {
  if (existsSync(out)) throw new InputError(`${out} exists already.`);
  using upper = openCheckpoint(reference);
  using lower = openCheckpoint(target);
  const config = planGrowth({
    operator: 'inherit',
    source: upper.config,
    target: { num_hidden_layers: layers },
  }).target;
  const own = new Set(lower.weights.map(({ name }) => name));
  for (const { name } of lower.weights)
    if (String(lower.shape(name)) !== String(upper.shape(name)))
      throw new InputError(
        `${lower.folder}: expected "${name}" of shape [${upper.shape(name)}] as in ${upper.folder}, found [${lower.shape(name)}].`,
      );
  const partial = `${out}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const files = saveModel(partial, config, ({ name }) => (own.has(name) ? lower : upper).read(name));
  copyExtraFiles(lower.folder, partial);
  const { files: _, ...paid } = lower.manifest ?? { files: {} };
  writeManifest(partial, paid, files);
  publishFolder(partial, out);
}
