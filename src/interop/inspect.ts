import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  countParameters,
  type Family,
  familyOf,
  type ModelConfig,
  type ParameterCounts,
} from '../architecture/index.js';
import { InputError } from '../errors.js';
import { readModelConfig } from './huggingface/checkpoint.js';
import { type Manifest, readManifest } from './huggingface/manifest.js';
import { storedGroups } from './huggingface/stored.js';
import { openWeightFiles, type StoredTensor } from './huggingface/weights.js';
import { readJsonObject } from './json.js';
import { SafetensorsFile, type StoredDType } from './safetensors/index.js';

/** What a checkpoint folder or weight file holds, and what is wrong with it. */
export interface Inspection {
  readonly path: string;
  readonly modelType?: string;
  readonly architecture?: string;
  readonly config?: ModelConfig;
  readonly parameters?: ParameterCounts;
  readonly dtypes: Readonly<Partial<Record<StoredDType, { tensors: number; bytes: number }>>>;
  readonly files: readonly {
    file: string;
    tensors: number;
    bytes: number;
    metadata: Readonly<Record<string, string>>;
  }[];
  /** Tokenizer and generation files. */
  readonly otherFiles: readonly string[];
  readonly manifest?: Omit<Manifest, 'files'>;
  /** What strata.json says of the last growth. */
  readonly growth?: unknown;
  readonly checks: InspectionChecks;
  /** No check found anything but extra tensors and equal layers. */
  readonly sound: boolean;
}

/** What was found by comparing the weights with config.json, and by reading them. */
export interface InspectionChecks {
  /** Tensors that config.json asks for and the files do not have. */
  readonly missing: readonly string[];
  /** Tensors that config.json does not ask for. */
  readonly extra: readonly string[];
  readonly misshapen: readonly { name: string; expected: readonly number[]; found: readonly number[] }[];
  /** Left out where weights were not read. */
  readonly nonFinite?: readonly { name: string; count: number }[];
  /** Groups of layers whose weights are equal byte for byte: the marks of stacking. Left out where weights were not read. */
  readonly equalLayers?: readonly (readonly number[])[];
}

