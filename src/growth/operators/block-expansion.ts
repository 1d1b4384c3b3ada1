import { z } from 'zod';
import { InputError } from '../../errors.js';
import { growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import type { LayerSource } from '../plan.js';
import { requestedLayers } from '../target.js';

/** LLaMA-Pro: on top of each group of layers copies that change nothing. */
export const blockExpansion = defineOperator({
  id: 'block-expansion',
  title: 'LLaMA-Pro: copies that change nothing on top of each group',
  paper: 'Wu et al. 2024, arXiv 2401.02415',
  direction: 'depth',
  size: 'larger',
  summary:
    'Divides the layers into groups and puts copies of the last layers of each on top of it, with output projections zero.',
  options: z.strictObject({
    groups: z.int().min(1).optional().describe('N, groups of layers; by default what the target asks for, else 8'),
    perGroup: z.int().min(1).default(1).describe('P, copies on top of each group'),
  }),
  reaches: 'L + N P layers, where N divides L',
  preservesFunction: { claimed: true, condition: 'exactly: the inserted layers add zero' },
  drawing: `source   0 1 2 3
target   0 1 1z 2 3 3z        N = 2, P = 1; z: o and down are zero`,
  advice: 'The paper trains only the inserted layers (trainable: added).',
  plan(request) {
    const { groups: asked, perGroup } = request.options;
    const count = request.source.num_hidden_layers;
    const named = requestedLayers(request.source, request.sizes, request.depthFactor);
    const groups = asked ?? (named === undefined ? 8 : (named - count) / perGroup);
    const target = growingLayers('block-expansion', request, count + groups * perGroup);
    if (target === count) return planLayers(request, copyAll(count));
    if (target !== count + groups * perGroup || !Number.isInteger(groups) || count % groups !== 0)
      throw new InputError(
        `Operator block-expansion needs groups that divide ${count} layers: with perGroup ${perGroup} it reaches ${reachable(count, perGroup)} layers, found ${target}${asked === undefined ? '' : ` with groups ${asked}`}.`,
      );
    const size = count / groups;
    if (perGroup > size)
      throw new InputError(
        `Operator block-expansion: perGroup must be at most ${size}, the layers of a group, found ${perGroup}.`,
      );
    const layers = Array.from({ length: groups }, (_, group): LayerSource[] => [
      ...Array.from({ length: size }, (_, i): LayerSource => ({ kind: 'copy', from: group * size + i })),
      ...Array.from(
        { length: perGroup },
        (_, i): LayerSource => ({
          kind: 'zeroed',
          from: (group + 1) * size - perGroup + i,
        }),
      ),
    ]).flat();
    return planLayers(request, layers);
  },
});

const copyAll = (count: number): LayerSource[] => Array.from({ length: count }, (_, from) => ({ kind: 'copy', from }));

const reachable = (count: number, perGroup: number): string =>
  Array.from({ length: count }, (_, i) => i + 1)
    .filter((groups) => count % groups === 0 && perGroup <= count / groups)
    .map((groups) => count + groups * perGroup)
    .join(', ');
