import { z } from 'zod';
import { type Family, initialisation, type InitialisationScheme, type ModelConfig } from '../../architecture/index.js';
import { blockWidth, widthMasks } from '../block-width.js';
import { shapeOfSpec } from '../depth.js';
import type { Expression } from '../expression.js';
import { maskedCondition, maskOptions, rampMasks } from '../masks.js';
import { defineOperator } from '../operator.js';
import type { PlanDraft, WidthMaps } from '../plan.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** The source in the corner of larger weights, all new parts drawn. */
export function drawnWidth(
  family: Family,
  source: ModelConfig,
  target: ModelConfig,
  seed: number,
  scheme: InitialisationScheme,
): PlanDraft & { maps: WidthMaps } {
  const maps = widthMaps(source, target, 'circular', seed, { padded: true });
  const drawn = (spec: Parameters<typeof shapeOfSpec>[0]): Expression => {
    const fill = initialisation(spec, target, scheme);
    return { op: 'draw', by: fill.kind === 'normal' ? fill.std : 0, seed, name: spec.name, shape: shapeOfSpec(spec) };
  };
  const tensors = blockWidth(family, source, target, {
    maps,
    matrix: (spec) => ({ right: drawn(spec), below: drawn(spec), corner: drawn(spec) }),
    embedding: drawn,
    newGain: 1,
  });
  return { target, maps, tensors };
}

/** Fresh units, faded in by masks. */
export const randomWidth = defineOperator({
  id: 'random-width',
  title: 'fresh units, faded in by masks',
  paper: 'Du et al. 2024, arXiv 2405.15319, appendix A',
  direction: 'width',
  size: 'larger',
  summary:
    'Puts the source in the corner of larger, drawn weights; outputs of new units are multiplied by masks that rise from 0 to 1: ffn, then hidden, then heads.',
  options: z.strictObject(maskOptions),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: true, condition: maskedCondition },
  drawing: `W' = [ W  A ]        A, B, C drawn; outputs times ( 1 ... 1 m ... m ), m: 0 to 1
     [ B  C ]`,
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const target = widerConfig('random-width', family, source, sizes, widthFactor);
    const draft = drawnWidth(family, source, target, seed, 'paper');
    return rampMasks(draft, options, widthMasks('random', source, target, draft.maps, ['ffn', 'hidden', 'heads']));
  },
});
