import type { Gemma2Config } from '../../architecture/index.js';
import { affine, embedding, gatedActivation, type Value } from '../../ops/index.js';
import type { ModelForward } from '../types.js';
import {
  addBranch,
  attend,
  project,
  projectGateUp,
  rmsNormOf,
  rotaryTables,
  runLayers,
  type LayerCall,
} from './parts.js';

/** What stored gains lack: Gemma keeps gain - 1. */
const GAIN_OFFSET = 1;

/** Gemma 2 (arXiv 2408.00118): norms before and behind attention and ffn, bounded scores and logits, embeddings times sqrt(hidden size). */
export const gemma2Forward: ModelForward = {
  maskedAxes: ['hidden', 'ffn', 'heads', 'layers'],
  tables: (config, length, start) => rotaryTables(config as Gemma2Config, length, start),
  logitSoftcap: (config) => (config as Gemma2Config).final_logit_softcapping ?? undefined,
  hidden(context, config, parameters, inputs) {
    const call = { context, config, parameters, inputs };
    const {
      rms_norm_eps: eps,
      query_pre_attn_scalar,
      attn_logit_softcapping,
      sliding_window,
      layer_types,
    } = config as Gemma2Config;
    const norm = (role: Parameters<typeof rmsNormOf>[1], layer: number | undefined, x: Value): Value =>
      rmsNormOf(call, role, layer, x, eps, GAIN_OFFSET);
    const block = (layerCall: LayerCall, x_ND: Value): Value => {
      const { layer } = layerCall;
      const window = layer_types[layer] === 'sliding_attention' ? (sliding_window ?? undefined) : undefined;
      const attended = attend(layerCall, norm('attentionNorm', layer, x_ND), {
        scale: 1 / Math.sqrt(query_pre_attn_scalar),
        softcap: attn_logit_softcapping ?? undefined,
        window,
      });
      const output = project(layerCall, 'attentionOutput', attended);
      const middle = addBranch(layerCall, x_ND, norm('postAttentionNorm', layer, output));
      const gateUp = projectGateUp(layerCall, norm('ffnNorm', layer, middle));
      const fed = project(layerCall, 'down', gatedActivation(context, gateUp, 'gelu_tanh'));
      return addBranch(layerCall, middle, norm('postFfnNorm', layer, fed));
    };
    const embedded = embedding(context, parameters.get('embedding'), inputs.ids);
    const scaled = affine(context, embedded, { scale: Math.fround(Math.sqrt(config.hidden_size)) });
    return norm('finalNorm', undefined, runLayers(call, scaled, block));
  },
};
