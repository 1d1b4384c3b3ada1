import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cite, InputError } from '../../errors.js';
import type { StoredContent } from '../content.js';
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
  if (indexed === undefined && !existsSync(join(folder, SINGLE_FILE))) throw missingWeights(folder);
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
      throw new InputError(
        `${join(folder, INDEX_FILE)}: tensor ${cite(name)} is not in ${shard}, where the index has it.`,
      );
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
        `${path}: tensor ${cite(name)} must lie in a .safetensors file of this folder, found ${cite(file)}.`,
      );
    index.set(name, file);
  }
  return index;
}

/** The same files with a prefix put before all names, where none has it: checkpoints of a bare model, as the hub's GPT-2. */
export function withStoredPrefix(files: WeightFiles, prefix: string | undefined): WeightFiles {
  const names = [...files.tensors.keys()];
  if (prefix === undefined || names.length === 0 || names.some((name) => name.startsWith(prefix))) return files;
  const tensors = new Map([...files.tensors].map(([name, tensor]) => [prefix + name, tensor]));
  return { ...files, tensors };
}

/** A tensor of a safetensors file, as inspections read it. */
export const contentOf = (name: string, file: SafetensorsFile, entry: TensorEntry): StoredContent => ({
  name,
  dtype: entry.dtype,
  bytes: entry.bytes,
  readInto: (out, start) => file.readInto(out, entry.offset + start, name),
});

/** The error for a PyTorch file, with a way to convert its model. */
export const refusePickle = (path: string): InputError =>
  new InputError(
    `${path}: this is a PyTorch pickle, which can run code and is not opened; convert it with ` +
      `python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('${dirname(path)}').save_pretrained('NEW')".`,
  );

function missingWeights(folder: string): InputError {
  const pickle = existsSync(folder)
    ? readdirSync(folder).find((name) => /^(pytorch_model.*\.bin|.*\.pth?|.*\.ckpt)$/.test(name))
    : undefined;
  return pickle === undefined
    ? new InputError(`${folder}: there is no ${SINGLE_FILE} and no ${INDEX_FILE}.`)
    : refusePickle(join(folder, pickle));
}
