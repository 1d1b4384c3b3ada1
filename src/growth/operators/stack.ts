import { z } from 'zod';
import { copies, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/**
 * Source layers of a stacked model: the whole stack repeated.
 *
 * Where the target is no multiple of the source, `bottom` goes on from the bottom (i mod L, as StackBERT), `top` ends with the
 * last layers (as bert2BERT and MSG).
 */
export function stackedLayers(source: number, target: number, remainder: 'bottom' | 'top'): number[] {
  const whole = Math.floor(target / source) * source;
  return Array.from({ length: target }, (_, i) =>
    i < whole || remainder === 'bottom' ? i % source : source - target + i,
  );
}

/** G_stack: the whole stack of layers repeated. */
export const stack = defineOperator({
  id: 'stack',
  title: 'G_stack: the stack of layers repeated',
  paper: 'Du et al. 2024, arXiv 2405.15319; Gong et al., ICML 2019 (StackBERT)',
  direction: 'depth',
  size: 'larger',
  summary: 'Puts copies of the whole stack of layers on top of each other. Embeddings, final norm and head stay.',
  options: z.strictObject({
    remainder: z
      .enum(['bottom', 'top'])
      .default('bottom')
      .describe('which layers fill a target that is no multiple of the source: from the bottom, or the last ones'),
  }),
  reaches: 'any number of layers not below the source; a multiple of it is what the paper means',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth and recovers within few steps' },
  drawing: `source   0 1 2
target   0 1 2 0 1 2        factor 2`,
  advice: 'The paper finds it the best of its eight operators, with factor 4 and a fresh optimizer.',
  plan(request) {
    const target = growingLayers('stack', request);
    return planLayers(
      request,
      copies(stackedLayers(request.source.num_hidden_layers, target, request.options.remainder)),
    );
  },
});
