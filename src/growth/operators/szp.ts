import { z } from 'zod';
import { shapeOfSpec } from '../depth.js';
import type { Expression } from '../expression.js';
import { defineOperator } from '../operator.js';
import { changedAxes, freshStd, pairedSpecs } from '../width.js';
import { widerConfig, widthMaps } from '../width-maps.js';

/** Warmstarting: shrink, zero-pad, perturb. */
export const szp = defineOperator({
  id: 'szp',
  title: 'shrink, zero-pad, perturb',
  paper: 'arXiv 2605.13405; first form 2411.07340',
  direction: 'width',
  size: 'larger',
  summary: 'Multiplies the source by a factor below 1, pads it with zeros and adds a fresh initialisation everywhere.',
  options: z.strictObject({
    lambda: z.number().min(0).max(1).default(0.4).describe('factor of old weights; the paper sweeps .2 to 1'),
    sigma: z.number().min(0).default(1).describe('factor of the fresh initialisation that is added'),
    init: z
      .enum(['paper', 'mup'])
      .default('paper')
      .describe(
        "standard deviation of what is added: Strata's own (2/(5 fan-in) as variance), or 1/sqrt(fan-in) as muP has it",
      ),
  }),
  reaches: 'any hidden size, ffn, kv heads and query heads per group not below the source; the head size stays',
  preservesFunction: { claimed: false, condition: 'old weights shrink and get noise' },
  drawing: `W' = lambda [ W 0 ] + E        E drawn, over old entries too
            [ 0 0 ]`,
  plan({ family, source, sizes, widthFactor, options, seed }) {
    const { lambda, sigma, init } = options;
    const target = widerConfig('szp', family, source, sizes, widthFactor);
    const maps = widthMaps(source, target, 'circular', seed, { padded: true });
    const tensors: Record<string, Expression> = {};
    const unchanged = JSON.stringify(source) === JSON.stringify(target);
    for (const { spec, source: from } of pairedSpecs(family, source, target)) {
      const changed = changedAxes(spec, from, maps);
      const copy: Expression = { op: 'copy', of: from.name };
      const isGain = spec.axes.length === 1 && spec.kind === 'weight';
      if (unchanged || (spec.axes.length === 1 && changed.length === 0)) tensors[spec.name] = copy;
      else if (isGain)
        tensors[spec.name] = {
          op: 'block',
          rows: { index: changed[0]!.index, ...changed[0]!.unit },
          of: [[copy], [{ op: 'constant', by: 1, shape: shapeOfSpec(spec) }]],
        };
      else {
        const padded = changed.reduce<Expression>(
          (of, { axis, index, unit }) => ({ op: 'take', axis, index, ...unit, of }),
          copy,
        );
        const std = init === 'mup' ? 1 / Math.sqrt(spec.axes[1]?.size ?? 1) : freshStd(spec, target);
        const fresh: Expression = { op: 'draw', by: std * sigma, seed, name: spec.name, shape: shapeOfSpec(spec) };
        tensors[spec.name] = spec.axes.length === 1 ? padded : { op: 'mix', by: [lambda, 1], of: [padded, fresh] };
      }
    }
    return {
      target,
      maps,
      tensors,
      ...(unchanged ? { preservesFunction: { claimed: true, condition: 'nothing changes' } } : {}),
    };
  },
});
