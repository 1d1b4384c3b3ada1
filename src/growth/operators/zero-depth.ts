import { z } from 'zod';
import { growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import type { LayerSource } from '../plan.js';
import { interpolatedLayers } from './interpolate.js';

/** Each layer followed by copies that change nothing. */
export const zeroDepth = defineOperator({
  id: 'zero-depth',
  title: 'each layer followed by copies that change nothing',
  paper: 'Du et al. 2024, arXiv 2405.15319, appendix A',
  direction: 'depth',
  size: 'larger',
  summary:
    'Repeats each layer in place; the copies have output projections zero, so that they add nothing until they learn.',
  options: z.strictObject({}),
  reaches: 'any number of layers not below the source',
  preservesFunction: { claimed: true, condition: 'exactly: the added layers add zero' },
  drawing: `source   0 1
target   0 0z 1 1z        factor 2; z: o and down are zero`,
  plan(request) {
    const target = growingLayers('zero-depth', request);
    const from = interpolatedLayers(request.source.num_hidden_layers, target);
    return planLayers(
      request,
      from.map((layer, i): LayerSource => ({ kind: from[i - 1] === layer ? 'zeroed' : 'copy', from: layer })),
    );
  },
});
