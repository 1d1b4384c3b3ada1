import { closeSync, readSync, statSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { countParameters, familyOf, weightSize } from '../architecture/index.js';
import { type Content, readContent, type StoredContent } from './content.js';
import { type GgufHeader, readGgufHeader } from './gguf/reader.js';
import { contentOf, refusePickle } from './huggingface/weights.js';
import { countTypes, equalLayers, type Inspection, type InspectOptions } from './inspection.js';
import { placesOf, readLlama2cHeader } from './llama2c/import.js';
import { openToRead, readFully } from './open.js';
import { SafetensorsFile } from './safetensors/index.js';

/** Formats of single files that hold weights. */
export type WeightFileFormat = 'safetensors' | 'gguf' | 'llama2c' | 'pickle';

const pickleExtensions = new Set(['.bin', '.pt', '.pth', '.ckpt', '.pkl']);

/**
 * The format of a weight file, by its name and first bytes; `safetensors` where nothing speaks for another.
 *
 * @throws InputError where there is no such file.
 */
export function weightFileFormat(path: string): WeightFileFormat {
  const start = Buffer.alloc(4);
  const descriptor = openToRead(path);
  try {
    readSync(descriptor, start, 0, start.length, 0);
  } finally {
    closeSync(descriptor);
  }
  if (start.toString('latin1') === 'GGUF' || extname(path) === '.gguf') return 'gguf';
  if (!pickleExtensions.has(extname(path))) return 'safetensors';
  // PyTorch's files: a zip archive, or a bare pickle of protocol 2 to 5.
  const isPickle = start.toString('latin1', 0, 2) === 'PK' || (start[0] === 0x80 && start[1]! >= 2 && start[1]! <= 5);
  return isPickle || extname(path) !== '.bin' ? 'pickle' : 'llama2c';
}

/** Looks into a single weight file. */
export function inspectFile(path: string, options: InspectOptions): Inspection {
  switch (weightFileFormat(path)) {
    case 'gguf':
      return inspectGguf(path, options);
    case 'llama2c':
      return inspectLlama2c(path, options);
    case 'pickle':
      throw refusePickle(path);
    default:
      return inspectSafetensors(path, options);
  }
}

function inspectSafetensors(path: string, options: InspectOptions): Inspection {
  using file = new SafetensorsFile(path);
  const tensors = [...file.header.tensors.values()].map((entry) => contentOf(entry.name, file, entry));
  return describe(path, tensors, file.header.metadata, readUnlessHeaders(tensors, options), {});
}

function inspectGguf(path: string, options: InspectOptions): Inspection {
  const header = readGgufHeader(path);
  const descriptor = openToRead(path);
  try {
    const tensors = [...header.tensors.values()].map(
      (entry): StoredContent => ({
        name: entry.name,
        dtype: entry.type,
        bytes: entry.bytes,
        readInto: (out, start) => readFully(descriptor, out, entry.offset + start, path),
      }),
    );
    const architecture = header.metadata.get('general.architecture');
    const model = typeof architecture === 'string' ? { architecture: `GGUF ${architecture}` } : {};
    return describe(path, tensors, metadataOf(header), readUnlessHeaders(tensors, options), model);
  } finally {
    closeSync(descriptor);
  }
}

/** The metadata as texts; of arrays the length. */
const metadataOf = ({ metadata }: GgufHeader): Record<string, string> =>
  Object.fromEntries(
    [...metadata].map(([key, value]) => [key, typeof value === 'object' ? `[${value.length} items]` : String(value)]),
  );

function inspectLlama2c(path: string, options: InspectOptions): Inspection {
  const descriptor = openToRead(path);
  try {
    const config = readLlama2cHeader(descriptor, path);
    const family = familyOf(config);
    const places = placesOf(config);
    const tensors = family.weights(config).flatMap((spec): StoredContent[] => {
      const place = places.get(spec.name);
      if (place === undefined) return [];
      const readInto = (out: Uint8Array, start: number): void => readFully(descriptor, out, place.offset + start, path);
      return [{ name: spec.name, dtype: 'F32', bytes: 4 * weightSize(spec), readInto }];
    });
    const content = readUnlessHeaders(tensors, options);
    return describe(path, tensors, {}, content, {
      modelType: config.model_type,
      architecture: 'llama2.c (version 0)',
      config,
      parameters: countParameters(config),
      ...(content && { equalLayers: equalLayers(family, config, content.hashes) }),
    });
  } finally {
    closeSync(descriptor);
  }
}

const readUnlessHeaders = (tensors: readonly StoredContent[], options: InspectOptions): Content | undefined =>
  options.readWeights === false ? undefined : readContent(tensors, options.onProgress);

function describe(
  path: string,
  tensors: readonly StoredContent[],
  metadata: Readonly<Record<string, string>>,
  content: Content | undefined,
  {
    equalLayers: equal,
    ...model
  }: Pick<Inspection, 'modelType' | 'architecture' | 'config' | 'parameters'> & { equalLayers?: number[][] },
): Inspection {
  const bytes = statSync(path).size;
  return {
    path,
    ...model,
    dtypes: countTypes(tensors),
    files: [{ file: basename(path), tensors: tensors.length, bytes, metadata }],
    otherFiles: [],
    checks: {
      missing: [],
      extra: [],
      misshapen: [],
      ...(content && { nonFinite: content.nonFinite }),
      ...(equal && { equalLayers: equal }),
    },
    sound: content === undefined || content.nonFinite.length === 0,
  };
}
