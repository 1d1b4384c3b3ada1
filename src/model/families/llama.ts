// Axes: N = batch * length, D = hidden, W = packed q, k and v columns, F = ffn.
import type { LlamaConfig, ModelConfig } from '../../architecture/index.js';
import {
  attention,
  embedding,
  linear,
  rmsNorm,
  rotary,
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
  tables(config, length, start) {
    const { cos, sin } = ropeTables(config as LlamaConfig, length, start);
    const columns = config.head_dim / 2;
    return { cos: { values: cos, columns }, sin: { values: sin, columns } };
  },
  hidden(context, config, parameters, inputs) {
    const eps = (config as LlamaConfig).rms_norm_eps;
    let x_ND = embedding(context, parameters.get('embedding'), inputs.ids);
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const before_ND = x_ND;
      x_ND = context.segment(() => block(context, config, parameters, inputs, layer, before_ND, eps));
    }
    return rmsNorm(context, x_ND, parameters.get('finalNorm'), eps);
  },
};

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
  const normed_ND = rmsNorm(context, x_ND, parameters.get('attentionNorm', layer), eps);
  const qkv_NW = linear(context, normed_ND, parameters.group(['query', 'key', 'value'], layer) as Value, {
    bias: parameters.group(['query', 'key', 'value'], layer, 'bias'),
  });
  const attended = attention(context, rotary(context, qkv_NW, cos, sin, heads), heads, 1 / Math.sqrt(config.head_dim));
  const middle_ND = linear(context, attended, parameters.get('attentionOutput', layer), {
    bias: parameters.find('attentionOutput', layer, 'bias'),
    residual: x_ND,
  });
  const normed2_ND = rmsNorm(context, middle_ND, parameters.get('ffnNorm', layer), eps);
  const gateUp_N2F = linear(context, normed2_ND, parameters.group(['gate', 'up'], layer) as Value, {
    bias: parameters.group(['gate', 'up'], layer, 'bias'),
  });
  return linear(context, swiglu(context, gateUp_N2F), parameters.get('down', layer), {
    bias: parameters.find('down', layer, 'bias'),
    residual: middle_ND,
  });
}
