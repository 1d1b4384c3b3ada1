import { grid, type Sweep, type SweepCell } from '../src/experiments/sweep/index.js';
import type { RunInput } from '../src/index.js';

/** How targets are trained. */
export const arms = {
  plain: undefined,
  'kl-0.3': { kind: 'kl-dro', tau: 0.3 },
  'kl-1': { kind: 'kl-dro', tau: 1 },
  'kl-3': { kind: 'kl-dro', tau: 3 },
  'relaxed-kl-1': { kind: 'kl-dro', tau: 1, relaxFrom: 0.5 },
  'cvar-0.6': { kind: 'cvar-dro', alpha: 0.6 },
  'cvar-0.6-token': { kind: 'cvar-dro', alpha: 0.6, per: 'token' },
} as const;
export type Arm = keyof typeof arms;

const model = (layers: number, hidden: number) => ({
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: hidden / 16,
  num_key_value_heads: hidden / 16,
  head_dim: 16,
  intermediate_size: (hidden * 5) / 2,
});

const common = (data: string, seed: number): Omit<RunInput, 'name' | 'stages'> => ({
  seed,
  data: { train: data, sequenceLength: 64, batchTokens: 512, maxEpochs: 8 },
  validation: { every: 100000, tokens: 32768 },
  records: { every: 10 },
  checkpoints: { every: 100000, keepLast: 1 },
});

const train = (flops: number, lr: number) =>
  ({
    name: 'target',
    kind: 'train',
    until: { flops },
    optimizer: { lr },
    schedule: { kind: 'wsd', warmup: '5%' },
  }) as const;

/** The small model that targets are compared with. */
export const referenceRun = (data: string, seed: number, flops = 2e10): RunInput => ({
  ...common(data, seed),
  name: 'reference',
  model: model(2, 32),
  stages: [train(flops, 1e-2)],
});

/** A target of exact FLOPs, the reference's passes included; the reference's own training is not: it is there already. */
export function targetRun(data: string, arm: Arm, flops: number, seed: number, reference: string): RunInput {
  const objective = arms[arm];
  const stage = train(flops, 6e-3);
  return {
    ...common(data, seed),
    name: arm,
    model: model(4, 64),
    stages: [objective === undefined ? stage : { ...stage, objective: { ...objective, reference } }],
  };
}

/**
 * Targets trained plainly and against a reference at four budgets: what the exponents of their losses differ by is asked of
 * `strata compare --exponents` (Model Steering, arXiv 2505.06699).
 *
 * @param setup.references Checkpoints of the reference, one for each seed.
 */
export function referenceScaling(setup: {
  readonly data: string;
  readonly references: readonly string[];
  readonly arms?: readonly Arm[];
  readonly budgets?: readonly number[];
}): Sweep {
  const { data, references, arms: chosen = ['plain', 'kl-1'], budgets = [1e10, 2e10, 4e10, 8e10] } = setup;
  const seeds = references.map((_reference, i) => i + 1);
  const cells = grid({ arm: chosen, flops: budgets, seed: seeds }).map(
    ({ arm, flops, seed }): SweepCell => ({
      name: `${arm}-${flops.toExponential(1)}-seed${seed}`,
      coordinates: { arm, flops, seed },
      run: targetRun(data, arm, flops, seed, references[seed - 1]!),
    }),
  );
  return { name: 'reference-scaling', cells };
}

export default (): Sweep =>
  referenceScaling({
    data: 'runs/checks/noisy/data',
    references: [1, 2, 3].map((seed) => `runs/checks/reference-models/seed-${seed}/reference`),
  });
