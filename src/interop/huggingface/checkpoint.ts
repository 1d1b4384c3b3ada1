import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Family, ModelConfig, WeightSpec } from '../../architecture/index.js';
import { families, familyOf, suggestion } from '../../architecture/index.js';
import { cite, InputError } from '../../errors.js';
import { readJsonObject } from '../json.js';
import type { StoredDType } from '../safetensors/index.js';
import { ARCHITECTURE_FILES, readArchitectureFile } from './architecture-file.js';
import { LogicalReader } from './logical.js';
import { type Manifest, readManifest } from './manifest.js';
import { openWeightFiles, type StoredTensor, type WeightFiles, withStoredPrefix } from './weights.js';

type Floats = Float32Array | Float64Array;

/**
 * The model config of a Hugging Face folder; its weights need not be there.
 *
 * @throws InputError naming the file and the field.
 */
export function readModelConfig(folder: string): ModelConfig {
  const path = join(folder, 'config.json');
  const json = readJsonObject(path);
  if (typeof json['model_type'] !== 'string')
    throw new InputError(`${path}: field "model_type" must be a text, found ${cite(json['model_type'])}.`);
  return knownFamily(json['model_type'], folder, path).fromHuggingFace(json, path);
}

/** The family of a model_type: Strata's own, or what a file in the folder describes. */
function knownFamily(modelType: string, folder: string, path: string): Family {
  if (ownFamilies.has(modelType)) return familyOf(modelType);
  const described = readArchitectureFile(folder);
  if (described?.modelType === modelType) return described;
  if (families.has(modelType)) return familyOf(modelType);
  throw new InputError(
    `${path}: unknown model_type ${cite(modelType)}${suggestion(modelType, ownFamilies)}; Strata knows ${[...ownFamilies].join(', ')}. ` +
      `A file ${ARCHITECTURE_FILES[0]} beside it can describe the weights, so that copying operators work.`,
  );
}

const ownFamilies: ReadonlySet<string> = new Set(families.keys());

/** An open checkpoint: a Hugging Face folder whose weights are read one at a time. */
export class Checkpoint implements Disposable {
  readonly folder: string;
  readonly config: ModelConfig;
  readonly family: Family;
  /** The logical weights in canonical order, tied ones included. */
  readonly weights: readonly WeightSpec[];
  readonly manifest: Manifest | undefined;
  readonly #files: WeightFiles;
  readonly #byName: ReadonlyMap<string, WeightSpec>;
  readonly #reader: LogicalReader;

  /** @throws InputError naming file and tensor where the folder is no sound checkpoint. */
  constructor(folder: string) {
    this.folder = folder;
    this.config = readModelConfig(folder);
    this.family = familyOf(this.config);
    this.weights = this.family.weights(this.config);
    this.#byName = new Map(this.weights.map((spec) => [spec.name, spec]));
    this.manifest = readManifest(folder);
    this.#files = withStoredPrefix(openWeightFiles(folder), this.family.storedPrefix);
    try {
      this.#checkShapes();
    } catch (error) {
      this.#files[Symbol.dispose]();
      throw error;
    }
    this.#reader = new LogicalReader(this.#files);
  }

  /** Every stored tensor by its stored name, those that the family does not know included. */
  get tensors(): ReadonlyMap<string, StoredTensor> {
    return this.#files.tensors;
  }

  /** @throws InputError where the model has no such weight. */
  spec(name: string): WeightSpec {
    const spec = this.#byName.get(name);
    if (spec === undefined) throw new InputError(`${this.folder}: a model of this config has no weight "${name}".`);
    return spec.tiedTo === undefined ? spec : this.spec(spec.tiedTo);
  }

  /** The type in which a weight is stored. */
  dtype(name: string): StoredDType {
    return this.stored(name).entry.dtype;
  }

  /** Where the tensor that holds a weight is stored. */
  stored(name: string): StoredTensor {
    return this.#files.tensors.get(this.spec(name).stored.name)!;
  }

  /** The shape of a logical weight: [out, in], [vocab, hidden] or [size]. */
  shape(name: string): readonly number[] {
    return this.spec(name).axes.map((axis) => axis.size);
  }

  /** A whole weight as float32, tied ones resolved. */
  read(name: string): Float32Array {
    const spec = this.spec(name);
    const out = new Float32Array(spec.axes.reduce((product, axis) => product * axis.size, 1));
    this.readRows(name, 0, out);
    return out;
  }

  /** Rows start, start + 1, ... of a weight, as many as fit into `out`; vectors have rows of one element. */
  readRows(name: string, start: number, out: Floats): void {
    this.#reader.readRows(this.spec(name), start, out);
  }

  /** Forgets what was held of the tensors read so far. */
  release(): void {
    this.#reader.release();
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }

  #checkShapes(): void {
    const { ignoredTensor } = this.family;
    const known = new Set(this.weights.map(({ stored }) => stored.name));
    const extra =
      ignoredTensor && [...this.#files.tensors.keys()].find((name) => !known.has(name) && !ignoredTensor(name));
    if (extra !== undefined)
      throw new InputError(
        `${this.folder}: tensor ${cite(extra)} is not described in ${ARCHITECTURE_FILES[0]}; describe it or name it under "ignore".`,
      );
    for (const { stored, tiedTo } of this.weights) {
      if (tiedTo !== undefined) continue;
      const found = this.#files.tensors.get(stored.name);
      if (found === undefined)
        throw new InputError(`${this.folder}: tensor "${stored.name}" is missing, which its config.json asks for.`);
      const { shape } = found.entry;
      if (shape.length !== stored.shape.length || shape.some((size, i) => size !== stored.shape[i]))
        throw new InputError(
          `${found.file.path}: tensor "${stored.name}" must have shape [${stored.shape}] by config.json, found [${shape}].`,
        );
    }
  }
}

/**
 * Finds the folder that a checkpoint's name means: a Hugging Face folder, a run folder (its last checkpoint), or `RUN@step`.
 *
 * @throws InputError where there is none.
 */
export function resolveCheckpoint(reference: string): string {
  if (existsSync(join(reference, 'config.json'))) return reference;
  if (isFolder(reference)) return lastCheckpoint(reference);
  const at = /^(.+)@(\d+)$/.exec(reference);
  if (at !== null && isFolder(at[1]!)) {
    const folder = join(at[1]!, 'checkpoints', at[2]!);
    if (existsSync(join(folder, 'manifest.json'))) return folder;
    const steps = checkpointSteps(at[1]!);
    throw new InputError(
      `${at[1]}: there is no checkpoint of step ${at[2]}; ` +
        (steps.length === 0 ? 'the run has none.' : `there are ${steps.join(', ')}.`),
    );
  }
  throw new InputError(`${reference}: there is no such checkpoint (a Hugging Face folder, a run folder or RUN@step).`);
}

/** Steps of a run's whole checkpoints, ascending: only a folder with a manifest is one. */
export function checkpointSteps(run: string): number[] {
  const folder = join(run, 'checkpoints');
  if (!isFolder(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name) && existsSync(join(folder, name, 'manifest.json')))
    .map(Number)
    .sort((a, b) => a - b);
}

function lastCheckpoint(run: string): string {
  const step = checkpointSteps(run).at(-1);
  if (step === undefined)
    throw new InputError(`${run}: neither a Hugging Face folder (no config.json) nor a run with a checkpoint.`);
  return join(run, 'checkpoints', String(step));
}

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

/** Opens a checkpoint by reference; see `resolveCheckpoint`. Close it with `using` or `Symbol.dispose`. */
export const openCheckpoint = (reference: string): Checkpoint => new Checkpoint(resolveCheckpoint(reference));
