import { basename, join } from 'node:path';
import { InputError } from '../../errors.js';
import {
  type Checkpoint,
  checkpointSteps,
  hashFile,
  openCheckpoint,
  openWeightFiles,
  readManifest,
} from '../../interop/index.js';
import { canonicalJson, sha256 } from '../../records/index.js';
import type { ExcessObjectiveConfig } from '../config/objective.js';

/** Which checkpoint a config's `reference` means. */
export type ReferencePlace =
  | { readonly kind: 'stage'; readonly stage: string }
  | { readonly kind: 'checkpoint'; readonly path: string };

/** @param from The checkpoint that the run starts from. */
export function referencePlace(
  { reference }: Pick<ExcessObjectiveConfig, 'reference'>,
  from: string | undefined,
): ReferencePlace | undefined {
  if (typeof reference !== 'string') return { kind: 'stage', stage: reference.stage };
  if (reference !== 'from') return { kind: 'checkpoint', path: reference };
  return from === undefined ? undefined : { kind: 'checkpoint', path: from };
}

/**
 * Opens a reference.
 *
 * @param run The run's folder, whose stages can be references.
 * @throws InputError where it is not there.
 */
export function openReference(place: ReferencePlace, run: string): Checkpoint {
  if (place.kind === 'checkpoint') return openCheckpoint(place.path);
  for (const step of checkpointSteps(run).reverse()) {
    const folder = join(run, 'checkpoints', String(step));
    const manifest = readManifest(folder);
    if (manifest?.['stage'] === place.stage && manifest['released'] === true) return openCheckpoint(folder);
  }
  throw new InputError(`${run}: expected the checkpoint from the end of stage "${place.stage}", found none.`);
}

/** SHA-256 of what a model computes: its config and its weight files, by the manifest where there is one. */
export function modelHash(checkpoint: Checkpoint): string {
  using weights = openWeightFiles(checkpoint.folder);
  const hashes = weights.files.map(
    ({ path }) => checkpoint.manifest?.files[basename(path)]?.sha256 ?? hashFile(path).sha256,
  );
  return sha256(canonicalJson({ config: JSON.parse(JSON.stringify(checkpoint.config)), weights: hashes }));
}
