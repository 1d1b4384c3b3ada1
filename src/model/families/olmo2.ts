import type { Olmo2Config } from '../../architecture/index.js';
import { embedding, swiglu, type Value } from '../../ops/index.js';
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

/** OLMo-2 (arXiv 2501.00656): x + norm(attention(x)), then x + norm(ffn(x)), with norms over all queries and all keys. */
export const olmo2Forward: ModelForward = {
  // Not heads: its norms over all queries and all keys would see new ones.
  maskedAxes: ['hidden', 'ffn', 'layers'],
  tables: (config, length, start) => rotaryTables(config as Olmo2Config, length, start),
  hidden(context, config, parameters, inputs) {
    const call = { context, config, parameters, inputs };
    const eps = (config as Olmo2Config).rms_norm_eps;
    const block = (layerCall: LayerCall, x_ND: Value): Value => {
      const { layer } = layerCall;
      const attended = project(layerCall, 'attentionOutput', attend(layerCall, x_ND, { eps }));
      const middle = addBranch(layerCall, x_ND, rmsNormOf(call, 'postAttentionNorm', layer, attended, eps));
      const fed = project(layerCall, 'down', swiglu(context, projectGateUp(layerCall, middle)));
      return addBranch(layerCall, middle, rmsNormOf(call, 'postFfnNorm', layer, fed, eps));
    };
    const x_ND = runLayers(call, embedding(context, parameters.get('embedding'), inputs.ids), block);
    return rmsNormOf(call, 'finalNorm', undefined, x_ND, eps);
  },
};
