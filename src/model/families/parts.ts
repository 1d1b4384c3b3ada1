// Axes: N = batch * length, D = hidden, W = packed q, k and v columns, F = ffn.
import type { LlamaConfig, ModelConfig, WeightRole } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import {
  add,
  addBiasRule,
  affine,
  at,
  attention,
  layerNorm,
  linear,
  queryKeyNorm,
  rmsNorm,
  rotary,
  scaleColumns,
  size,
  type ActivationKind,
  type AttentionAttributes,
  type Context,
  type HeadLayout,
  type Value,
} from '../../ops/index.js';
import type { Parameters } from '../parameters.js';
import { ropeTables } from '../rope.js';
import type { ForwardInputs, ForwardMasks, ForwardTable } from '../types.js';

/** What the parts of one layer share. */
export interface LayerCall {
  readonly context: Context;
  readonly config: ModelConfig;
  readonly parameters: Parameters;
  readonly inputs: ForwardInputs;
  readonly layer: number;
}

/** Runs all layers on what the embedding gave, each a segment that may be recomputed in backward. */
export function runLayers(
  call: Omit<LayerCall, 'layer'>,
  embedded_ND: Value,
  block: (call: LayerCall, x_ND: Value) => Value,
): Value {
  let x = masked(call, embedded_ND, 'hidden');
  for (let layer = 0; layer < call.config.num_hidden_layers; layer++) {
    const before = x;
    const layerCall = { ...call, layer };
    x = call.context.segment(() => mixedIn(layerCall, before, block(layerCall, before)));
  }
  return x;
}

type Masked = Pick<LayerCall, 'context' | 'inputs'>;

/** x times one of a growing model's masks, where the model has that mask. */
export function masked({ context, inputs }: Masked, x: Value, name: keyof ForwardMasks<Value>['vectors']): Value {
  const mask = inputs.masks?.vectors[name];
  return mask === undefined ? x : scaleColumns(context, x, mask);
}

const isFaded = ({ inputs, layer }: LayerCall): boolean => inputs.masks?.fadedLayers.includes(layer) === true;

/** The output of a layer that is faded in by mixing (MSG, arXiv 2305.02869): m * block(x) + (1 - m) * x. */
function mixedIn(call: LayerCall, x_ND: Value, y_ND: Value): Value {
  const { layer, rest } = call.inputs.masks?.vectors ?? {};
  if (layer === undefined || rest === undefined || !isFaded(call)) return y_ND;
  return scaleColumns(call.context, x_ND, rest, scaleColumns(call.context, y_ND, layer));
}

/** The stream and what a branch adds to it, faded where its layer is. */
export function addBranch(call: LayerCall, x_ND: Value, branch_ND: Value): Value {
  const mask = isFaded(call) ? call.inputs.masks?.vectors.branch : undefined;
  return mask === undefined ? add(call.context, x_ND, branch_ND) : scaleColumns(call.context, branch_ND, mask, x_ND);
}

/** Throws where a growing model's masks are given, which a family's forward does not apply. */
export function refuseMasks({ config, inputs }: Pick<LayerCall, 'config' | 'inputs'>): void {
  if (inputs.masks !== undefined)
    throw new InputError(`A ${config.model_type} cannot be trained with masks that fade in new parts.`);
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
  call: Masked & Pick<LayerCall, 'parameters'>,
  role: WeightRole,
  layer: number | undefined,
  x_ND: Value,
  eps: number,
  offset = 0,
): Value {
  const { context, parameters } = call;
  const stored = parameters.get(role, layer);
  const gain = offset === 0 ? stored : affine(context, stored, { shift: offset });
  return masked(call, rmsNorm(context, masked(call, x_ND, 'normInput'), gain, eps), 'normOutput');
}

/**
 * A layer norm by its role.
 *
 * While masks rise, mean and variance are those of what is unmasked: sum(x m) / sum(m), sum((x - mean)^2 m) / sum(m) (MSG, arXiv 2305.02869).
 */
