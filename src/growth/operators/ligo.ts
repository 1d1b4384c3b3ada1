import { z } from 'zod';
import { planLigo } from '../ligo.js';
import { defineOperator, type OperatorDefinition } from '../operator.js';

const options = z.strictObject({
  steps: z.int().min(0).default(100).describe('steps in which the expansion is learned; 0 leaves it as it begins'),
  learningRate: z.number().positive().default(2e-4).describe('learning rate of the expansion'),
  warmupSteps: z.int().min(0).default(10).describe('warm-up steps of the expansion'),
  init: z
    .enum(['prts', 'authors'])
    .default('prts')
    .describe(
      "prts: selections, new rows normal (depth begins as stack); authors: LiGO's own code, mixes with some noise, new rows averages",
    ),
  untiedInputs: z
    .boolean()
    .default(false)
    .describe('inputs have width matrices of their own; the paper shares them with outputs'),
});

const common = {
  paper: 'Wang et al. 2023, arXiv 2303.00980; as used by Du et al. 2024, arXiv 2405.15319',
  size: 'larger',
  options,
  preservesFunction: { claimed: false, condition: 'the expansion is learned, not lossless' },
  learns: 'text',
  advice:
    "A hundred steps are the paper's choice; more did not help. The warm-up of its command (10,000 steps) leaves the expansion almost where it began. On the small models measured here learning lowers the held-out loss against the expansion's own beginning, in depth below that of stack, in width not below that of direct-width; at equal FLOPs, learning included, both untrained operators ended lower (docs/LOG.md; node scripts/learned-operators.mjs).",
} as const;

/** LiGO in depth alone. */
export const ligoDepth: OperatorDefinition = defineOperator({
  ...common,
  id: 'ligo-depth',
  title: 'LiGO, depth: new layers as learned mixes of the old',
  direction: 'depth',
  summary:
    'Makes each target layer a weighted sum of the source layers; the weights are learned on data for some steps.',
  reaches: 'any number of layers above the source',
  drawing: `w = [ 1 ]      W = [ 2 ]  ->  layer 0 [ 2 ]
    [ .5 ]                      layer 1 [ 1 ]`,
  plan: (request) => planLigo(request, 'ligo-depth', 'depth'),
});

/** LiGO in width alone. */
export const ligoWidth: OperatorDefinition = defineOperator({
  ...common,
  id: 'ligo-width',
  title: 'LiGO, width: learned linear expansion of every axis',
  direction: 'width',
  summary: 'Multiplies every weight by learned matrices, one per axis of the model.',
  reaches: 'any widths not below the source, with the query heads per group kept',
  drawing: `B = [ 1 .5 ]ᵀ      E = [ 4 ]  ->  E' = E Bᵀ = [ 4 2 ]`,
  plan: (request) => planLigo(request, 'ligo-width', 'width'),
});

/** LiGO in both directions. */
export const ligo: OperatorDefinition = defineOperator({
  ...common,
  id: 'ligo',
  title: 'LiGO: learned linear growth of depth and width',
  direction: 'both',
  summary:
    'Every target tensor is a linear function of the source: learned width matrices, then learned mixes of layers.',
  reaches: 'any number of layers and widths not below the source, with the query heads per group kept',
  drawing: `W'_l = sum_j w[l, j] B_out W_j B_inᵀ`,
  plan: (request) => planLigo(request, 'ligo', 'both'),
});
