import { z } from 'zod';
import { InputError } from '../../errors.js';
import { defineOperator } from '../operator.js';
import { copyWidth, epsilonCondition, epsilonIsShared, headNormCondition, headNormsKept } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** LEMON: lossless to any width, by whole copies and fillers that are zero. */
export const lemon = defineOperator({
  id: 'lemon',
  title: 'LEMON: lossless to any width',
  paper: 'Wang et al. 2023, arXiv 2310.07999',
  direction: 'width',
  size: 'larger',
  summary:
    'The stream holds as many whole copies as fit, the rest is filled with zeros; copies share inputs unevenly, norm gains and epsilon make up for the fillers.',
  options: z.strictObject({}),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: true, condition: 'exactly, up to rounding, for models with RMSNorm' },
  drawing: `hidden   0 1 2  ->  0 1 2 0 1 2 - -        -: zero; gains times sqrt(6/8), epsilon times 6/8`,
  advice:
    'For depth, put zero-depth before it: zero-depth+lemon. The paper advises the usual learning rate with a faster decay.',
  plan({ family, source, sizes, widthFactor, seed }) {
    if (family.norm !== 'rms')
      throw new InputError(`Operator lemon works on models with RMSNorm, found ${source.model_type} with LayerNorm.`);
    const grown = widerConfig('lemon', family, source, sizes, widthFactor);
    const maps = widthMaps(source, grown, 'circular', seed, { hiddenPadded: true });
    const filled = maps.hidden.filter((from) => from >= 0).length / grown.hidden_size;
    const epsilon = family.normEpsilonField;
    const target = filled === 1 ? grown : { ...grown, [epsilon]: (source[epsilon] as number) * filled };
    return {
      target,
      maps,
      tensors: copyWidth(family, source, target, {
        maps,
        seed,
        columns: { kind: 'uneven' },
        gain: Math.sqrt(filled),
        drawFillers: true,
      }),
      ...(filled < 1 && epsilonIsShared(source)
        ? { preservesFunction: { claimed: false, condition: epsilonCondition } }
        : {}),
      ...(headNormsKept(source, maps) ? {} : { preservesFunction: { claimed: false, condition: headNormCondition } }),
    };
  },
});
