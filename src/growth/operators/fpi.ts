import { z } from 'zod';
import { defineOperator } from '../operator.js';
import { copyPreserves, copyWidth, DEFAULT_NOISE_DB, twinWarning } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** Options of operators that copy units and break their symmetry by paired noise. */
export const pairedNoiseOptions = {
  snrDb: z
    .number()
    .default(DEFAULT_NOISE_DB)
    .describe('paired noise, dB below the weights: +E on one copy of an input, -E on the next; keeps the function'),
  faithful: z.boolean().default(false).describe("the authors' version: no noise, so that copies stay equal for ever"),
};

/** bert2BERT's function-preserving initialisation, after Net2Wider. */
export const fpi = defineOperator({
  id: 'fpi',
  title: 'function-preserving initialisation: units copied, inputs divided by their copies',
  paper: 'Chen et al. 2021, arXiv 2110.07143 (bert2BERT); Chen et al. 2015, arXiv 1511.05641 (Net2Net)',
  direction: 'width',
  size: 'larger',
  summary: 'Copies hidden units, ffn units and whole heads, and divides what reads them by the number of copies.',
  options: z.strictObject({
    map: z
      .enum(['circular', 'random'])
      .optional()
      .describe('which units are copied: in order again and again (default), or drawn (default with faithful)'),
    ...pairedNoiseOptions,
  }),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: {
    claimed: true,
    condition: 'exactly where the hidden size is a multiple and the map circular; unequal copies change the norms',
  },
  drawing: `hidden   0 1 2  ->  0 1 2 0 1 2        W' = [ W/2  W/2 ]
                                            [ W/2  W/2 ]`,
  advice: 'Twins get equal gradients: faithful=true locks them unless the optimizer state grows by pad-zero.',
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const { faithful, snrDb, map = faithful ? 'random' : 'circular' } = options;
    const target = widerConfig('fpi', family, source, sizes, widthFactor);
    const maps = widthMaps(source, target, map, seed);
    return {
      target,
      maps,
      tensors: copyWidth(family, source, target, {
        maps,
        seed,
        columns: { kind: 'even' },
        ...(faithful ? {} : { pairedNoiseDb: snrDb }),
      }),
      preservesFunction: copyPreserves(source, maps, true),
      warnings: faithful ? [twinWarning] : [],
    };
  },
});
