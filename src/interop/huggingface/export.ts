import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError } from '../../errors.js';
import { publishFolder, writeFileAtomic } from '../../files/atomic.js';
import { type FloatDType, isFloatDType } from '../safetensors/index.js';
import { exportCard } from './card.js';
import type { Checkpoint } from './checkpoint.js';
import { copyExtraFiles } from './folder.js';
import { paidStages } from './lineage.js';
import { writeManifest } from './manifest.js';
import { saveModel } from './save.js';

/** What a manifest says of how the model was made. */
const carried = /^(step|tokens|flops.*|operator|planHash|parents|parentFlops)$/;

/**
 * Writes a checkpoint as a plain Hugging Face folder: config, weights, a model card, and the files that belong to the model; no trainer or optimizer state.
 *
 * What was paid for the model, stage by stage, stands in the card and in its manifest.
 *
 * @param options.dtype Type of the weights; that of the first weight where left out.
 */
export function exportHuggingFace(
  checkpoint: Checkpoint,
  folder: string,
  { dtype = storedType(checkpoint), maxShardBytes }: { dtype?: FloatDType; maxShardBytes?: number } = {},
): { readonly bytes: number } {
  if (existsSync(folder)) throw new InputError(`${folder}: already exists.`);
  const temporary = `${folder}.partial`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(dirname(temporary), { recursive: true });
  try {
    const read = ({ name }: { readonly name: string }): Float32Array => {
      const values = checkpoint.read(name);
      checkpoint.release();
      return values;
    };
    const options = { dtype, ...(maxShardBytes === undefined ? {} : { maxShardBytes }) };
    const files = saveModel(temporary, checkpoint.config, read, options);
    copyExtraFiles(checkpoint.folder, temporary);
    const stages = paidStages(checkpoint.folder, checkpoint.manifest);
    writeFileAtomic(join(temporary, 'README.md'), exportCard(checkpoint, stages, dtype));
    const kept = Object.entries(checkpoint.manifest ?? {}).filter(([field]) => carried.test(field));
    const fields = { kind: 'exported', ...Object.fromEntries(kept), ...(stages.length === 0 ? {} : { stages }) };
    writeManifest(temporary, fields, files);
    publishFolder(temporary, folder);
    return { bytes: Object.values(files).reduce((sum, file) => sum + file.bytes, 0) };
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

function storedType(checkpoint: Checkpoint): FloatDType {
  const dtype = checkpoint.dtype(checkpoint.weights[0]!.name);
  return isFloatDType(dtype) ? dtype : 'F32';
}