/** How far an inspection goes. */
export interface InspectOptions {
  /** Reads every weight: finds non-finite numbers and equal layers. On by default. */
  readonly readWeights?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Looks into a Hugging Face folder or a single safetensors file.
 *
 * @throws InputError where files cannot be read at all; what is merely wrong with the model stands in `checks`.
 */
export function inspectPath(path: string, options: InspectOptions = {}): Inspection {
  if (!existsSync(path)) throw new InputError(`${path}: there is no such file or folder.`);
  return statSync(path).isDirectory() ? inspectFolder(path, options) : inspectFile(path, options);
}

function inspectFile(path: string, options: InspectOptions): Inspection {
  using file = new SafetensorsFile(path);
  const tensors = new Map([...file.header.tensors].map(([name, entry]) => [name, { file, entry }]));
  const content = readContent(tensors, options);
  const checks = { missing: [], extra: [], misshapen: [], ...(content && { nonFinite: content.nonFinite }) };
  return {
    path,
    ...describeFiles([file], tensors),
    otherFiles: [],
    checks,
    sound: !content || content.nonFinite.length === 0,
  };
}

function inspectFolder(folder: string, options: InspectOptions): Inspection {
  const config = readModelConfig(folder);
  const family = familyOf(config);
  using weights = openWeightFiles(folder);
  const content = readContent(weights.tensors, options);
  const checks: InspectionChecks = {
    ...compareWithConfig(family, config, weights.tensors),
    ...(content === undefined
      ? {}
      : { nonFinite: content.nonFinite, equalLayers: equalLayers(family, config, content.hashes) }),
  };
  const { files: _, ...manifest } = readManifest(folder) ?? { files: {} };
  const growthFile = join(folder, 'strata.json');
  const wrong = checks.missing.length + checks.misshapen.length + (checks.nonFinite?.length ?? 0);
  return {
    path: folder,
    modelType: config.model_type,
    architecture: family.architecture,
    config,
    parameters: countParameters(config),
    ...describeFiles(weights.files, weights.tensors),
    otherFiles: readdirSync(folder).filter((name) =>
      /tokenizer|vocab|merges|chat_template|generation_config|special_tokens/.test(name),
    ),
    ...('format' in manifest ? { manifest: manifest as Omit<Manifest, 'files'> } : {}),
    ...(existsSync(growthFile) ? { growth: readJsonObject(growthFile)['growth'] } : {}),
    checks,
    sound: wrong === 0,
  };
}

function describeFiles(
  files: readonly SafetensorsFile[],
  tensors: ReadonlyMap<string, StoredTensor>,
): Pick<Inspection, 'dtypes' | 'files'> {
  const dtypes: Partial<Record<StoredDType, { tensors: number; bytes: number }>> = {};
  for (const { entry } of tensors.values()) {
    const sum = (dtypes[entry.dtype] ??= { tensors: 0, bytes: 0 });
    sum.tensors++;
    sum.bytes += entry.bytes;
  }
  const described = files.map(({ path, header }) => ({
    file: basename(path),
    tensors: header.tensors.size,
    bytes: statSync(path).size,
    metadata: header.metadata,
  }));
  return { dtypes, files: described };
}

function compareWithConfig(
  family: Family,
  config: ModelConfig,
  tensors: ReadonlyMap<string, StoredTensor>,
): Pick<InspectionChecks, 'missing' | 'extra' | 'misshapen'> {
  const groups = storedGroups(family.weights(config));
  const expected = new Set(groups.map(({ name }) => name));
  return {
    missing: groups.filter(({ name }) => !tensors.has(name)).map(({ name }) => name),
    extra: [...tensors.keys()].filter((name) => !expected.has(name)),
    misshapen: groups.flatMap(({ name, shape }) => {
      const found = tensors.get(name)?.entry.shape;
      return found === undefined || String(found) === String(shape) ? [] : [{ name, expected: shape, found }];
    }),
  };
}

const CHUNK_BYTES = 8 << 20;

interface Content {
  readonly hashes: ReadonlyMap<string, string>;
  readonly nonFinite: { name: string; count: number }[];
}

/** Reads every tensor once: its hash, and how many of its numbers are not finite. */
function readContent(
  tensors: ReadonlyMap<string, StoredTensor>,
  { readWeights = true, onProgress }: InspectOptions,
): Content | undefined {
  if (!readWeights) return undefined;
  const total = [...tensors.values()].reduce((sum, { entry }) => sum + entry.bytes, 0);
  const buffer = new Uint8Array(CHUNK_BYTES);
  const hashes = new Map<string, string>();
  const nonFinite: { name: string; count: number }[] = [];
  let done = 0;
  for (const [name, { file, entry }] of tensors) {
    const hash = createHash('sha256');
    let count = 0;
    for (let start = 0; start < entry.bytes; start += CHUNK_BYTES) {
      const part = buffer.subarray(0, Math.min(CHUNK_BYTES, entry.bytes - start));
      file.readInto(part, entry.offset + start, name);
      hash.update(part);
      count += countNonFinite(entry.dtype, part);
      onProgress?.((done += part.length), total);
    }
    hashes.set(name, hash.digest('hex'));
    if (count > 0) nonFinite.push({ name, count });
  }
  return { hashes, nonFinite };
}

/** Numbers whose exponent says infinity or NaN. */
function countNonFinite(dtype: StoredDType, bytes: Uint8Array): number {
  const { buffer, byteOffset, length } = bytes;
  const words = (mask: number): number => count(new Uint32Array(buffer, byteOffset, length / 4), mask);
  const halves = (mask: number): number => count(new Uint16Array(buffer, byteOffset, length / 2), mask);
  switch (dtype) {
    case 'F64':
      return count(
        new Uint32Array(buffer, byteOffset, length / 4).filter((_, i) => i % 2 === 1),
        0x7ff00000,
      );
    case 'F32':
      return words(0x7f800000);
    case 'BF16':
      return halves(0x7f80);
    case 'F16':
      return halves(0x7c00);
    case 'F8_E5M2':
      return count(bytes, 0x7c);
    case 'F8_E4M3':
      return count(bytes, 0x7f);
    default:
      return 0;
  }
}

function count(codes: Uint32Array | Uint16Array | Uint8Array, mask: number): number {
  let found = 0;
  for (let i = 0; i < codes.length; i++) if ((codes[i]! & mask) === mask) found++;
  return found;
}

function equalLayers(family: Family, config: ModelConfig, hashes: ReadonlyMap<string, string>): number[][] {
  const layers = new Map<number, string[]>();
  for (const { name, parts } of storedGroups(family.weights(config))) {
    const layer = parts[0]!.layer;
    if (layer !== undefined) layers.set(layer, [...(layers.get(layer) ?? []), hashes.get(name) ?? name]);
  }
  const byContent = new Map<string, number[]>();
  for (const [layer, content] of layers) {
    const key = content.join();
    byContent.set(key, [...(byContent.get(key) ?? []), layer]);
  }
  return [...byContent.values()].filter((group) => group.length > 1);
}
