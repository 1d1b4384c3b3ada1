import { z } from 'zod';
import { copies, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** Source layers of an interpolated model: each layer followed by its copies. */
export const interpolatedLayers = (source: number, target: number): number[] =>
  Array.from({ length: target }, (_, i) => Math.floor((i * source) / target));

/** Each layer followed by its copies. */
export const interpolate = defineOperator({
  id: 'interpolate',
  title: 'each layer followed by its copies',
  paper: 'Chang et al. 2018, arXiv 1710.10348; compared with stacking by Du et al. 2024, arXiv 2405.15319, appendix H',
  direction: 'depth',
  size: 'larger',
  summary: 'Repeats each layer in place, so that the order of the source is kept.',
  options: z.strictObject({}),
  reaches: 'any number of layers not below the source',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth and recovers within few steps' },
  drawing: `source   0 1 2
target   0 0 1 1 2 2        factor 2`,
  advice:
    'Du et al. find stacking better after long training; for bases trained on more than 20 tokens per parameter arXiv 2510.08008 finds the reverse.',
  plan(request) {
    const target = growingLayers('interpolate', request);
    return planLayers(request, copies(interpolatedLayers(request.source.num_hidden_layers, target)));
  },
});
