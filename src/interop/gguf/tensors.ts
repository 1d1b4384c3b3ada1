import type { ModelConfig, WeightRole, WeightSpec } from '../../architecture/index.js';
import { familyOf } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { type GgmlType, ggmlTypes, type GgufTensor } from './format.js';

/** llama.cpp's name of each family's architecture. */
const architectures: Readonly<Record<string, string>> = {
  llama: 'llama',
  // llama.cpp runs Mistral as a Llama, without its window.
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  gpt_neox: 'gptneox',
  gpt2: 'gpt2',
  olmo2: 'olmo2',
  gemma2: 'gemma2',
};

/** @throws InputError where GGUF has no name for the family. */
export function ggufArchitecture({ model_type }: ModelConfig): string {
  const name = architectures[model_type];
  if (name === undefined)
    throw new InputError(
      `A ${model_type} cannot be exported to GGUF; these families can: ${Object.keys(architectures).join(', ')}.`,
    );
  return name;
}

/** Names of tensors by role, after llama.cpp's gguf-py/gguf/constants.py; those of a layer stand behind `blk.N.`. */
const names: Readonly<Partial<Record<WeightRole, string>>> = {
  embedding: 'token_embd',
  positionEmbedding: 'position_embd',
  finalNorm: 'output_norm',
  head: 'output',
  attentionNorm: 'attn_norm',
  query: 'attn_q',
  key: 'attn_k',
  value: 'attn_v',
  queryNorm: 'attn_q_norm',
  keyNorm: 'attn_k_norm',
  attentionOutput: 'attn_output',
  postAttentionNorm: 'post_attention_norm',
  ffnNorm: 'ffn_norm',
  gate: 'ffn_gate',
  up: 'ffn_up',
  down: 'ffn_down',
  postFfnNorm: 'post_ffw_norm',
};

/** A tensor of the file and the weights that it holds, one below the other. */
export interface GgufSource extends GgufTensor {
  readonly parts: readonly WeightSpec[];
}

const fusedFamilies = new Set(['gpt2', 'gpt_neox']);
const fusedRoles: ReadonlySet<WeightRole> = new Set(['query', 'key', 'value']);

/**
 * The tensors of a model for llama.cpp.
 *
 * Vectors stay F32; matrices whose rows do not fill Q8_0's blocks become F16, as llama.cpp's converter has it.
 */
export function ggufTensors(config: ModelConfig, type: GgmlType): GgufSource[] {
  ggufArchitecture(config);
  const fuses = fusedFamilies.has(config.model_type);
  const groups = new Map<string, WeightSpec[]>();
  for (const spec of familyOf(config).weights(config)) {
    // A tied head is not stored: llama.cpp takes the embedding. Only its GPT-NeoX insists on one.
    if (spec.tiedTo !== undefined && config.model_type !== 'gpt_neox') continue;
    const role = fuses && fusedRoles.has(spec.role) ? 'attn_qkv' : names[spec.role];
    if (role === undefined) throw new InputError(`GGUF has no name for weight "${spec.name}".`);
    const name = `${spec.layer === undefined ? '' : `blk.${spec.layer}.`}${role}.${spec.kind}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [spec]);
    else group.push(spec);
  }
  return [...groups].map(([name, parts]) => {
    const rows = parts.reduce((sum, { axes }) => sum + axes[0]!.size, 0);
    const shape = [rows, ...parts[0]!.axes.slice(1).map(({ size }) => size)];
    return { name, shape, parts, type: storedType(shape, type) };
  });
}

function storedType(shape: readonly number[], type: GgmlType): GgmlType {
  if (shape.length === 1) return 'F32';
  return shape.at(-1)! % ggmlTypes[type].blockElements === 0 ? type : 'F16';
}

/** A tensor's numbers as llama.cpp wants them. */
export function ggufValues(
  { parts, shape }: GgufSource,
  config: ModelConfig,
  read: (spec: WeightSpec) => Float32Array,
): Float32Array {
  const values = parts.map((spec) => adapt(spec, config, read(spec)));
  if (values.length === 1) return values[0]!;
  const out = new Float32Array(shape.reduce((product, size) => product * size, 1));
  let at = 0;
  for (const part of values) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function adapt(spec: WeightSpec, config: ModelConfig, values: Float32Array): Float32Array {
  const isPaired = ggufArchitecture(config) === 'llama' && (spec.role === 'query' || spec.role === 'key');
  if (isPaired) return interleavePairs(values, config.head_dim, spec.axes[1]?.size ?? 1);
  const offset = familyOf(config).normGainOffset ?? 0;
  const isGain = spec.axes.length === 1 && spec.kind === 'weight';
  return offset !== 0 && isGain ? values.map((gain) => gain + offset) : values;
}

/** Rows of each head from pairs (j, j + half) to pairs (2 j, 2 j + 1): llama.cpp's Llama and llama2.c rotate neighbours. */
export const interleavePairs = (values: Float32Array, headDim: number, columns: number): Float32Array =>
  movePairs(values, headDim, columns, (half, j, part) => [part * half + j, 2 * j + part]);

/** The way back: rows of pairs (2 j, 2 j + 1) to pairs (j, j + half), as Hugging Face has them. */
export const splitPairs = (values: Float32Array, headDim: number, columns: number): Float32Array =>
  movePairs(values, headDim, columns, (half, j, part) => [2 * j + part, part * half + j]);

function movePairs(
  values: Float32Array,
  headDim: number,
  columns: number,
  rows: (half: number, j: number, part: number) => readonly [from: number, to: number],
): Float32Array {
  const out = new Float32Array(values.length);
  const half = headDim / 2;
  for (let head = 0; head < values.length; head += headDim * columns)
    for (let j = 0; j < half; j++)
      for (const part of [0, 1]) {
        const [from, to] = rows(half, j, part);
        const start = head + from * columns;
        out.set(values.subarray(start, start + columns), head + to * columns);
      }
  return out;
}
