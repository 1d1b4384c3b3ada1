// Axes: N = batch * length, D = hidden, W = packed q, k and v columns, F = ffn.
import type { LlamaConfig, ModelConfig } from '../../architecture/index.js';
import {
  attention,
  embedding,
  linear,
  rmsNorm,
  rotary,
  scaleColumns,
  swiglu,
  type Context,
  type HeadLayout,
  type Value,
} from '../../ops/index.js';
import type { Parameters } from '../parameters.js';
import { ropeTables } from '../rope.js';
import type { ForwardInputs, ModelForward } from '../types.js';

/** Llama: x + attention(norm(x)), then x + ffn(norm(x)), in every layer (Touvron et al., arXiv 2302.13971). */
export const llamaForward: ModelForward = {
  maskedAxes: ['hidden', 'ffn', 'heads', 'layers'],
  tables(config, length, start) {
    const { cos, sin } = ropeTables(config as LlamaConfig, length, start);
    const columns = config.head_dim / 2;
    return { cos: { values: cos, columns }, sin: { values: sin, columns } };
  },
  hidden(context, config, parameters, inputs) {
    const eps = (config as LlamaConfig).rms_norm_eps;
    let x_ND = masked(
      context,
      embedding(context, parameters.get('embedding'), inputs.ids),
      inputs.masks?.vectors.hidden,
    );
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const before_ND = x_ND;
      x_ND = context.segment(() => fadedBlock(context, config, parameters, inputs, layer, before_ND, eps));
    }
    return maskedNorm(context, x_ND, parameters.get('finalNorm'), eps, inputs);
  },
};

/** x times a mask, where there is one. */
const masked = (context: Context, x: Value, mask: Value | undefined): Value =>
  mask === undefined ? x : scaleColumns(context, x, mask);

/** A norm whose statistics leave out what is masked. */
const maskedNorm = (context: Context, x: Value, w: Value, eps: number, { masks }: ForwardInputs): Value =>
  masked(context, rmsNorm(context, masked(context, x, masks?.vectors.normInput), w, eps), masks?.vectors.normOutput);

/** A block; of a layer that is faded in by mixing (MSG, arXiv 2305.02869), m * block(x) + (1 - m) * x. */
function fadedBlock(
  context: Context,
  config: ModelConfig,
  parameters: Parameters,
  inputs: ForwardInputs,
  layer: number,
  x_ND: Value,
  eps: number,
): Value {
  const y_ND = block(context, config, parameters, inputs, layer, x_ND, eps);
  const { layer: share, rest } = inputs.masks?.vectors ?? {};
  if (share === undefined || rest === undefined || inputs.masks?.fadedLayers.includes(layer) !== true) return y_ND;
  return scaleColumns(context, x_ND, rest, scaleColumns(context, y_ND, share));
}

function block(
  context: Context,
  config: ModelConfig,
  parameters: Parameters,
  inputs: ForwardInputs,
  layer: number,
  x_ND: Value,
  eps: number,
): Value {
  const heads: HeadLayout = {
    batch: inputs.batch,
    length: inputs.length,
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads,
    headDim: config.head_dim,
  };
  const { cos, sin } = inputs.tables as { cos: Value; sin: Value };
  const masks = inputs.masks?.vectors;
  const branch = inputs.masks?.fadedLayers.includes(layer) === true ? masks?.branch : undefined;
  /** A branch's last product, added to the stream: in the same pass unless something masks it first. */
  const join = (y: Value, role: 'attentionOutput' | 'down', residual: Value): Value => {
    const bias = parameters.find(role, layer, 'bias');
    const w = parameters.get(role, layer);
    const [last, ...before] = [masks?.hidden, branch].filter((mask) => mask !== undefined);
    if (last === undefined) return linear(context, y, w, { bias, residual });
    const inner = before.reduce((value, mask) => scaleColumns(context, value, mask), linear(context, y, w, { bias }));
    return scaleColumns(context, inner, last, residual);
  };
  const normed_ND = maskedNorm(context, x_ND, parameters.get('attentionNorm', layer), eps, inputs);
  const qkv_NW = linear(context, normed_ND, parameters.group(['query', 'key', 'value'], layer) as Value, {
    bias: parameters.group(['query', 'key', 'value'], layer, 'bias'),
  });
  const turned_NW = rotary(context, masked(context, qkv_NW, masks?.queryKeyValue), cos, sin, heads);
  const attended = attention(context, turned_NW, heads, 1 / Math.sqrt(config.head_dim), {}, inputs.documentStarts);
  const middle_ND = join(masked(context, attended, masks?.attended), 'attentionOutput', x_ND);
  const normed2_ND = maskedNorm(context, middle_ND, parameters.get('ffnNorm', layer), eps, inputs);
  const gateUp_N2F = linear(context, normed2_ND, parameters.group(['gate', 'up'], layer) as Value, {
    bias: parameters.group(['gate', 'up'], layer, 'bias'),
  });
  const gated_NF = swiglu(context, masked(context, gateUp_N2F, masks?.gateUp));
  return join(masked(context, gated_NF, masks?.ffn), 'down', middle_ND);
}
