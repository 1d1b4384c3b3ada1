import type { RunInput } from '../src/index.js';
import { commonFields, exampleRun, type GrowingRun } from './stackbert.js';

/** Gradual stacking and MIDAS. */
export interface GradualStack extends GrowingRun {
  /** Number of stages k; each adds a k-th of the layers. */
  readonly stages: number;
  /** Exponent of the schedule Prop-alpha: stage i gets a share i^alpha of the steps. */
  readonly alpha: number;
  /** What is copied: the topmost block, or the one in the middle (MIDAS). */
  readonly block: 'top' | 'middle';
}

/** Steps of each stage: T_i = T i^alpha / sum over j of j^alpha, rounded so that they add up to T. */
export function proportionalSteps(steps: number, stages: number, alpha: number): number[] {
  const weights = Array.from({ length: stages }, (_, i) => (i + 1) ** alpha);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  let before = 0;
  let done = 0;
  return weights.map((weight) => {
    done += weight;
    const end = Math.round((steps * done) / sum);
    const part = end - before;
    before = end;
    return part;
  });
}

/**
 * Growing by a block of layers per stage (Saunshi et al. 2024, arXiv 2409.19044): the top block is copied (gradual stacking, Reddi et al. 2023), or the middle one
 * (MIDAS). One learning-rate schedule goes on over all stages; the optimizer's state of old layers is kept.
 */
export function gradualStack(run: GradualStack): RunInput {
  const { steps, stages: count, alpha, block, model, lr = 4e-3 } = run;
  const layers = model.num_hidden_layers / count;
  const stages = proportionalSteps(steps, count, alpha).flatMap((part, i): RunInput['stages'] => {
    const train = { name: `stage-${i + 1}`, kind: 'train', until: { steps: part }, optimizer: { lr } } as const;
    if (i === 0)
      return [
        { ...train, model: { num_hidden_layers: layers }, schedule: { kind: 'cosine', horizon: steps, warmup: '2%' } },
      ];
    const grow = {
      name: `grow-${i}`,
      kind: 'grow',
      operator: block === 'top' ? 'gradual-top' : 'midas',
      model: { num_hidden_layers: layers * (i + 1) },
      options: block === 'top' ? {} : { block: layers },
      optimizerState: 'copy',
    } as const;
    return [grow, { ...train, schedule: { kind: 'continue' } }];
  });
  return { ...commonFields(run, block === 'top' ? 'gradual-stack' : 'midas'), stages };
}

/** MIDAS: the middle block. */
export const midas = (run: Omit<GradualStack, 'block'>): RunInput => gradualStack({ ...run, block: 'middle' });

export default (): RunInput => gradualStack({ ...exampleRun, stages: 4, alpha: 1, block: 'top' });
