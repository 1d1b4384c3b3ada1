import { z } from 'zod';
import { InputError } from '../../errors.js';
import { shapeOfSpec } from '../depth.js';
import { chooseGaps, fillGaps, growingLayers, planLayers } from '../layer-plan.js';
import { defineOperator } from '../operator.js';

/** LESA: layers predicted from their neighbours by a small network trained on the model's own layers. */
export const lesa = defineOperator({
  id: 'lesa',
  title: 'LESA: layers predicted from their neighbours',
  paper: 'Yang et al. 2025, arXiv 2502.13794',
  direction: 'depth',
  size: 'larger',
  summary:
    'Writes the matrices of all layers in a common basis (SVD), trains a small network per kind to predict a layer from its two neighbours, and inserts what it predicts.',
  options: z.strictObject({
    norms: z
      .enum(['mean', 'below', 'layer0'])
      .default('mean')
      .describe("norms of new layers: mean of the neighbours, the one below, or layer 0's (the authors' code)"),
    where: z.enum(['upper', 'spread']).default('upper').describe('the topmost gaps, or gaps spread evenly'),
    epochs: z.int().min(1).default(10).describe('epochs of the predictors (paper 5, code 10)'),
    normWeight: z
      .number()
      .min(0)
      .max(1)
      .default(5e-4)
      .describe('weight of the norm term in their loss (paper 5e-5, code 5e-4)'),
    hidden: z.int().min(1).default(256).describe('hidden size of the predictors'),
    learningRate: z.number().positive().default(1e-3).describe('their learning rate (AdamW)'),
    batch: z.int().min(1).default(64).describe('their batch'),
  }),
  reaches: 'L to 2 L - 1 layers; half as many again by default; at least three layers',
  preservesFunction: { claimed: false, condition: 'new layers are predictions' },
  learns: 'weights',
  drawing: `source   0 1 2 3
target   0 1 (1+2) 2 (2+3) 3        (a+b): predicted from a and b`,
  advice:
    'The paper freezes the old layers. On the small models measured here predicted layers did not beat untrained ones at the same places on held-out text: not the mean of neighbours, not copies that add nothing (docs/LOG.md; node scripts/learned-operators.mjs).',
  plan(request) {
    const count = request.source.num_hidden_layers;
    if (count < 3)
      throw new InputError(`Operator lesa learns from triples of layers: it needs at least 3, found ${count}.`);
    const { norms, where, ...training } = request.options;
    const target = growingLayers('lesa', request, count + Math.floor(count / 2));
    const gaps = chooseGaps('lesa', count, target - count, where);
    const draft = planLayers(request, fillGaps(count, gaps, 'learned'), {
      made(spec, [below, above], { source }) {
        const gap = (source as { from: readonly [number, number] }).from[0];
        if (spec.axes.length > 1) return { op: 'learned', of: `lesa.${spec.role}.${gap}`, shape: shapeOfSpec(spec) };
        if (norms === 'mean')
          return {
            op: 'mix',
            by: [0.5, 0.5],
            of: [
              { op: 'copy', of: below.name },
              { op: 'copy', of: above.name },
            ],
          };
        const first = below.name.replace(`.${gap}.`, '.0.');
        return { op: 'copy', of: norms === 'below' ? below.name : first };
      },
    });
    if (target === count) return draft;
    return {
      ...draft,
      prepare: { kind: 'lesa', parameters: [], steps: training.epochs, options: { ...training, gaps } },
    };
  },
});
