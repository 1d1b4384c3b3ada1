import { z } from 'zod';
import type { WeightSpec } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { blockWidth, type NewParts } from '../block-width.js';
import { shapeOfSpec, zeroLike } from '../depth.js';
import type { Expression } from '../expression.js';
import { defineOperator } from '../operator.js';
import { epsilonCondition, epsilonIsShared, freshStd, headNormCondition, headNormsKept } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** New units that add nothing at first: zero wherever old inputs feed new outputs. */
export const zeroWidth = defineOperator({
  id: 'zero-width',
  title: 'new units that are zero at first',
  paper: 'Du et al. 2024, arXiv 2405.15319, appendix A',
  direction: 'width',
  size: 'larger',
  summary:
    'Puts the source in the corner of larger weights; old inputs feed new outputs by zero, the rest is drawn; norm gains and epsilon make up for the zeros.',
  options: z.strictObject({
    gate: z
      .enum(['draw', 'zero'])
      .optional()
      .describe(
        'new rows of the gate: drawn (default: alive at once), or zero as in the paper, where new ffn units get no gradient at first',
      ),
    newGain: z
      .number()
      .optional()
      .describe('norm gain of new entries, default 1; at 0 (the released code) the new stream is dead for good'),
    scaleGain: z
      .boolean()
      .optional()
      .describe(
        "old norm gains times sqrt(h / h'), default true; the released code leaves it out and changes the function",
      ),
    scaleEpsilon: z
      .boolean()
      .optional()
      .describe("norm epsilon times h / h', default true; without it the function is kept but for the epsilon"),
    faithful: z
      .boolean()
      .default(false)
      .describe('as the released code: gate zero, newGain 0, scaleGain and scaleEpsilon false'),
  }),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: true, condition: 'exactly, up to rounding, for models with RMSNorm' },
  drawing: `W' = [ W  A ]        A, C drawn; embedding [ E 0 ]; norm gain [ sqrt(h/h') g, 1 ]
     [ 0  C ]`,
  plan({ family, source, sizes, widthFactor, options, seed }) {
    if (family.norm !== 'rms')
      throw new InputError(
        `Operator zero-width works on models with RMSNorm, found ${source.model_type} with LayerNorm.`,
      );
    const { faithful } = options;
    const {
      gate = faithful ? 'zero' : 'draw',
      newGain = faithful ? 0 : 1,
      scaleGain = !faithful,
      scaleEpsilon = !faithful,
    } = options;
    const wider = widerConfig('zero-width', family, source, sizes, widthFactor);
    const maps = widthMaps(source, wider, 'circular', seed, { padded: true });
    const share = source.hidden_size / wider.hidden_size;
    const epsilon = family.normEpsilonField;
    const target = share < 1 && scaleEpsilon ? { ...wider, [epsilon]: (source[epsilon] as number) * share } : wider;
    const groupSize = target.num_attention_heads / target.num_key_value_heads;
    const fill = (spec: WeightSpec): NewParts => {
      const zero = zeroLike(spec);
      const drawn: Expression = {
        op: 'draw',
        by: freshStd(spec, target),
        seed,
        name: spec.name,
        shape: shapeOfSpec(spec),
      };
      if (spec.role === 'attentionOutput') {
        // A new query head of an old group attends to live values at once: its output must not be read yet.
        const live = maps.heads[spec.layer!]!.map((from, head) =>
          from < 0 && maps.kvHeads[spec.layer!]![Math.floor(head / groupSize)]! >= 0 ? 0 : 1,
        );
        const masked: Expression = live.includes(0)
          ? { op: 'scale', axis: 1, by: live, unit: target.head_dim, of: drawn }
          : drawn;
        return { right: masked, below: zero, corner: masked };
      }
      const below = spec.role === 'gate' && gate === 'draw' ? drawn : zero;
      return { right: drawn, below, corner: drawn };
    };
    const tensors = blockWidth(family, source, target, {
      maps,
      matrix: fill,
      embedding: zeroLike,
      newGain,
      gain: scaleGain ? Math.sqrt(share) : 1,
    });
    if (!headNormsKept(source, maps))
      return { target, maps, tensors, preservesFunction: { claimed: false, condition: headNormCondition } };
    if (share < 1 && scaleGain && epsilonIsShared(source))
      return { target, maps, tensors, preservesFunction: { claimed: false, condition: epsilonCondition } };
    if (share === 1 || (scaleGain && scaleEpsilon)) return { target, maps, tensors };
    const condition = scaleGain ? 'up to the epsilon of the norms' : "old norm gains are not scaled by sqrt(h / h')";
    return { target, maps, tensors, preservesFunction: { claimed: false, condition } };
  },
});
