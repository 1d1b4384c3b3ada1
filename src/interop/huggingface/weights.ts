import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InputError } from '../../errors.js';
import { readJsonObject } from '../json.js';
import { SafetensorsFile, type TensorEntry } from '../safetensors/index.js';

/** Where a stored tensor lies. */
export interface StoredTensor {
  readonly file: SafetensorsFile;
  readonly entry: TensorEntry;
}

/** The open weight files of a Hugging Face folder. */
export interface WeightFiles extends Disposable {
  readonly files: readonly SafetensorsFile[];
  /** By stored name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

export const INDEX_FILE = 'model.safetensors.index.json';
export const SINGLE_FILE = 'model.safetensors';

/**
 * Opens the weights of a Hugging Face folder: one file, or shards with an index.
 *
 * @throws InputError for pickles, an index that leaves the folder, missing shards or tensors.
 */
export function openWeightFiles(folder: string): WeightFiles {
  const indexed = readIndex(folder);
  const names = indexed === undefined ? [SINGLE_FILE] : [...new Set(indexed.values())];
  if (indexed === undefined && !existsSync(join(folder, SINGLE_FILE))) throw new InputError(explainMissing(folder));
  const files: SafetensorsFile[] = [];
  try {
    for (const name of names) files.push(new SafetensorsFile(join(folder, name)));
    return {
      files,
      tensors: collect(folder, files, indexed),
      [Symbol.dispose]: () => files.forEach((file) => file.close()),
    };
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

function collect(
  folder: string,
  files: readonly SafetensorsFile[],
  index: ReadonlyMap<string, string> | undefined,
): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const file of files) {
    for (const entry of file.header.tensors.values()) {
      const shard = index?.get(entry.name);
      if (index !== undefined && shard !== basename(file.path)) continue;
      tensors.set(entry.name, { file, entry });
    }
  }
  for (const [name, shard] of index ?? [])
    if (!tensors.has(name))
      throw new InputError(`${join(folder, INDEX_FILE)}: tensor "${name}" is not in ${shard}, where the index has it.`);
  return tensors;
}

function readIndex(folder: string): Map<string, string> | undefined {
  const path = join(folder, INDEX_FILE);
  if (!existsSync(path)) return undefined;
  const { weight_map: map } = readJsonObject(path);
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new InputError(`${path}: field "weight_map" must map tensor names to files.`);
  const index = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(file))
      throw new InputError(
        `${path}: tensor "${name}" must lie in a .safetensors file of this folder, found ${JSON.stringify(file)}.`,
      );
    index.set(name, file);
  }
  return index;
}

function explainMissing(folder: string): string {
  const pickle = existsSync(folder)
    ? readdirSync(folder).find((name) => /^(pytorch_model.*\.bin|.*\.pth?|.*\.ckpt)$/.test(name))
    : undefined;
  if (pickle === undefined) return `${folder}: there is no ${SINGLE_FILE} and no ${INDEX_FILE}.`;
  return (
    `${folder}: "${pickle}" is a PyTorch pickle, which can run code and is not opened; convert it with ` +
    `python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('${folder}').save_pretrained('NEW')".`
  );
}
