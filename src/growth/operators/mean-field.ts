import { z } from 'zod';
import { defineOperator } from '../operator.js';
import { copyPreserves, copyWidth, DEFAULT_NOISE_DB } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** Mean-field sampling: another width, larger or smaller, as a sample of the same distribution of units. */
export const meanField = defineOperator({
  id: 'mean-field',
  title: 'mean-field: any width as a sample of the same units',
  paper: 'arXiv 2408.08681 (ansatz); formulas derived from it',
  direction: 'width',
  size: 'any',
  summary: 'Draws the units of each axis from those of the source and scales what reads them; grows and shrinks.',
  options: z.strictObject({
    map: z
      .enum(['iid', 'stratified', 'tile'])
      .default('stratified')
      .describe('iid: drawn independently; stratified: every unit once, the rest drawn; tile: in order'),
    scale: z
      .enum(['sampling', 'count'])
      .default('sampling')
      .describe(
        'inputs times source size / target size (unbiased), or divided by the number of copies (exact where all are there)',
      ),
    snrDb: z.number().default(DEFAULT_NOISE_DB).describe('paired noise between copies, dB below the weights'),
    faithful: z.boolean().default(false).describe('no noise: copies stay equal for ever'),
  }),
  reaches: 'any hidden size, ffn, kv heads and query heads per group, larger or smaller; the head size stays',
  preservesFunction: {
    claimed: false,
    condition: 'only with scale=count, every unit there, and hidden units copied equally often',
  },
  drawing: `units 0 1, drawn 0 1 1:  inputs  [ w0 w1 ]  ->  2/3 [ w0 w1 w1 ]  (sampling)   [ w0 w1/2 w1/2 ]  (count)`,
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const target = widerConfig('mean-field', family, source, sizes, widthFactor, true);
    const kind = { iid: 'sampled', stratified: 'random', tile: 'circular' } as const;
    const maps = widthMaps(source, target, kind[options.map], seed);
    const sampling = options.scale === 'sampling';
    const unchanged = JSON.stringify(source) === JSON.stringify(target);
    return {
      target,
      maps,
      tensors: copyWidth(family, source, target, {
        maps,
        seed,
        columns: sampling ? { kind: 'factor', of: (from, to) => from / to } : { kind: 'even' },
        ...(options.faithful ? {} : { pairedNoiseDb: options.snrDb }),
      }),
      preservesFunction: unchanged
        ? { claimed: true, condition: 'nothing changes' }
        : copyPreserves(source, maps, !sampling),
    };
  },
});
