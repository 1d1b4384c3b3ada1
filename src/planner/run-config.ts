import { stringify } from 'yaml';
import type { Plan } from './plan.js';

/** What a run config needs beyond the plan. */
export interface RunConfigOptions {
  readonly name: string;
  readonly trainData: string;
  readonly validationData: string;
  readonly sequenceLength: number;
  readonly precision: 'f32' | 'bf16';
}

/** The plan as a run config: train the base, stack it, train on until the budget is spent. */
export function planToRunConfig(plan: Plan, options: RunConfigOptions): Record<string, unknown> {
  const { target, base, flops, training } = plan;
  const schedule = { kind: 'cosine' };
  const optimizer = { lr: training.learningRate };
  return {
    name: options.name,
    seed: 1,
    model: modelFields(target.config),
    data: {
      train: options.trainData,
      validation: options.validationData,
      sequenceLength: options.sequenceLength,
      batchTokens: training.batchTokens,
    },
    precision: options.precision,
    stages: [
      {
        name: 'base',
        kind: 'train',
        model: { num_hidden_layers: base.config.num_hidden_layers },
        until: { tokens: flops.base.tokens },
        optimizer,
        schedule,
      },
      { name: 'stack', kind: 'grow', operator: 'stack', factor: plan.growthFactor, optimizerState: 'fresh' },
      { name: 'target', kind: 'train', until: { flops: flops.scratch.flops }, optimizer, schedule },
    ],
  };
}

/** The run config as YAML, with where its values came from as comments. */
export function planToYaml(plan: Plan, options: RunConfigOptions): string {
  const comments = [
    ...Object.entries(plan.sources).map(([name, source]) => `# ${name}: ${source}`),
    ...plan.warnings.map((warning) => `# Warning: ${warning}`),
  ];
  return `${comments.join('\n')}\n${stringify(planToRunConfig(plan, options), { aliasDuplicateObjects: false })}`;
}

/** Fields that differ from what every config has anyway would be lost by a shorter list, so all set fields are written. */
function modelFields(config: Plan['target']['config']): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined && value !== null));
}
