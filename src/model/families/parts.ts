// Axes: N = batch * length, D = hidden, W = packed q, k and v columns, F = ffn.
import type { LlamaConfig, ModelConfig, WeightRole } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import {
  affine,
  attention,
  layerNorm,
  linear,
  queryKeyNorm,
  rmsNorm,
  rotary,
  type ActivationKind,
  type AttentionAttributes,
  type Context,
  type HeadLayout,
  type Value,
} from '../../ops/index.js';
import type { Parameters } from '../parameters.js';
import { ropeTables } from '../rope.js';
import type { ForwardInputs, ForwardTable } from '../types.js';

/** What the parts of one layer share. */
export interface LayerCall {
  readonly context: Context;
  readonly config: ModelConfig;
  readonly parameters: Parameters;
  readonly inputs: ForwardInputs;
  readonly layer: number;
}

/** Runs all layers, each a segment that may be recomputed in backward. */
export function runLayers(
  call: Omit<LayerCall, 'layer'>,
  x_ND: Value,
  block: (call: LayerCall, x_ND: Value) => Value,
): Value {
  let x = x_ND;
  for (let layer = 0; layer < call.config.num_hidden_layers; layer++) {
    const before = x;
    x = call.context.segment(() => block({ ...call, layer }, before));
  }
  return x;
}

/** Throws where a growing model's masks are given, which these families' forwards do not apply. */
export function refuseMasks({ config, inputs }: Pick<LayerCall, 'config' | 'inputs'>): void {
  if (inputs.masks !== undefined)
    throw new InputError(`A ${config.model_type} cannot be trained with masks that fade in new parts; a llama can.`);
}

type RopeConfig = Pick<LlamaConfig, 'head_dim' | 'rope_theta' | 'rope_scaling'>;

/** Cosines and sines of rotary positions; head_dim counts the dimensions that are rotated. */
export function rotaryTables(config: RopeConfig, length: number, start?: number): Record<string, ForwardTable> {
  const { cos, sin } = ropeTables(config, length, start);
  const columns = config.head_dim / 2;
  return { cos: { values: cos, columns }, sin: { values: sin, columns } };
}

/** A root-mean-square norm by its role; `offset` is what the family's stored gains lack. */
export function rmsNormOf(
  { context, parameters }: Pick<LayerCall, 'context' | 'parameters'>,
  role: WeightRole,
  layer: number | undefined,
  x_ND: Value,
  eps: number,
  offset = 0,
): Value {
  const stored = parameters.get(role, layer);
  return rmsNorm(context, x_ND, offset === 0 ? stored : affine(context, stored, { shift: offset }), eps);
}

/** A layer norm by its role. */
export const layerNormOf = (
  { context, parameters }: Pick<LayerCall, 'context' | 'parameters'>,
  role: WeightRole,
  layer: number | undefined,
  x_ND: Value,
  eps: number,
): Value => layerNorm(context, x_ND, parameters.get(role, layer), parameters.get(role, layer, 'bias'), eps);

/** How a family's attention differs from plain attention with scores over sqrt(head_dim). */
export interface AttendOptions extends Pick<AttentionAttributes, 'window' | 'softcap'> {
  readonly scale?: number;
  /** Epsilon of the norms of queries and keys, where the layer has them. */
  readonly eps?: number;
}

/** Attention of a layer before its output projection: projections with biases, norms of q and k, rotation, as far as the layer has them. */
export function attend(
  { context, config, parameters, inputs, layer }: LayerCall,
  x_ND: Value,
  { scale = 1 / Math.sqrt(config.head_dim), eps = 0, window, softcap }: AttendOptions,
): Value {
  const heads: HeadLayout = {
    batch: inputs.batch,
    length: inputs.length,
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads,
    headDim: config.head_dim,
  };
  let qkv_NW = linear(context, x_ND, parameters.group(['query', 'key', 'value'], layer) as Value, {
    bias: parameters.group(['query', 'key', 'value'], layer, 'bias'),
  });
  const [query, key] = [parameters.find('queryNorm', layer), parameters.find('keyNorm', layer)];
  if (query && key) qkv_NW = queryKeyNorm(context, qkv_NW, { query, key }, heads, eps);
  const { cos, sin } = inputs.tables;
  if (cos && sin) qkv_NW = rotary(context, qkv_NW, cos, sin, heads);
  const limits = { ...(window === undefined ? {} : { window }), ...(softcap === undefined ? {} : { softcap }) };
  return attention(context, qkv_NW, heads, scale, limits, inputs.documentStarts);
}

/** A layer's linear map by its role, its bias included where there is one. */
export const project = (
  { context, parameters, layer }: LayerCall,
  role: WeightRole,
  x: Value,
  residual?: Value,
): Value =>
  linear(context, x, parameters.get(role, layer), {
    bias: parameters.find(role, layer, 'bias'),
    ...(residual === undefined ? {} : { residual }),
  });

/** Gate and up projections side by side. */
export const projectGateUp = ({ context, parameters, layer }: LayerCall, x_ND: Value): Value =>
  linear(context, x_ND, parameters.group(['gate', 'up'], layer) as Value, {
    bias: parameters.group(['gate', 'up'], layer, 'bias'),
  });

/** Nonlinearities by Hugging Face's names. */
export const activationNamed: Readonly<Record<string, ActivationKind>> = {
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  relu: 'relu',
  silu: 'silu',
};
