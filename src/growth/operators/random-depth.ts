import { z } from 'zod';
import { growingLayers, planLayers } from '../layer-plan.js';
import { maskedCondition, maskOptions, rampMasks } from '../masks.js';
import { defineOperator } from '../operator.js';
import type { LayerSource } from '../plan.js';

/** Fresh layers on top, faded in by a mask. */
export const randomDepth = defineOperator({
  id: 'random-depth',
  title: 'fresh layers on top, faded in by a mask',
  paper: 'Du et al. 2024, arXiv 2405.15319, appendix A; Yao et al. 2023, arXiv 2305.02869',
  direction: 'depth',
  size: 'larger',
  summary: 'Adds fresh layers on top; each counts as m * layer(x) + (1 - m) * x while m rises from 0 to 1.',
  options: z.strictObject(maskOptions),
  reaches: 'any number of layers not below the source',
  preservesFunction: { claimed: true, condition: maskedCondition },
  drawing: `source   0 1
target   0 1 * *        factor 2; *: fresh, masked`,
  advice: 'The worst of the eight operators in the paper.',
  plan(request) {
    const count = request.source.num_hidden_layers;
    const target = growingLayers('random-depth', request);
    const layers = Array.from(
      { length: target },
      (_, i): LayerSource => (i < count ? { kind: 'copy', from: i } : { kind: 'draw' }),
    );
    const masks =
      target === count ? [] : [{ kind: 'random' as const, axis: 'layers' as const, old: count, size: target }];
    return rampMasks(planLayers(request, layers), request.options, masks);
  },
});
