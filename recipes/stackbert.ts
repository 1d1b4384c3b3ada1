import type { RunInput } from '../src/index.js';

/** What a recipe of a growing run needs to know. */
export interface GrowingRun {
  /** Folder of token shards. */
  readonly data: string;
  /** The model at the end; its layers are reached in stages. */
  readonly model: Record<string, unknown> & { readonly num_hidden_layers: number };
  /** Optimizer steps of all stages together. */
  readonly steps: number;
  readonly lr?: number;
  readonly sequenceLength?: number;
  readonly batchTokens?: number;
  readonly seed?: number;
}

/** Fields that the recipes here share: tokens, batches and how often to look. */
export function commonFields(
  { data, model, steps, sequenceLength = 256, batchTokens = 8192, seed = 1 }: GrowingRun,
  name: string,
): Pick<RunInput, 'name' | 'seed' | 'model' | 'data' | 'validation' | 'checkpoints'> {
  const every = Math.max(1, Math.round(steps / 50));
  return {
    name,
    seed,
    model,
    data: { train: data, sequenceLength, batchTokens },
    validation: { every },
    checkpoints: { every: 5 * every },
  };
}

/** A small model for `strata train recipes/...`; change it with --set. */
export const exampleRun: GrowingRun = {
  data: 'data/shards',
  model: { hidden_size: 128, num_hidden_layers: 12, num_attention_heads: 4, intermediate_size: 320, vocab_size: 2048 },
  steps: 2000,
};

/**
 * StackBERT (Gong et al., ICML 2019): 3, 6, then 12 layers, doubled by stacking, the optimizer reset each time.
 *
 * Shares of the steps and rates are those of the authors' script: 50,000, 20,000 and 330,000 of 400,000 updates; the rate falls from 8e-4 to 5.5e-4,
 * from there to 3e-4, from there to 0.
 */
export function stackbert(run: GrowingRun): RunInput {
  const { lr = 8e-4, steps, model } = run;
  const quarter = model.num_hidden_layers / 4;
  const stage = (
    name: string,
    share: number,
    from: number,
    to: number,
    warmup: number,
  ): RunInput['stages'][number] => ({
    name,
    kind: 'train',
    until: { steps: Math.round(steps * share) },
    optimizer: { lr: (lr * from) / 8 },
    schedule: { kind: 'linear', warmup, floor: to / from },
  });
  const double = (name: string): RunInput['stages'][number] => ({ name, kind: 'grow', operator: 'stack', factor: 2 });
  return {
    ...commonFields(run, 'stackbert'),
    stages: [
      { ...stage('quarter', 0.125, 8, 5.5, Math.round(steps * 0.025)), model: { num_hidden_layers: quarter } } as never,
      double('stack-1'),
      stage('half', 0.05, 5.5, 3, 1),
      double('stack-2'),
      stage('whole', 0.825, 3, 0, 1),
    ],
  };
}

export default (): RunInput => stackbert(exampleRun);
