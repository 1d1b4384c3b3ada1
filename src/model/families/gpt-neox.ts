import { rotatedDims, type GptNeoxConfig } from '../../architecture/index.js';
import { activation, embedding, type Value } from '../../ops/index.js';
import type { ModelForward } from '../types.js';
import { activationNamed, attend, layerNormOf, project, rotaryTables, runLayers, type LayerCall } from './parts.js';

/** GPT-NeoX and Pythia (arXiv 2204.06745): x + attention(norm(x)) + ffn(norm'(x)), or one after the other; a part of each head is rotated. */
export const gptNeoxForward: ModelForward = {
  maskedAxes: ['hidden', 'ffn', 'heads', 'layers'],
  tables(config, length, start) {
    const rotated = { ...(config as GptNeoxConfig), head_dim: rotatedDims(config as GptNeoxConfig) };
    return rotated.head_dim === 0 ? {} : rotaryTables(rotated, length, start);
  },
  hidden(context, config, parameters, inputs) {
    const call = { context, config, parameters, inputs };
    const { layer_norm_eps: eps, use_parallel_residual, hidden_act } = config as GptNeoxConfig;
    const kind = activationNamed[hidden_act]!;
    const block = (layerCall: LayerCall, x_ND: Value): Value => {
      const { layer } = layerCall;
      const attended = attend(layerCall, layerNormOf(call, 'attentionNorm', layer, x_ND, eps), {});
      const middle = project(layerCall, 'attentionOutput', attended, x_ND);
      const normed = layerNormOf(call, 'ffnNorm', layer, use_parallel_residual ? x_ND : middle, eps);
      return project(layerCall, 'down', activation(context, project(layerCall, 'up', normed), kind), middle);
    };
    const x_ND = runLayers(call, embedding(context, parameters.get('embedding'), inputs.ids), block);
    return layerNormOf(call, 'finalNorm', undefined, x_ND, eps);
  },
};
