import type { Family, ModelConfig, ParameterCounts } from '../architecture/index.js';
import type { StoredContent } from './content.js';
import type { Manifest } from './huggingface/manifest.js';
import { storedGroups } from './huggingface/stored.js';

/** How many tensors and bytes there are of each type. */
export type TypeCounts = Readonly<Record<string, { readonly tensors: number; readonly bytes: number }>>;

/** What a checkpoint folder or weight file holds, and what is wrong with it. */
export interface Inspection {
  readonly path: string;
  readonly modelType?: string;
  readonly architecture?: string;
  readonly config?: ModelConfig;
  readonly parameters?: ParameterCounts;
  /** By safetensors' or GGML's name of the type. */
  readonly dtypes: TypeCounts;
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

/** How many tensors and bytes there are of each type. */
export function countTypes(tensors: readonly Pick<StoredContent, 'dtype' | 'bytes'>[]): TypeCounts {
  const counts: Record<string, { tensors: number; bytes: number }> = {};
  for (const { dtype, bytes } of tensors) {
    const sum = (counts[dtype] ??= { tensors: 0, bytes: 0 });
    sum.tensors++;
    sum.bytes += bytes;
  }
  return counts;
}

/** Groups of layers that hold the same bytes, by the hashes of the stored tensors. */
export function equalLayers(family: Family, config: ModelConfig, hashes: ReadonlyMap<string, string>): number[][] {
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
