import { z } from 'zod';
import { InputError } from '../../errors.js';
import { defineOperator } from '../operator.js';
import { copyPreserves, copyWidth, DEFAULT_NOISE_DB, twinWarning } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** mu-pscaling: copies side by side with the scales of the maximal update parametrisation. */
export const mupWidth = defineOperator({
  id: 'mup-width',
  title: 'mu-pscaling: copies side by side, with rates that keep the training dynamics',
  paper: 'arXiv 2602.10545',
  direction: 'width',
  size: 'larger',
  summary:
    'Copies each unit k times side by side and divides inputs by k; with the rates it names, wide and narrow model train alike until noise parts them.',
  options: z.strictObject({
    level: z
      .number()
      .min(0)
      .default(0)
      .describe(
        "the paper's noise: a fresh initialisation times this, divided by k, added to matrices; breaks the function",
      ),
    snrDb: z.number().default(DEFAULT_NOISE_DB).describe('paired noise, dB below the weights, where level is 0'),
    faithful: z
      .boolean()
      .default(false)
      .describe('no paired noise: with level 0 the wide model stays the narrow one for ever'),
  }),
  reaches: 'one whole factor k for hidden size, ffn, heads and kv heads; the head size stays',
  preservesFunction: { claimed: true, condition: 'exactly where level is 0' },
  drawing: `hidden   0 1  ->  0 0 1 1        inputs divided by 2`,
  advice:
    'AdamW after growth: rate / k and decoupled decay * k for matrices, the head included; epsilon / k for all but an untied head. In a run: optimizerState: grow-linear for the growth, optimizer: {widthFactor: k} and schedule: {kind: continue} for the stage behind it.',
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const target = widerConfig('mup-width', family, source, sizes, widthFactor);
    const factor = target.hidden_size / source.hidden_size;
    for (const field of ['hidden_size', 'intermediate_size', 'num_attention_heads', 'num_key_value_heads'] as const)
      if (!Number.isInteger(factor) || target[field] !== source[field] * factor)
        throw new InputError(
          `Operator mup-width grows all widths by one whole factor: ${field} is ${source[field]}, found ${target[field]} with hidden_size ${target.hidden_size}.`,
        );
    const maps = widthMaps(source, target, 'blocked', seed);
    const { level, faithful, snrDb } = options;
    return {
      target,
      maps,
      tensors: copyWidth(family, source, target, {
        maps,
        seed,
        columns: { kind: 'even' },
        ...(level > 0 ? { noiseLevel: level / factor } : faithful ? {} : { pairedNoiseDb: snrDb }),
      }),
      preservesFunction:
        level > 0 && factor > 1
          ? { claimed: false, condition: 'level > 0 adds noise' }
          : copyPreserves(source, maps, true),
      training: { optimizerState: 'grow-linear', matrices: { rate: 1 / factor, decay: factor, epsilon: 1 / factor } },
      warnings: level === 0 && faithful ? [twinWarning] : [],
    };
  },
});
