import { learningRateShare, type Schedule } from './schedules.js';

/** How new entries of a grown model learn faster than old ones. */
export interface NewEntries {
  /** Peak in units of the old entries' rate at growth. */
  readonly peak: number;
  readonly warmup: number;
}

/**
 * Share of the peak learning rate for entries that a growth added (SPARKLING, arXiv 2602.02472, section 4).
 *
 * They begin at the schedule's share e at growth, rise in a straight line to peak * e in `warmup` steps, then fall by a cosine to the floor that
 * all entries share at the schedule's end. Schedules that do not fall from there on (constant, wsd) are followed at `peak` times their share.
 *
 * @param growth Step of the schedule at which the growth happened.
 * @param step Updates since then, from 0.
 */
export function newEntriesRate(schedule: Schedule, growth: number, step: number, { peak, warmup }: NewEntries): number {
  const start = learningRateShare(schedule, growth);
  if (step < warmup) return start * (1 + ((peak - 1) * step) / warmup);
  if (schedule.kind === 'constant' || schedule.kind === 'wsd') return peak * learningRateShare(schedule, growth + step);
  const length = schedule.steps - growth - warmup;
  const share = length > 0 ? Math.min(1, (step - warmup) / length) : 1;
  return schedule.floor + ((peak * start - schedule.floor) * (1 + Math.cos(Math.PI * share))) / 2;
}
