import { copyFileSync, constants, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../../files/atomic.js';
import { type StoredDType, storedDtypeBytes, type TensorPlan } from '../safetensors/index.js';
import { INDEX_FILE, SINGLE_FILE } from './weights.js';

/** One weight file of a folder that will be written. */
export interface Shard {
  readonly file: string;
  readonly tensors: readonly TensorPlan[];
}

export const DEFAULT_SHARD_BYTES = 5_000_000_000;

export const storedBytes = (shape: readonly number[], dtype: StoredDType): number =>
  shape.reduce((product, size) => product * size, storedDtypeBytes[dtype]);

/** Distributes tensors over files of at most `maxBytes` (or one tensor), named as Hugging Face names them. */
export function planShards(tensors: readonly TensorPlan[], maxBytes = DEFAULT_SHARD_BYTES): Shard[] {
  const groups: TensorPlan[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const size = storedBytes(tensor.shape, tensor.dtype);
    if (bytes + size > maxBytes && groups.at(-1)!.length > 0) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(tensor);
    bytes += size;
  }
  if (groups.length === 1) return [{ file: SINGLE_FILE, tensors: groups[0]! }];
  const number = (n: number): string => String(n).padStart(5, '0');
  return groups.map((group, i) => ({
    file: `model-${number(i + 1)}-of-${number(groups.length)}.safetensors`,
    tensors: group,
  }));
}

/** Writes the index of a folder with several shards; a single file needs none. */
export function writeIndex(folder: string, shards: readonly Shard[]): void {
  if (shards.length === 1) return;
  const map = shards.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file] as const));
  const total = shards.flatMap(({ tensors }) => tensors).reduce((sum, t) => sum + storedBytes(t.shape, t.dtype), 0);
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(map) };
  writeFileAtomic(join(folder, INDEX_FILE), `${JSON.stringify(index, null, 2)}\n`);
}

/** Files that belong to the old weights, or that Strata writes anew. */
const replaced =
  /^(config\.json|README\.md|manifest\.json|strata\.json|trainer.*|optimizer.*|scheduler.*|training_args.*|\..*)$|\.(safetensors|bin|pth?|ckpt|h5|msgpack|onnx|gguf|partial)$|\.index\.json$/;

/**
 * Copies what else belongs to a model: tokenizer, chat template, generation config, licence.
 *
 * @returns The names of the files copied.
 */
export function copyExtraFiles(from: string, to: string): string[] {
  const names = readdirSync(from, { withFileTypes: true })
    .filter((entry) => (entry.isFile() || entry.isSymbolicLink()) && !replaced.test(entry.name))
    .map((entry) => entry.name);
  for (const name of names) copyFileSync(join(from, name), join(to, name), constants.COPYFILE_FICLONE);
  return names;
}

/** Fields that transformers 5 takes as real numbers only: there 30 is an error where 30.0 is none. */
const realField =
  /("\w*(?:_eps|_epsilon|_softcapping|_range|_theta|_multiplier|_dropout|_pdrop|_pct)": -?\d+)(?=,?$)/gm;

/** Writes config.json, with the type of the weights under the name that transformers reads. */
export function writeConfig(folder: string, config: Record<string, unknown>): void {
  const text = JSON.stringify(config, null, 2).replace(realField, '$1.0');
  writeFileAtomic(join(folder, 'config.json'), `${text}\n`);
}
