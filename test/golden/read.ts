import { readFileSync } from 'node:fs';

/** A tensor as it stands in a golden file, row-major. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** What `golden.json` holds; README.md beside this file says how it was made. */
export interface LlamaGoldenFigures {
  /** Mean cross-entropy in nats of the first batch before any training. */
  readonly loss: number;
  /** Per training step: loss before the update, gradient norm before clipping, learning rate. */
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  readonly learningRates: readonly number[];
  readonly optimizer: {
    readonly peakLearningRate: number;
    readonly floor: number;
    readonly warmupSteps: number;
    readonly betas: readonly [number, number];
    readonly epsilon: number;
    readonly weightDecay: number;
    readonly clipNorm: number;
  };
}

/** A tiny Llama of transformers: config, weights and what it computes. */
export interface LlamaGolden extends LlamaGoldenFigures {
  /** The Hugging Face folder with config.json and model.safetensors. */
  readonly folder: string;
  readonly config: Record<string, unknown>;
  /** By Hugging Face name; a tied head is not stored. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
  /** Gradients of `loss`, by the same names. */
  readonly gradients: ReadonlyMap<string, StoredTensor>;
  /** [sequences, positions, vocabulary] for the first batch. */
  readonly logits: StoredTensor;
  /** Token ids [steps, sequences, positions + 1]: inputs are all but the last, targets all but the first. */
  readonly batches: StoredTensor;
}

export const LLAMA_VARIANTS = ['untied', 'tied', 'bias'] as const;
export type LlamaVariant = (typeof LLAMA_VARIANTS)[number];

/** Reads the reference values of one variant. */
export function readLlamaGolden(variant: LlamaVariant): LlamaGolden {
  const folder = new URL(`./llama/${variant}/`, import.meta.url).pathname;
  const golden = readStoredTensors(`${folder}golden.safetensors`);
  const gradients = [...golden].filter(([name]) => name.startsWith('grad.'));
  return {
    ...(JSON.parse(readFileSync(`${folder}golden.json`, 'utf8')) as LlamaGoldenFigures),
    folder,
    config: JSON.parse(readFileSync(`${folder}config.json`, 'utf8')) as Record<string, unknown>,
    weights: readStoredTensors(`${folder}model.safetensors`),
    gradients: new Map(gradients.map(([name, tensor]) => [name.slice('grad.'.length), tensor])),
    logits: required(golden, 'logits'),
    batches: required(golden, 'batches'),
  };
}

export const FAMILY_VARIANTS = [
  'gpt2',
  'gpt2-inverse',
  'qwen2',
  'qwen2-window',
  'qwen3',
  'qwen3-bias',
  'mistral',
  'mistral-full',
  'gpt_neox',
  'gpt_neox-sequential',
  'olmo2',
  'olmo2-bias',
  'gemma2',
  'gemma2-plain',
] as const;
export type FamilyVariant = (typeof FAMILY_VARIANTS)[number];

/** A tiny model of transformers: weights and what it computes. */
export interface FamilyGolden {
  /** The Hugging Face folder with config.json and model.safetensors. */
  readonly folder: string;
  /** Mean cross-entropy in nats of the tokens. */
  readonly loss: number;
  /** The most probable continuation of the first 7 tokens of the first sequence. */
  readonly greedy: readonly number[];
  /** By stored name. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
  /** Gradients of `loss`, by the same names. */
  readonly gradients: ReadonlyMap<string, StoredTensor>;
  /** [sequences, positions, vocabulary]. */
  readonly logits: StoredTensor;
  /** Token ids [sequences, positions + 1]. */
  readonly tokens: StoredTensor;
}

/** Reads the reference values of one model, written by families_golden.py. */
export function readFamilyGolden(variant: FamilyVariant): FamilyGolden {
  const folder = new URL(`./families/${variant}/`, import.meta.url).pathname;
  const golden = readStoredTensors(`${folder}golden.safetensors`);
  const gradients = [...golden].filter(([name]) => name.startsWith('grad.'));
  return {
    ...(JSON.parse(readFileSync(`${folder}golden.json`, 'utf8')) as Pick<FamilyGolden, 'loss' | 'greedy'>),
    folder,
    weights: readStoredTensors(`${folder}model.safetensors`),
    gradients: new Map(gradients.map(([name, tensor]) => [name.slice('grad.'.length), tensor])),
    logits: required(golden, 'logits'),
    tokens: required(golden, 'tokens'),
  };
}

/** Reads a small trusted safetensors file of F32 and I32 tensors, on its own so that it cannot share a bug with src/. */
export function readStoredTensors(path: string): Map<string, StoredTensor> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<string, SafetensorsEntry>;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return new Map(entries.map(([name, entry]) => [name, readEntry(file, start, entry)]));
}

interface SafetensorsEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

function readEntry(file: Buffer, start: number, { dtype, shape, data_offsets: [from, to] }: SafetensorsEntry) {
  const bytes = new Uint8Array(file.subarray(start + from, start + to)).buffer;
  if (dtype === 'F32') return { shape, data: new Float32Array(bytes) };
  if (dtype === 'I32') return { shape, data: new Int32Array(bytes) };
  throw new Error(`a golden tensor has dtype ${dtype}, expected F32 or I32`);
}

function required(tensors: ReadonlyMap<string, StoredTensor>, name: string): StoredTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`a golden file lacks ${name}`);
  return tensor;
}
