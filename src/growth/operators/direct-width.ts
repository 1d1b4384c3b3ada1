import { z } from 'zod';
import { defineOperator } from '../operator.js';
import { copyPreserves, copyWidth, twinWarning } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** The G_stack paper's direct width operator: copies that share their inputs unevenly. */
export const directWidth = defineOperator({
  id: 'direct-width',
  title: 'direct width (split): units copied, inputs shared unevenly',
  paper: 'Du et al. 2024, arXiv 2405.15319, appendix A',
  direction: 'width',
  size: 'larger',
  summary: 'Copies units and whole heads; the copies of an input share its weight by random parts that sum to 1.',
  options: z.strictObject({
    map: z.enum(['circular', 'random']).default('circular').describe('which units are copied: in order, or drawn'),
    paperGain: z
      .boolean()
      .default(false)
      .describe(
        "multiply norm gains by sqrt(source / target size), as the paper's appendix A.3 has it; breaks the function",
      ),
    faithful: z
      .boolean()
      .default(false)
      .describe('as the released code: even parts, so that copies stay equal for ever'),
  }),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: true, condition: 'exactly where the hidden size is a multiple and the map circular' },
  drawing: `hidden   0 1  ->  0 1 0 1        W' = [ aW  (1-a)W ]      a differs for every entry
                                      [ bW  (1-b)W ]`,
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const { map, paperGain, faithful } = options;
    const target = widerConfig('direct-width', family, source, sizes, widthFactor);
    const maps = widthMaps(source, target, map, seed);
    const shrinks = paperGain && target.hidden_size !== source.hidden_size;
    return {
      target,
      maps,
      tensors: copyWidth(family, source, target, {
        maps,
        seed,
        columns: { kind: faithful ? 'even' : 'uneven' },
        ...(shrinks ? { gain: Math.sqrt(source.hidden_size / target.hidden_size) } : {}),
      }),
      preservesFunction: shrinks
        ? { claimed: false, condition: "the paper's factor on norm gains shrinks every norm's output" }
        : copyPreserves(source, maps, true),
      warnings: faithful ? [twinWarning] : [],
    };
  },
});
