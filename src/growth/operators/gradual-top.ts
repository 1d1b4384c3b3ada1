import { z } from 'zod';
import { InputError } from '../../errors.js';
import { copies, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** The last layers once more on top: a step of gradual stacking. */
export const gradualTop = defineOperator({
  id: 'gradual-top',
  title: 'the last layers once more on top',
  paper: 'gradual stacking (arXiv 2409.19044); multi-stage layerwise training (arXiv 2011.13635)',
  direction: 'depth',
  size: 'larger',
  summary: 'Adds copies of the last layers on top: one step of a gradual schedule.',
  options: z.strictObject({}),
  reaches: 'up to twice the layers of the source',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth' },
  drawing: `source   0 1 2
target   0 1 2 1 2        5 layers`,
  plan(request) {
    const count = request.source.num_hidden_layers;
    const target = growingLayers('gradual-top', request);
    if (target > 2 * count)
      throw new InputError(`Operator gradual-top reaches at most ${2 * count} layers from ${count}, found ${target}.`);
    return planLayers(request, copies(Array.from({ length: target }, (_, i) => (i < count ? i : i - target + count))));
  },
});
