import { z } from 'zod';
import { InputError } from '../../errors.js';
import { growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';
import type { LayerSource } from '../plan.js';

/** A layer of the source, or one added at its place. */
interface Place {
  readonly from: number;
  readonly added: boolean;
}

const range = (from: number, to: number, added = false): Place[] =>
  Array.from({ length: to - from }, (_, i) => ({ from: from + i, added }));

function interleaved(count: number, target: number): Place[] {
  const split = Math.floor(count / (target - count));
  if (target > 2 * count || Math.floor(count / split) !== target - count) {
    const reachable = Array.from({ length: count }, (_, i) => count + Math.floor(count / (i + 1)));
    const targets = [...new Set(reachable)].sort((a, b) => a - b).join(', ');
    throw new InputError(`Operator dlo, interleave: from ${count} layers it reaches ${targets}, found ${target}.`);
  }
  return range(0, count).flatMap((place) =>
    (place.from + 1) % split === 0 ? [place, { from: place.from, added: true }] : [place],
  );
}

function stackedSide(count: number, target: number): Place[] {
  const overlap = target - count;
  const side = (target - 2 * overlap) / 2;
  if (!Number.isInteger(side) || side < 0)
    throw new InputError(
      `Operator dlo, stack-side: from ${count} layers it reaches ${count} to ${2 * count} in steps that leave equal sides, found ${target}.`,
    );
  return [...range(0, side + overlap), ...range(side, side + overlap, true), ...range(side + overlap, count)];
}

function manual(ranges: readonly (readonly [number, number])[], count: number): Place[] {
  const seen = new Set<number>();
  return ranges.flatMap(([from, to]) => {
    if (from >= to || to > count)
      throw new InputError(`Operator dlo: range [${from}, ${to}) must lie within the source's ${count} layers.`);
    return range(from, to).map((place) => {
      const added = seen.has(place.from);
      seen.add(place.from);
      return { ...place, added };
    });
  });
}

/** DLO's depth expansion: where layers are added, and how they begin. */
export const dlo = defineOperator({
  id: 'dlo',
  title: 'DLO: layers added at chosen places, with a choice of beginnings',
  paper: 'Tan et al. 2024, arXiv 2407.11030',
  direction: 'depth',
  size: 'larger',
  summary:
    'Adds layers interleaved, beside the seam of two copies, or by ranges; each begins as a copy, zeroed, mixed or fresh.',
  options: z.strictObject({
    arrangement: z
      .enum(['interleave', 'stack-side', 'manual'])
      .default('interleave')
      .describe('where layers are added'),
    ranges: z
      .array(z.tuple([z.int().min(0), z.int().min(1)]))
      .optional()
      .describe('for manual: ranges [from, to) of source layers, joined; layers that come again count as added'),
    init: z
      .enum(['zeros', 'copy', 'linear', 'slerp', 'random'])
      .default('zeros')
      .describe('zeros: a copy with o and down zero; linear, slerp: mixed with the layer below; random: fresh'),
  }),
  reaches: 'interleave: every k-th layer doubled; stack-side: up to twice the layers with equal sides; manual: any',
  preservesFunction: { claimed: true, condition: 'with init zeros exactly; with the others not' },
  drawing: `source   0 1 2 3
target   0 1 1* 2 3 3*        interleave, 6 layers; *: added`,
  advice: 'The routing of the paper is a variant of the model, not of its growth.',
  plan(request) {
    const { arrangement, ranges, init } = request.options;
    const count = request.source.num_hidden_layers;
    const byHand = arrangement === 'manual' ? manual(ranges ?? [], count) : undefined;
    if (byHand?.length === 0) throw new InputError('Operator dlo, manual: option ranges is missing.');
    const target = growingLayers('dlo', request, byHand?.length);
    if (byHand !== undefined && byHand.length !== target)
      throw new InputError(`Operator dlo: the ranges give ${byHand.length} layers, ${target} were asked for.`);
    const places =
      byHand ??
      (target === count
        ? range(0, count)
        : arrangement === 'interleave'
          ? interleaved(count, target)
          : stackedSide(count, target));
    const layers = places.map(({ from, added }): LayerSource => {
      if (!added || init === 'copy') return { kind: 'copy', from };
      if (init === 'zeros') return { kind: 'zeroed', from };
      if (init === 'random') return { kind: 'draw' };
      return from === 0
        ? { kind: 'copy', from }
        : { kind: init === 'linear' ? 'mean' : 'slerp', from: [from, from - 1] };
    });
    const draft = planLayers(request, layers);
    const exact = init === 'zeros' && arrangement !== 'manual';
    if (target === count || exact) return draft;
    const condition = arrangement === 'manual' ? 'ranges go back in the stack' : `added layers begin as ${init}`;
    return { ...draft, preservesFunction: { claimed: false, condition } };
  },
});
