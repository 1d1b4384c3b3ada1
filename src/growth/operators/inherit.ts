import { z } from 'zod';
import { InputError } from '../../errors.js';
import { copies, planLayers } from '../layer-plan.js';
import { freshTensor } from '../depth.js';
import { defineOperator } from '../operator.js';
import { requestedLayers } from '../target.js';

/** Inheritune: a shallower model out of some layers of a deeper one. */
export const inherit = defineOperator({
  id: 'inherit',
  title: 'Inheritune: a smaller model out of the first layers',
  paper: 'Sanyal et al. 2024, arXiv 2404.08634',
  direction: 'depth',
  size: 'smaller',
  summary: 'Keeps embedding, final norm, head and the first layers (or others) of a deeper model.',
  options: z.strictObject({
    keep: z.enum(['first', 'last']).default('first').describe('which layers are kept'),
    layers: z.array(z.int().min(0)).min(1).optional().describe('or a list of source layers counted from 0'),
    faithful: z
      .boolean()
      .default(false)
      .describe(
        "as the authors' code: final norm and learned positions begin anew, only blocks, embedding and head are kept",
      ),
  }),
  reaches: 'any number of layers up to that of the source; half of them by default',
  preservesFunction: { claimed: false, condition: 'layers are missing' },
  drawing: `source   0 1 2 3
target   0 1        half`,
  advice: 'It saves inference, not training: the deeper model is part of the cost.',
  plan(request) {
    const { source, sizes, depthFactor, options, seed } = request;
    const count = source.num_hidden_layers;
    const target =
      requestedLayers(source, sizes, depthFactor) ?? options.layers?.length ?? Math.max(1, Math.floor(count / 2));
    if (target > count)
      throw new InputError(
        `Operator inherit makes smaller models: at most ${count} layers, found ${target}; use stack.`,
      );
    const list =
      options.layers ?? Array.from({ length: target }, (_, i) => (options.keep === 'first' ? i : count - target + i));
    if (list.length !== target || list.some((layer) => layer >= count))
      throw new InputError(
        `Operator inherit: option layers must name ${target} layers below ${count}, found [${list}].`,
      );
    const draft = planLayers(request, copies(list));
    if (!options.faithful) return draft;
    const fresh = request.family
      .weights(draft.target)
      .filter((spec) => spec.role === 'finalNorm' || spec.role === 'positionEmbedding')
      .map((spec) => [spec.name, freshTensor(spec, draft.target, seed)] as const);
    return { ...draft, tensors: { ...draft.tensors, ...Object.fromEntries(fresh) } };
  },
});
