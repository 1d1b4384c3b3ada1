import { closeSync, fstatSync, rmSync } from 'node:fs';
import { type ModelConfig, weightSize } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { publishFolder } from '../../files/atomic.js';
import { splitPairs } from '../gguf/tensors.js';
import { openToRead, readFully } from '../open.js';
import { saveModel, type SaveOptions } from '../huggingface/save.js';
import { configOf, fileBytes, HEADER_BYTES, sectionsOf } from './layout.js';

/** Where a weight lies, and whether its rows lie in pairs of neighbours. */
interface Place {
  readonly offset: number;
  readonly isPaired: boolean;
}

/**
 * Writes a llama2.c file (version 0, float32) as a Hugging Face folder, one tensor at a time; the tokenizer is not part of such a file.
 *
 * @throws InputError where the file is none.
 */
export function importLlama2c(path: string, folder: string, options: SaveOptions = {}): ModelConfig {
  const descriptor = openToRead(path);
  try {
    const config = readLlama2cHeader(descriptor, path);
    const places = placesOf(config);
    const temporary = `${folder}.partial`;
    rmSync(temporary, { recursive: true, force: true });
    saveModel(
      temporary,
      config,
      (spec) => {
        const { offset, isPaired } = places.get(spec.name)!;
        const values = new Float32Array(weightSize(spec));
        readFully(descriptor, new Uint8Array(values.buffer), offset, path);
        return isPaired ? splitPairs(values, config.head_dim, config.hidden_size) : values;
      },
      options,
    );
    publishFolder(temporary, folder);
    return config;
  } finally {
    closeSync(descriptor);
  }
}

/**
 * The config of an open llama2.c file.
 *
 * @throws InputError where its header is no model's, or does not fit the length of the file.
 */
export function readLlama2cHeader(descriptor: number, path: string): ModelConfig {
  const { size } = fstatSync(descriptor);
  const header = new Int32Array(HEADER_BYTES / 4);
  if (size < HEADER_BYTES) throw new InputError(`${path}: too short for a llama2.c file (${size} bytes).`);
  readFully(descriptor, new Uint8Array(header.buffer), 0, path);
  const config = configOf(header, `${path}: header`);
  const expected = fileBytes(config);
  if (size !== expected)
    throw new InputError(`${path}: a llama2.c file (version 0) with this header has ${expected} bytes, found ${size}.`);
  return config;
}

/** Where each weight lies in the file. */
export function placesOf(config: ModelConfig): Map<string, Place> {
  const places = new Map<string, Place>();
  let offset = HEADER_BYTES;
  for (const section of sectionsOf(config)) {
    if (section.kind === 'unused') {
      offset += 4 * section.elements;
      continue;
    }
    for (const spec of section.specs) {
      places.set(spec.name, { offset, isPaired: section.isPaired });
      offset += 4 * weightSize(spec);
    }
  }
  return places;
}
