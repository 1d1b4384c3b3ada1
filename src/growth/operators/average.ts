import { z } from 'zod';
import { chooseGaps, fillGaps, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** A layer between two neighbours, made of both. */
export const average = defineOperator({
  id: 'average',
  title: 'new layers as the mean or slerp of their neighbours',
  paper: 'the baseline of LESA (arXiv 2502.13794); slerp as in DLO (arXiv 2407.11030)',
  direction: 'depth',
  size: 'larger',
  summary: 'Puts a layer between two neighbours whose weights are their mean, or interpolated on the sphere.',
  options: z.strictObject({
    method: z.enum(['mean', 'slerp']).default('mean').describe('how the two neighbours are mixed'),
    where: z.enum(['upper', 'spread']).default('upper').describe('the topmost gaps, or gaps spread evenly'),
  }),
  reaches: 'L to 2 L - 1 layers; half as many again by default',
  preservesFunction: { claimed: false, condition: 'the loss rises a little at growth' },
  drawing: `source   0 1 2 3
target   0 1 (1+2) 2 (2+3) 3        6 layers`,
  plan(request) {
    const count = request.source.num_hidden_layers;
    const target = growingLayers('average', request, count + Math.floor(count / 2));
    const { method, where } = request.options;
    return planLayers(request, fillGaps(count, chooseGaps('average', count, target - count, where), method));
  },
});
