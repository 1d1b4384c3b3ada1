import { join } from 'node:path';
import { countParameters } from '../architecture/index.js';
import { checkpointSteps, readManifest, readModelConfig } from '../interop/index.js';

/** A model that a run has released. */
export interface ReleasedMember {
  readonly stage: string;
  readonly step: number;
  readonly folder: string;
  readonly parameters: number;
  readonly nonEmbeddingParameters: number;
  /** What the whole run had consumed and spent when it was released. */
  readonly tokens: number;
  readonly flops: number;
  readonly validationLoss: number | undefined;
}

/** The models that a run has released, from the first on. */
export function releasedMembers(run: string): ReleasedMember[] {
  return checkpointSteps(run).flatMap((step): ReleasedMember[] => {
    const folder = join(run, 'checkpoints', String(step));
    const manifest = readManifest(folder);
    if (manifest?.['released'] !== true) return [];
    const { total, nonEmbedding } = countParameters(readModelConfig(folder));
    const { stage, validationLoss } = manifest as { stage?: unknown; validationLoss?: unknown };
    return [
      {
        stage: String(stage),
        step,
        folder,
        parameters: total,
        nonEmbeddingParameters: nonEmbedding,
        tokens: manifest.tokens ?? 0,
        flops: manifest.flops ?? 0,
        validationLoss: typeof validationLoss === 'number' ? validationLoss : undefined,
      },
    ];
  });
}
