import { z } from 'zod';
import { familyOf } from '../../architecture/index.js';
import { substitute } from '../expression.js';
import { growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import type { LayerSource, PlanDraft } from '../plan.js';
import { requestedWidths } from '../target.js';
import { interpolatedLayers } from './interpolate.js';
import { planStagedWidth, stagedWarning } from './staged-width.js';
import { stackedLayers } from './stack.js';

/** Staged training's growth in depth and width. */
export const staged = defineOperator({
  id: 'staged',
  title: 'staged training: identity layers, independent copies in width',
  paper: 'Shen et al. 2022, arXiv 2203.06211',
  direction: 'both',
  size: 'larger',
  summary: 'Adds layers that change nothing, appended or alternating, then puts copies of the model side by side.',
  options: z.strictObject({
    order: z.enum(['append', 'alternate']).default('append').describe('0 1 0 1 or 0 0 1 1'),
    identity: z
      .boolean()
      .default(true)
      .describe(
        'inserted layers add nothing at first (output projections zero); false: plain copies, as the released script makes',
      ),
  }),
  reaches: 'any number of layers; one whole factor for all widths',
  preservesFunction: { claimed: true, condition: 'exactly, unless identity=false' },
  drawing: `source   0 1
target   0 1 0z 1z        append; z: adds nothing`,
  plan(request) {
    const { source, sizes, widthFactor, options } = request;
    const count = source.num_hidden_layers;
    const target = growingLayers('staged', request, count);
    const from =
      options.order === 'append' ? stackedLayers(count, target, 'bottom') : interpolatedLayers(count, target);
    const seen = new Set<number>();
    const layers = from.map((layer): LayerSource => {
      const added = seen.has(layer);
      seen.add(layer);
      return { kind: added && options.identity ? 'zeroed' : 'copy', from: layer };
    });
    const deep = planLayers(request, layers);
    const draft = widen(deep);
    const exact = options.identity || target === count;
    return exact
      ? draft
      : { ...draft, preservesFunction: { claimed: false, condition: 'identity=false: inserted layers work at once' } };

    function widen(depth: PlanDraft): PlanDraft {
      if (requestedWidths(source, sizes, widthFactor) === undefined || widthFactor === 1) return depth;
      const wide = planStagedWidth(
        'staged',
        familyOf(depth.target),
        depth.target,
        { ...sizes, num_hidden_layers: target },
        widthFactor,
      );
      const tensors = Object.fromEntries(
        Object.entries(wide.tensors).map(([name, of]) => [name, substitute(of, (inner) => depth.tensors[inner]!)]),
      );
      return { ...wide, layers: depth.layers!, tensors, warnings: [stagedWarning] };
    }
  },
});
