import { z } from 'zod';
import { InputError } from '../../errors.js';
import { planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import type { LayerSource } from '../plan.js';
import { requestedLayers } from '../target.js';
import { interpolatedLayers } from './interpolate.js';
import { stackedLayers } from './stack.js';

/** Zero- or one-layer expansion: a jump from hardly any layers to all of them. */
export const expand = defineOperator({
  id: 'expand',
  title: 'zero/one-layer expansion: one jump to all layers',
  paper: 'Bu 2025, arXiv 2511.04981',
  direction: 'depth',
  size: 'larger',
  summary:
    'Goes from no layers (embedding, final norm and head), one, or few to all at once, with fresh or copied layers.',
  options: z.strictObject({
    layers: z
      .enum(['auto', 'draw', 'stack', 'interpolate', 'last'])
      .default('auto')
      .describe(
        'what new layers are: fresh on top, copies in the order named, or copies of the last; auto: stack, fresh from none',
      ),
  }),
  reaches: 'any number of layers, also from none',
  preservesFunction: { claimed: false, condition: 'the loss jumps at growth' },
  drawing: `source   (no layers)          0 1
target   * * * *              0 1 0 1 0 1 (stack)   0 0 0 1 1 1 (interpolate)   0 1 1 1 1 1 (last)`,
  advice:
    'The paper grows late (at 0.8 of all steps) at the same learning rate, in the stable phase of a warm-up-stable-decay schedule.',
  plan(request) {
    const { source, sizes, depthFactor, options } = request;
    const count = source.num_hidden_layers;
    const target = requestedLayers(source, sizes, count === 0 ? undefined : depthFactor);
    if (target === undefined)
      throw new InputError('Operator expand needs --layers (a factor of no layers gives none).');
    if (target < count) throw new InputError(`Operator expand grows: it cannot make ${target} layers out of ${count}.`);
    const kind = options.layers === 'auto' ? (count === 0 ? 'draw' : 'stack') : options.layers;
    if (count === 0 && kind !== 'draw')
      throw new InputError(`Operator expand: a source without layers can only draw new ones, found layers=${kind}.`);
    const from = {
      draw: () => Array.from({ length: target }, (_, i) => (i < count ? i : undefined)),
      stack: () => stackedLayers(count, target, 'bottom'),
      interpolate: () => interpolatedLayers(count, target),
      last: () => Array.from({ length: target }, (_, i) => Math.min(i, count - 1)),
    }[kind]();
    return planLayers(
      request,
      from.map((layer): LayerSource => (layer === undefined ? { kind: 'draw' } : { kind: 'copy', from: layer })),
    );
  },
});
