import { z } from 'zod';
import { widthMasks } from '../block-width.js';
import { substitute } from '../expression.js';
import { growingLayers, planLayers } from '../layer-plan.js';
import { maskOptions, rampMasks } from '../masks.js';
import { defineOperator } from '../operator.js';
import type { LayerSource, MaskRamp } from '../plan.js';
import { requestedWidths } from '../target.js';
import { widerConfig } from '../width-maps.js';
import { drawnWidth } from './random-width.js';
import { stackedLayers } from './stack.js';

/** Source layers after inserting a copy behind its source from the top layer downwards, round after round. */
export function msgInterpolatedLayers(source: number, target: number): number[] {
  const copiesOf = Array.from({ length: source }, () => 1);
  for (let added = 0; added < target - source; added++) copiesOf[source - 1 - (added % source)]!++;
  return copiesOf.flatMap((count, layer) => Array.from({ length: count }, () => layer));
}

/** Masked structural growth. */
export const msg = defineOperator({
  id: 'msg',
  title: 'Masked Structural Growth: new units and layers faded in by masks',
  paper: 'Yao et al. 2023, arXiv 2305.02869',
  direction: 'both',
  size: 'larger',
  summary:
    'Adds drawn units and copied layers behind masks that rise one after the other: hidden, ffn, heads, layers; norms take their statistics over what is unmasked.',
  options: z.strictObject({
    layers: z
      .enum(['top', 'interpolate', 'draw'])
      .default('top')
      .describe('new layers: copies stacked on top, copies behind their sources, or fresh ones on top'),
    ...maskOptions,
  }),
  reaches: 'any number of layers and any widths not below the source; the head size stays',
  preservesFunction: { claimed: true, condition: 'while the mask is 0, exactly; not with mask=1' },
  drawing: `source   0 1 2
target   0 1 2 1m 2m        m: m * layer(x) + (1 - m) * x`,
  advice: "The authors' code keeps the optimizer (pad-zero) and may rewind the learning rate to just after warm-up.",
  plan(request) {
    const { family, source, sizes, widthFactor, options, seed } = request;
    const count = source.num_hidden_layers;
    const layerCount = growingLayers('msg', request, count);
    const from =
      options.layers === 'interpolate'
        ? msgInterpolatedLayers(count, layerCount)
        : stackedLayers(count, layerCount, 'top');
    const layers = from.map(
      (layer, i): LayerSource =>
        options.layers === 'draw' && i >= count ? { kind: 'draw' } : { kind: 'copy', from: layer },
    );
    const deep = planLayers(request, layers, { scheme: 'huggingface' });
    const added = from.flatMap((layer, i) => (from.indexOf(layer) < i ? [i] : []));
    const depthMask: Omit<MaskRamp, 'start' | 'end'>[] =
      layerCount === count ? [] : [{ kind: 'msg', axis: 'layers', old: count, size: layerCount, newEntries: added }];
    if (requestedWidths(source, sizes, widthFactor) === undefined) return rampMasks(deep, options, depthMask);
    const target = widerConfig('msg', family, deep.target, { ...sizes, num_hidden_layers: layerCount }, widthFactor);
    const wide = drawnWidth(family, deep.target, target, seed, 'huggingface');
    const tensors = Object.fromEntries(
      Object.entries(wide.tensors).map(([name, of]) => [name, substitute(of, (inner) => deep.tensors[inner]!)]),
    );
    const masks = [...widthMasks('msg', source, target, wide.maps, ['hidden', 'ffn', 'heads']), ...depthMask];
    return rampMasks({ ...wide, layers, tensors }, options, masks);
  },
});
