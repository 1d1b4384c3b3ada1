import type { Gpt2Config } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { activation, add, concat, embedding, type Context, type Value } from '../../ops/index.js';
import type { ForwardInputs, ModelForward } from '../types.js';
import { activationNamed, attend, layerNormOf, project, runLayers, type LayerCall } from './parts.js';

/** GPT-2 (Radford et al. 2019): learned positions, x + attention(norm(x)), then x + ffn(norm(x)), with LayerNorm and biases. */
export const gpt2Forward: ModelForward = {
  maskedAxes: ['hidden', 'ffn', 'heads', 'layers'],
  tables(config, length, start = 0) {
    if (start + length > config.max_position_embeddings)
      throw new InputError(
        `A gpt2 has learned positions: sequences of ${start + length} tokens do not fit its max_position_embeddings ${config.max_position_embeddings}.`,
      );
    return { positions: { values: Int32Array.from({ length }, (_, i) => start + i), columns: 1 } };
  },
  hidden(context, config, parameters, inputs) {
    const call = { context, config, parameters, inputs };
    const { layer_norm_epsilon: eps, activation_function } = config as Gpt2Config;
    const kind = activationNamed[activation_function]!;
    const block = (layerCall: LayerCall, x_ND: Value): Value => {
      const { layer } = layerCall;
      const scale = attentionScale(config as Gpt2Config, layer);
      const attended = attend(layerCall, layerNormOf(call, 'attentionNorm', layer, x_ND, eps), { scale });
      const middle = project(layerCall, 'attentionOutput', attended, x_ND);
      const inner = project(layerCall, 'up', layerNormOf(call, 'ffnNorm', layer, middle, eps));
      return project(layerCall, 'down', activation(context, inner, kind), middle);
    };
    const tokens = embedding(context, parameters.get('embedding'), inputs.ids);
    const places = embedding(context, parameters.get('positionEmbedding'), positionIds(context, inputs));
    return layerNormOf(call, 'finalNorm', undefined, runLayers(call, add(context, tokens, places), block), eps);
  },
};

/** Positions of all tokens [batch * length]: those of one sequence, repeated. */
function positionIds(context: Context, { tables, batch, length }: ForwardInputs): Value {
  const one = context.view(tables['positions'] as Value, 0, [length]);
  return batch === 1
    ? one
    : concat(
        context,
        Array.from({ length: batch }, () => one),
      );
}

function attentionScale(config: Gpt2Config, layer: number): number {
  const scale = config.scale_attn_weights ? 1 / Math.sqrt(config.head_dim) : 1;
  return config.scale_attn_by_inverse_layer_idx ? scale / (layer + 1) : scale;
}
