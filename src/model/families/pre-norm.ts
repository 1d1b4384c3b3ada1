import type { MistralConfig, ModelConfig, Qwen2Config } from '../../architecture/index.js';
import { embedding, swiglu, type Value } from '../../ops/index.js';
import type { ModelForward } from '../types.js';
import { attend, project, projectGateUp, rmsNormOf, rotaryTables, runLayers, type LayerCall } from './parts.js';

type Config = ModelConfig & Pick<MistralConfig, 'rms_norm_eps' | 'rope_theta' | 'rope_scaling'>;

/** Decoders of Llama's shape whose layers differ from it in their attention only. */
const preNormForward = (window: (config: ModelConfig, layer: number) => number | undefined): ModelForward => ({
  maskedAxes: ['hidden', 'ffn', 'heads', 'layers'],
  tables: (config, length, start) => rotaryTables(config as Config, length, start),
  hidden(context, config, parameters, inputs) {
    const call = { context, config, parameters, inputs };
    const eps = (config as Config).rms_norm_eps;
    const block = (layerCall: LayerCall, x_ND: Value): Value => {
      const { layer } = layerCall;
      const normed = rmsNormOf(call, 'attentionNorm', layer, x_ND, eps);
      const attended = attend(layerCall, normed, { eps, window: window(config, layer) });
      const middle = project(layerCall, 'attentionOutput', attended, x_ND);
      const normed2 = rmsNormOf(call, 'ffnNorm', layer, middle, eps);
      return project(layerCall, 'down', swiglu(context, projectGateUp(layerCall, normed2)), middle);
    };
    const x_ND = runLayers(call, embedding(context, parameters.get('embedding'), inputs.ids), block);
    return rmsNormOf(call, 'finalNorm', undefined, x_ND, eps);
  },
});

/** Mistral (arXiv 2310.06825): Llama with one window for all layers, where there is one. */
export const mistralForward = preNormForward((config) => (config as MistralConfig).sliding_window ?? undefined);

/** Qwen2 and Qwen3 (arXiv 2407.10671, 2505.09388): biases or norms of q and k as the weight map has them, windows by layer. */
export const qwenForward = preNormForward((config, layer) => {
  const { layer_types, sliding_window } = config as Qwen2Config;
  return layer_types[layer] === 'sliding_attention' ? (sliding_window ?? undefined) : undefined;
});
