import { learningRateShare, newEntriesRate, type Schedule } from '../optim/index.js';
import { stepsOf, type TrainStageConfig } from './config/index.js';

/** Where a stage's learning rates come from. */
export interface StageRates {
  readonly schedule: Schedule;
  /** Steps that the schedule had behind it when the stage began: 0 unless it goes on from a stage before. */
  readonly offset: number;
  /** Steps of rising to the schedule again. */
  readonly rewarm: number;
}

/** The rates of one update. */
export interface Rates {
  readonly lr: number;
  /** Rate of entries that growth added; equal to `lr` where they have none of their own. */
  readonly newEntries: number;
}

/** Steps of rising again of a stage whose schedule goes on. */
export const rewarmSteps = ({ schedule }: Pick<TrainStageConfig, 'schedule'>, steps: number | undefined): number =>
  schedule.kind === 'continue' ? stepsOf(schedule.warmup, steps ?? 0) : 0;

/** The rates for the next update of a stage that has done `stageStep` of them. */
export function ratesAt(
  { optimizer }: Pick<TrainStageConfig, 'optimizer'>,
  { schedule, offset, rewarm }: StageRates,
  stageStep: number,
): Rates {
  const again = stageStep < rewarm ? (stageStep + 1) / rewarm : 1;
  const lr = optimizer.lr * learningRateShare(schedule, offset + stageStep) * again;
  const { newEntries } = optimizer;
  if (newEntries === undefined) return { lr, newEntries: lr };
  return { lr, newEntries: again * optimizer.lr * newEntriesRate(schedule, offset, stageStep, newEntries) };
}
