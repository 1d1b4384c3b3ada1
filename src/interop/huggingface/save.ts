import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { familyOf, type ModelConfig, type WeightSpec } from '../../architecture/index.js';
import { type FloatDType, SafetensorsWriter, torchDtypeName, type WrittenFile } from '../safetensors/index.js';
import { planShards, writeConfig, writeIndex } from './folder.js';
import { assembleStored, storedGroups, tensorPlans } from './stored.js';

/** How a model is saved. */
export interface SaveOptions {
  readonly dtype?: FloatDType;
  readonly maxShardBytes?: number;
  /** Texts for the header of each weight file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes config.json and weights of a model into a folder, one tensor at a time.
 *
 * @param read Gives a logical weight's numbers, row-major; called once per weight, in canonical order.
 * @returns Size and SHA-256 of the weight files, for the manifest.
 */
export function saveModel(
  folder: string,
  config: ModelConfig,
  read: (spec: WeightSpec) => Float32Array,
  { dtype = 'F32', maxShardBytes, metadata = {} }: SaveOptions = {},
): Record<string, WrittenFile> {
  mkdirSync(folder, { recursive: true });
  const family = familyOf(config);
  const groups = storedGroups(family.weights(config));
  const byName = new Map(groups.map((group) => [group.name, group]));
  const shards = planShards(
    tensorPlans(groups, () => dtype),
    maxShardBytes,
  );
  const written: Record<string, WrittenFile> = {};
  for (const { file, tensors } of shards) {
    const writer = new SafetensorsWriter(join(folder, file), tensors, metadata);
    try {
      for (const { name } of tensors) writer.writeFloats(dtype, assembleStored(byName.get(name)!, read));
      written[file] = writer.finish();
    } catch (error) {
      writer.abandon();
      throw error;
    }
  }
  writeIndex(folder, shards);
  writeConfig(folder, { ...family.toHuggingFace(config), torch_dtype: torchDtypeName[dtype] });
  return written;
}
