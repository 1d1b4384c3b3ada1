import { z } from 'zod';
import { defineOperator } from '../operator.js';
import { copyPreserves, copyWidth } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** Factor of inputs after growth from `from` to `to` copied units, which keeps the root mean square of outputs. */
export function sparklingFactor(from: number, to: number): number {
  const growth = to / from - 1;
  return growth <= 1 ? 1 / Math.sqrt(1 + 3 * growth) : 1 / (1 + growth);
}

/** SPARKLING: plain copies whose symmetry the optimizer state and the learning rate break. */
export const sparkling = defineOperator({
  id: 'sparkling',
  title: 'SPARKLING: copies parted by optimizer state and learning rate',
  paper: 'arXiv 2602.02472',
  direction: 'width',
  size: 'larger',
  summary:
    'Copies units and scales all inputs so that outputs keep their size; the moments of new entries start at zero and their learning rate is raised for a while.',
  options: z.strictObject({
    rewarmPeak: z
      .number()
      .positive()
      .default(1.3)
      .describe('peak learning rate of new entries, as a multiple of the rate at growth'),
    rewarmSteps: z.int().min(0).default(250).describe('steps in which the rate of new entries rises to it'),
  }),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: true, condition: 'at whole factors exactly; between them the size of outputs only' },
  drawing: `hidden   0 1  ->  0 1 0 1        inputs times 1/2 at twice the size, 1/sqrt(1 + 3 c) at 1 + c times`,
  advice:
    'Grow with --optimizer-state pad-zero: with a fresh optimizer copies stay equal for ever. The paper keeps the peak rate of the small model and grows at half of training. In a run: optimizerState: pad-zero for the growth, optimizer: {newEntries: {}} and schedule: {kind: continue} for the stage behind it.',
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const target = widerConfig('sparkling', family, source, sizes, widthFactor);
    const maps = widthMaps(source, target, 'circular', seed);
    const exact = [
      [source.hidden_size, target.hidden_size],
      [source.intermediate_size, target.intermediate_size],
      [source.num_attention_heads, target.num_attention_heads],
    ].every(([from, to]) => to! % from! === 0);
    return {
      target,
      maps,
      tensors: copyWidth(family, source, target, { maps, seed, columns: { kind: 'factor', of: sparklingFactor } }),
      preservesFunction: copyPreserves(source, maps, exact),
      training: {
        optimizerState: 'pad-zero',
        newEntries: { peak: options.rewarmPeak, warmupSteps: options.rewarmSteps },
      },
      warnings: ['copies stay equal for ever unless the optimizer state grows by pad-zero'],
    };
  },
});
