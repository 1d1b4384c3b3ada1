// Axes: N = batch * length, D = hidden.
import type { LlamaDloConfig } from '../../architecture/index.js';
import {
  embedding,
  matmul,
  routedFeedForward,
  routeGate,
  rowSimilarity,
  scaleRows,
  swiglu,
  type Value,
} from '../../ops/index.js';
import type { ModelForward } from '../types.js';
import {
  attend,
  project,
  projectGateUp,
  refuseMasks,
  rmsNormOf,
  rotaryTables,
  runLayers,
  type LayerCall,
} from './parts.js';

/**
 * Llama with routed feed-forward branches (DLO, arXiv 2407.11030); attention always runs.
 *
 * With `routing` among the inputs every branch is computed and the capacity decides which tokens keep it (training); without, the tokens with p >= 1/2
 * are computed and no others (inference).
 */
export const llamaDloForward: ModelForward = {
  routed: true,
  tables: (config, length, start) => rotaryTables(config as LlamaDloConfig, length, start),
  hidden(context, config, parameters, inputs) {
    const call = { context, config, parameters, inputs };
    refuseMasks(call);
    const { rms_norm_eps: eps, router_scale: scale, router_gap: gap } = config as LlamaDloConfig;
    const block = (layerCall: LayerCall, x_ND: Value): Value => {
      const { layer } = layerCall;
      const attended = attend(layerCall, rmsNormOf(call, 'attentionNorm', layer, x_ND, eps), {});
      const middle = project(layerCall, 'attentionOutput', attended, x_ND);
      const logits = matmul(context, middle, parameters.get('router', layer), { transposeB: true });
      const { routing } = inputs;
      if (routing === undefined) {
        const operands = {
          x: middle,
          z: logits,
          gain: parameters.get('ffnNorm', layer),
          gateUp: parameters.group(['gate', 'up'], layer) as Value,
          down: parameters.get('down', layer),
        };
        return routedFeedForward(context, operands, { eps, scale, gap }).y;
      }
      const normed = rmsNormOf(call, 'ffnNorm', layer, middle, eps);
      const branch = project(layerCall, 'down', swiglu(context, projectGateUp(layerCall, normed)));
      const capacity = context.view(routing.capacities, layer, [1]);
      routing.layers.push({ logits, similarity: rowSimilarity(context, middle, branch) });
      return scaleRows(context, branch, routeGate(context, logits, capacity, { scale, gap }), middle);
    };
    const x_ND = runLayers(call, embedding(context, parameters.get('embedding'), inputs.ids), block);
    return rmsNormOf(call, 'finalNorm', undefined, x_ND, eps);
  },
};
