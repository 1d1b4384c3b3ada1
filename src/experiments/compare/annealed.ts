import type { Run } from '../../records/index.js';

/** Largest final rate, as a share of the peak, that counts as brought down: schedules in use end at 0 to 10 %. */
const MOST_FLOOR = 0.2;

/** The same for last rates as recorded, which are those one step before a schedule's end. */
const MOST_LAST_SHARE = 0.12;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Whether a run ended with the end of a schedule that brings the learning rate down.
 *
 * A point in the middle of a schedule says little about what the same FLOPs would reach with a schedule made for them. The schedule is the
 * one that run.json names for the last train stage, or for an earlier one where the last stages go on with it. Where run.json does not
 * decide (records of another trainer, a stage that its loss may have ended early), the recorded rates do.
 */
export function isAnnealed(run: Run): boolean {
  if (run.records.train.length === 0 || !run.records.events.some((event) => event.name === 'end')) return false;
  return bySchedule(run) ?? byRates(run);
}

/** By the config; undefined where it does not decide. */
function bySchedule(run: Run): boolean | undefined {
  const stages = listOf(run.manifest?.config['stages']).filter(({ kind }) => kind === 'train');
  const origin = stages.findLast((stage) => fieldsOf(stage['schedule'])['kind'] !== 'continue');
  const { kind, floor, horizon } = fieldsOf(origin?.['schedule']);
  if (kind === 'constant') return false;
  if (origin === undefined || typeof kind !== 'string' || typeof floor !== 'number') return undefined;
  if (floor > MOST_FLOOR) return false;
  if (typeof horizon === 'number') {
    const steps = stepsSince(run, origin);
    return steps === undefined ? undefined : steps >= horizon;
  }
  // Without a horizon the schedule is as long as its stage, unless a loss can end that before its other limits.
  return fieldsOf(origin['until'])['loss'] === undefined ? true : undefined;
}

/** Steps from the beginning of a stage, its last repetition, to the run's end. Every stage ends with a validation. */
function stepsSince({ records: { validation } }: Run, stage: Fields): number | undefined {
  const repeat = typeof stage['repeat'] === 'number' ? stage['repeat'] : 1;
  const name = repeat > 1 ? `${String(stage['name'])}-${repeat}` : stage['name'];
  const first = validation.findIndex((record) => record.stage === name);
  if (first < 0) return undefined;
  return (validation.at(-1)?.step ?? NaN) - (validation[first - 1]?.step ?? 0);
}

/** By the rates alone: low against the run's peak, and lower than where the last stage began or rose to. */
function byRates({ records: { train } }: Run): boolean {
  const lastStage = train.stage[train.length - 1];
  const last = train.lr[train.length - 1] ?? NaN;
  let [peak, stagePeak] = [0, 0];
  for (let i = 0; i < train.length; i++) {
    const rate = train.lr[i] ?? NaN;
    if (rate > peak) peak = rate;
    if (train.stage[i] === lastStage && rate > stagePeak) stagePeak = rate;
  }
  return last <= MOST_LAST_SHARE * peak && last <= stagePeak / 2;
}

const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};

const listOf = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fieldsOf) : []);
