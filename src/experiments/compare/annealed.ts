import type { Run } from '../../records/index.js';

/**
 * A schedule counts as finished when the learning rate has come down to this share of the stage's peak.
 *
 * A cosine to 10 % has; and one that runs through a growth as late as its middle, which sees the target's stage begin at 55 %, ends at
 * 18 % of that.
 */
const FINISHED_SHARE = 0.2;

/**
 * Whether a run's last stage ended with its learning rate brought down.
 *
 * A point in the middle of a schedule says little about what the same FLOPs would reach with a schedule made for them.
 */
export function isAnnealed(run: Run): boolean {
  const { train, events } = run.records;
  if (train.length === 0 || !events.some((event) => event.name === 'end')) return false;
  const lastStage = train.stage[train.length - 1];
  let peak = 0;
  let last = NaN;
  for (let i = 0; i < train.length; i++) {
    if (train.stage[i] !== lastStage) continue;
    last = train.lr[i] ?? NaN;
    if (last > peak) peak = last;
  }
  return last <= FINISHED_SHARE * peak;
}
