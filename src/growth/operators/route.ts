import { z } from 'zod';
import { familyOf, type LlamaConfig } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { freshTensor } from '../depth.js';
import { copies, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** DLO's routing: the same layers, each with a router of zeros before its feed-forward branch. */
export const route = defineOperator({
  id: 'route',
  title: 'DLO routing: a router of zeros in every layer',
  paper: 'Tan et al. 2024, arXiv 2407.11030',
  direction: 'depth',
  size: 'any',
  summary: 'Makes a llama_dlo out of a llama: routers that learn which tokens a feed-forward branch is computed for.',
  options: z.strictObject({
    scale: z.number().positive().default(2).describe('twice the factor on a branch whose router is undecided'),
    gap: z.number().min(0).default(0.05).describe('how much the factor changes from p = 0 to p = 1'),
  }),
  reaches: 'the same sizes, from model_type llama without biases to llama_dlo',
  preservesFunction: { claimed: true, condition: 'with scale 2: undecided routers compute every branch with factor 1' },
  drawing: `x + ffn(x)   ->   x + ffn(x) * (scale / 2 + (p - 1/2) * gap)   where p = sigmoid(router . x) >= 1/2, else x`,
  advice:
    'Routers learn in the next train stage ("routing"), which saves no FLOPs: labels need every branch. Inference skips. For layers to route away, grow by dlo first.',
  plan({ family, source, sizes, depthFactor, options, seed }) {
    if (family.modelType !== 'llama')
      throw new InputError(`Operator route puts routers into a llama, found a ${family.modelType}.`);
    const { attention_bias, mlp_bias, model_type: _, ...fields } = source as LlamaConfig;
    if (attention_bias || mlp_bias) throw new InputError('Operator route needs a llama without biases, found some.');
    if ((depthFactor ?? 1) !== 1 || (sizes.num_hidden_layers ?? source.num_hidden_layers) !== source.num_hidden_layers)
      throw new InputError('Operator route changes no sizes; grow by dlo or another depth operator first.');
    const routed = familyOf('llama_dlo');
    const router = { model_type: 'llama_dlo', router_scale: options.scale, router_gap: options.gap };
    const target = routed.fromHuggingFace({ ...fields, ...router }, 'operator route');
    const draft = planLayers(
      { family, source, seed },
      copies(Array.from({ length: source.num_hidden_layers }, (__, layer) => layer)),
    );
    const routers = routed
      .weights(target)
      .filter(({ role }) => role === 'router')
      .map((spec) => [spec.name, freshTensor(spec, target, seed)] as const);
    return {
      target,
      ...(draft.layers && { layers: draft.layers }),
      tensors: { ...draft.tensors, ...Object.fromEntries(routers) },
      preservesFunction:
        options.scale === 2
          ? { claimed: true, condition: 'routers begin undecided' }
          : { claimed: false, condition: `branches are multiplied by ${options.scale / 2}` },
    };
  },
});
