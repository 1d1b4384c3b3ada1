import { basename, resolve } from 'node:path';
import type { ModelConfig } from '../../architecture/index.js';
import { writeAtomically } from '../atomic-file.js';
import type { Checkpoint } from '../huggingface/checkpoint.js';
import { encodeGgml } from './encode.js';
import { type GgmlType, writeGguf } from './format.js';
import { modelMetadata } from './metadata.js';
import { ggufTensors, ggufValues, type GgufSource } from './tensors.js';
import { tokenizerMetadata } from './tokenizer.js';

/** What an export wrote. */
export interface GgufResult {
  readonly path: string;
  readonly bytes: number;
  readonly tensors: number;
  /** Whether the file can tokenize text. */
  readonly hasTokenizer: boolean;
}

/**
 * Writes a checkpoint as a GGUF file for llama.cpp, one tensor at a time.
 *
 * Names, metadata and layouts are those of llama.cpp's own converter: rows of Llama's q and k in pairs of neighbours, Gemma's gains with their 1.
 *
 * @throws InputError where llama.cpp has no such architecture.
 */
export function exportGguf(
  checkpoint: Checkpoint,
  path: string,
  { type, name = basename(resolve(checkpoint.folder)) }: { type: GgmlType; name?: string },
): GgufResult {
  const { config } = checkpoint;
  const scaling = ropeFactors(config);
  const tensors: GgufSource[] = [...ggufTensors(config, type), ...(scaling === undefined ? [] : [ropeTensor(scaling)])];
  const tokenizer = tokenizerMetadata(checkpoint.folder, config.vocab_size);
  const metadata = new Map([...modelMetadata(config, name, type), ...tokenizer]);
  const bytes = writeAtomically(path, (file) => {
    writeGguf(file, metadata, tensors, (tensor) => {
      const source = tensor as GgufSource;
      if (source.parts.length === 0) return encodeGgml('F32', scaling!);
      const values = ggufValues(source, config, (spec) => checkpoint.read(spec.name));
      checkpoint.release();
      return encodeGgml(source.type, values);
    });
  });
  return { path, bytes, tensors: tensors.length, hasTokenizer: tokenizer.size > 0 };
}

const ropeTensor = (factors: Float32Array): GgufSource => ({
  name: 'rope_freqs.weight',
  shape: [factors.length],
  type: 'F32',
  parts: [],
});

/** What Llama 3's scaling divides each frequency by; undefined where there is no such scaling. Source: Meta's Llama 3.1 code. */
function ropeFactors(config: ModelConfig): Float32Array | undefined {
  const scaling = config['rope_scaling'] as {
    rope_type: string;
    factor: number;
    low_freq_factor: number;
    high_freq_factor: number;
    original_max_position_embeddings: number;
  } | null;
  if (scaling?.rope_type !== 'llama3') return undefined;
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original } = scaling;
  const { head_dim, rope_theta } = config as ModelConfig & { rope_theta: number };
  return Float32Array.from({ length: head_dim / 2 }, (_, j) => {
    const wavelength = 2 * Math.PI * rope_theta ** ((2 * j) / head_dim);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
