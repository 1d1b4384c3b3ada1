/** Shape of a learning-rate schedule, all lengths in steps. */
export type Schedule =
  | { readonly kind: 'constant'; readonly warmup: number }
  | { readonly kind: 'cosine' | 'linear'; readonly warmup: number; readonly floor: number; readonly steps: number }
  | {
      readonly kind: 'wsd';
      readonly warmup: number;
      readonly cooldown: number;
      readonly floor: number;
      readonly steps: number;
    };

/**
 * Share of the peak learning rate for the next update of a stage.
 *
 * Warm-up is linear and reaches 1 with update number `warmup`. Then, with p the share of the way from there to `steps`: cosine falls by
 * (1 + cos(pi p)) / 2, linear by 1 - p, both to `floor`; wsd stays at 1 and over its last `cooldown` steps falls by 1 - sqrt(p) (Hägele et al.,
 * arXiv 2405.18392, section 3). No update has the rate at p = 1: it would be the first one after the end.
 *
 * @param stageStep Updates that the stage has done so far, from 0.
 */
export function learningRateShare(schedule: Schedule, stageStep: number): number {
  if (stageStep < schedule.warmup) return (stageStep + 1) / schedule.warmup;
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'cosine':
      return fall(schedule.floor, (1 + Math.cos(Math.PI * progress(stageStep, schedule.warmup, schedule.steps))) / 2);
    case 'linear':
      return fall(schedule.floor, 1 - progress(stageStep, schedule.warmup, schedule.steps));
    case 'wsd': {
      const start = schedule.steps - schedule.cooldown;
      if (stageStep < start) return 1;
      return fall(schedule.floor, 1 - Math.sqrt(progress(stageStep, start, schedule.steps)));
    }
    default:
      return schedule satisfies never;
  }
}

const fall = (floor: number, share: number): number => floor + (1 - floor) * share;

const progress = (step: number, start: number, end: number): number =>
  end > start ? Math.min(1, (step - start) / (end - start)) : 1;
