import { z } from 'zod';
import { InputError } from '../../errors.js';
import { copies, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** Depth up-scaling: two copies of the stack, the first without its last m layers, the second without its first m. */
export const solar = defineOperator({
  id: 'solar',
  title: 'SOLAR depth up-scaling: two overlapping copies of the stack',
  paper: 'Kim et al. 2023, arXiv 2312.15166',
  direction: 'depth',
  size: 'larger',
  summary: 'Puts the stack on itself, leaving out the last m layers below and the first m above the seam.',
  options: z.strictObject({
    drop: z
      .int()
      .min(0)
      .optional()
      .describe('m, layers left out on each side of the seam; by default what the target asks for'),
  }),
  reaches: 'L to 2 L layers in steps of 2: twice the layers less 2 m',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth; continued pre-training heals it' },
  drawing: `source   0 1 2 3
target   0 1 2 1 2 3        m = 1`,
  plan(request) {
    const count = request.source.num_hidden_layers;
    const { drop } = request.options;
    const target = growingLayers('solar', request, drop === undefined ? undefined : 2 * (count - drop));
    const m = count - target / 2;
    if (!Number.isInteger(m) || m < 0 || (drop !== undefined && drop !== m))
      throw new InputError(
        `Operator solar reaches twice ${count} layers less twice drop${drop === undefined ? '' : ` (${2 * (count - drop)} with drop ${drop})`}, found ${target}.`,
      );
    const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
    return planLayers(request, copies([...range(0, count - m), ...range(m, count)]));
  },
});
