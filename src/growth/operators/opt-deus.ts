import { z } from 'zod';
import { zeroLike } from '../depth.js';
import type { Expression } from '../expression.js';
import { chooseGaps, fillGaps, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** OpT-DeUS: new layers from neighbours whose neurons are aligned by optimal transport. */
export const optDeus = defineOperator({
  id: 'opt-deus',
  title: 'OpT-DeUS: new layers from neighbours aligned by optimal transport',
  paper: 'Cao et al. 2025, arXiv 2508.08011',
  direction: 'depth',
  size: 'larger',
  summary:
    'Puts a layer into each gap of the upper half: the mean of its neighbours after their neurons were matched, with output projections zero.',
  options: z.strictObject({
    regularisation: z
      .number()
      .positive()
      .default(0.06)
      .describe('entropic regularisation of the transport, relative to the largest cost'),
    zeroOutputs: z
      .boolean()
      .default(true)
      .describe('o and down of new layers are zero, so that they add nothing at first'),
    released: z
      .boolean()
      .default(false)
      .describe(
        'as the released code: the transport plan is not normalised, so that new weights are about half the upper layer',
      ),
    where: z.enum(['upper', 'spread']).default('upper').describe('the topmost gaps, or gaps spread evenly'),
  }),
  reaches: 'L to 2 L - 1 layers; half as many again by default',
  preservesFunction: { claimed: true, condition: 'exactly, unless zeroOutputs=false' },
  drawing: `source   0 1 2 3
target   0 1 (1+2) 2 (2+3) 3        6 layers; (a+b): matched mean, o and down zero`,
  advice: 'The paper trains only the new layers. Transport compares all pairs of neurons: minutes per layer at 4096.',
  plan(request) {
    const { regularisation: by, zeroOutputs, released, where } = request.options;
    const count = request.source.num_hidden_layers;
    const target = growingLayers('opt-deus', request, count + Math.floor(count / 2));
    const layers = fillGaps(count, chooseGaps('opt-deus', count, target - count, where), 'transport');
    const draft = planLayers(request, layers, {
      made(spec, [below, above], { matrix, source }) {
        const mean = (of: Expression): Expression => ({
          op: 'mix',
          by: [0.5, 0.5],
          of: [of, { op: 'copy', of: above.name }],
        });
        const a: Expression = { op: 'copy', of: below.name };
        if (spec.role === 'attentionOutput' || spec.role === 'down') return zeroOutputs ? zeroLike(spec) : mean(a);
        if (spec.axes.length < 2) return mean(a);
        const [lower, upper] = (source as { from: readonly [number, number] }).from;
        const outputs = [matrix(lower, 'attentionOutput')!, matrix(upper, 'attentionOutput')!] as const;
        const columnsBy: readonly [Expression, Expression] = [
          { op: 'copy', of: outputs[0].name },
          { op: 'copy', of: outputs[1].name },
        ];
        const isFfn = spec.role === 'gate' || spec.role === 'up';
        return mean({
          op: 'transport',
          by,
          released,
          ...(isFfn ? { columnsBy } : {}),
          of: [a, { op: 'copy', of: above.name }],
        });
      },
    });
    return zeroOutputs ? draft : { ...draft, preservesFunction: { claimed: false, condition: 'zeroOutputs=false' } };
  },
});
