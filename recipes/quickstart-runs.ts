import { hasFastBf16, type RunInput } from '../src/index.js';

/** FLOPs of each run, everything included: about three to four minutes for both on two cores. */
export const BUDGET = 1e13;

/** Peak learning rates: each the best of the same grid (1e-3 to 1.6e-2 in factors of 2); docs/guide/quickstart.md has every result. */
export const RATES = { scratch: 4e-3, grown: 8e-3 };

/** What both runs share: the model, the data and how often they look at the validation texts. */
function common(data: string): Pick<RunInput, 'seed' | 'model' | 'precision' | 'data' | 'validation' | 'checkpoints'> {
  return {
    seed: 1,
    model: { hidden_size: 128, num_hidden_layers: 12, num_attention_heads: 4, intermediate_size: 320 },
    precision: hasFastBf16() ? 'bf16' : 'f32',
    data: { train: data, sequenceLength: 256, batchTokens: 2048 },
    validation: { every: 20, tokens: 16384 },
    checkpoints: { every: 50, keepLast: 2 },
  };
}

const warmup = 20;

/** The target model trained from scratch until the budget is spent. */
export const scratch = (data: string, lr = RATES.scratch): RunInput => ({
  name: 'scratch',
  ...common(data),
  stages: [
    {
      name: 'scratch',
      kind: 'train',
      until: { flops: BUDGET },
      optimizer: { lr },
      schedule: { kind: 'cosine', warmup },
    },
  ],
});

/** A quarter of the layers for a tenth of the budget, stacked four times (G_stack, Du et al. 2024), and trained until the budget is spent. */
export const grown = (data: string, lr = RATES.grown): RunInput => ({
  name: 'grown',
  ...common(data),
  stages: [
    {
      name: 'base',
      kind: 'train',
      model: { num_hidden_layers: 3 },
      until: { flops: BUDGET / 10 },
      optimizer: { lr },
      schedule: { kind: 'constant', warmup },
      release: true,
    },
    { name: 'stack', kind: 'grow', operator: 'stack', factor: 4 },
    {
      name: 'target',
      kind: 'train',
      until: { flops: BUDGET },
      optimizer: { lr },
      schedule: { kind: 'cosine', warmup },
    },
  ],
});
