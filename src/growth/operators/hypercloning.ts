import { z } from 'zod';
import { InputError } from '../../errors.js';
import { defineOperator } from '../operator.js';
import { copyPreserves, copyWidth, twinWarning } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';
import { pairedNoiseOptions } from './fpi.js';

/** HyperCloning: everything tiled n times. */
export const hypercloning = defineOperator({
  id: 'hypercloning',
  title: 'HyperCloning: everything tiled, with paired noise',
  paper: 'Samragh et al. 2024, arXiv 2409.12903',
  direction: 'width',
  size: 'larger',
  summary: 'Tiles hidden size, heads and ffn by whole factors and divides weights by the factor of their input.',
  options: z.strictObject(pairedNoiseOptions),
  reaches: 'whole multiples of hidden size, ffn, heads and kv heads (a single kv head may stay); the head size stays',
  preservesFunction: { claimed: true, condition: 'exactly, up to rounding' },
  drawing: `[ 1 2 ]  ->  [ .5 1 .5 1 ]        factor 2
[ 3 4 ]      [ 1.5 2 1.5 2 ]
             [ .5 1 .5 1 ]
             [ 1.5 2 1.5 2 ]`,
  advice:
    "The authors' code leaves the noise off; with a fresh optimizer and no dropout copies then stay equal for ever.",
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const single = source.num_key_value_heads === 1 && sizes.num_key_value_heads === undefined;
    const asked = single ? { ...sizes, num_key_value_heads: 1 } : sizes;
    const target = widerConfig('hypercloning', family, source, asked, widthFactor);
    for (const field of ['hidden_size', 'intermediate_size', 'num_attention_heads', 'num_key_value_heads'] as const)
      if (target[field] % source[field] !== 0)
        throw new InputError(
          `Operator hypercloning tiles: ${field} must be a multiple of ${source[field]}, found ${target[field]}; fpi and lemon reach other sizes.`,
        );
    const maps = widthMaps(source, target, 'circular', seed);
    const { faithful, snrDb } = options;
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