export function layerNormOf(
  call: Masked & Pick<LayerCall, 'parameters'>,
  role: WeightRole,
  layer: number | undefined,
  x_ND: Value,
  eps: number,
): Value {
  const { context, parameters, inputs } = call;
  const [gain, bias] = [parameters.get(role, layer), parameters.get(role, layer, 'bias')];
  const { hidden, normMean, normShift } = inputs.masks?.vectors ?? {};
  if (hidden === undefined || normMean === undefined || normShift === undefined)
    return layerNorm(context, x_ND, gain, bias, eps);
  const width = size(x_ND.type, 1);
  const mean_N1 = linear(context, x_ND, context.view(normMean, 0, [1, width]));
  const centred_ND = linear(context, mean_N1, context.view(normShift, 0, [width, 1]), { residual: x_ND });
  const y_ND = masked(call, rmsNorm(context, masked(call, centred_ND, 'normInput'), gain, eps), 'normOutput');
  const bias_1D = scaleColumns(context, context.view(bias, 0, [1, width]), hidden);
  return at(context.apply(addBiasRule, [y_ND, context.view(bias_1D, 0, [width])], {}), 0);
}

/** How a family's attention differs from plain attention with scores over sqrt(head_dim). */
export interface AttendOptions extends Pick<AttentionAttributes, 'window' | 'softcap'> {
  readonly scale?: number;
  /** Epsilon of the norms of queries and keys, where the layer has them. */
  readonly eps?: number;
}

/** Attention of a layer before its output projection: projections with biases, norms of q and k, rotation, as far as the layer has them. */
export function attend(
  call: LayerCall,
  x_ND: Value,
  { scale = 1 / Math.sqrt(call.config.head_dim), eps = 0, window, softcap }: AttendOptions,
): Value {
  const { context, config, parameters, inputs, layer } = call;
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
  // Behind the norms of queries and keys, which would undo it.
  qkv_NW = masked(call, qkv_NW, 'queryKeyValue');
  const { cos, sin } = inputs.tables;
  if (cos && sin) qkv_NW = rotary(context, qkv_NW, cos, sin, heads);
  const limits = { ...(window === undefined ? {} : { window }), ...(softcap === undefined ? {} : { softcap }) };
  return attention(context, qkv_NW, heads, scale, limits, inputs.documentStarts);
}

/** A layer's linear map by its role, its bias included where there is one; what it reads and gives is masked in a growing model. */
export function project(call: LayerCall, role: 'attentionOutput' | 'up' | 'down', x: Value, residual?: Value): Value {
  const { context, parameters, layer, inputs } = call;
  const [w, bias] = [parameters.get(role, layer), parameters.find(role, layer, 'bias')];
  if (role === 'up') return masked(call, linear(context, x, w, { bias }), 'gateUp');
  const read = masked(call, x, role === 'down' ? 'ffn' : 'attended');
  const { hidden, branch } = inputs.masks?.vectors ?? {};
  const isMasked = hidden !== undefined || (branch !== undefined && isFaded(call));
  // Added to the stream in the same pass unless something masks it first.
  if (!isMasked) return linear(context, read, w, { bias, ...(residual === undefined ? {} : { residual }) });
  const written = masked(call, linear(context, read, w, { bias }), 'hidden');
  return residual === undefined ? written : addBranch(call, residual, written);
}

/** Gate and up projections side by side. */
export const projectGateUp = (call: LayerCall, x_ND: Value): Value =>
  masked(
    call,
    linear(call.context, x_ND, call.parameters.group(['gate', 'up'], call.layer) as Value, {
      bias: call.parameters.group(['gate', 'up'], call.layer, 'bias'),
    }),
    'gateUp',
  );

/** Nonlinearities by Hugging Face's names. */
export const activationNamed: Readonly<Record<string, ActivationKind>> = {
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  relu: 'relu',
  silu: 'silu',
};
