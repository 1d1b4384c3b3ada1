import type { Schedule } from '../optim/index.js';
import type { FlopsPerToken } from '../planner/index.js';
import { stepsOf, type TrainStageConfig } from './config/index.js';
import { rewarmSteps, type StageRates } from './rates.js';
import type { TrainStage } from './run-plan.js';

/**
 * Steps until the first of a stage's limits in tokens, steps and FLOPs; undefined where it has none.
 *
 * @param spent FLOPs of the whole run when the stage begins.
 */
export function limitInSteps(
  { until }: Pick<TrainStageConfig, 'until'>,
  perToken: FlopsPerToken,
  tokensPerStep: number,
  spent: bigint,
  updateFlops = 0n,
): number | undefined {
  const limits: number[] = [];
  if (until.steps !== undefined) limits.push(until.steps);
  if (until.tokens !== undefined) limits.push(Math.ceil(until.tokens / tokensPerStep));
  if (until.flops !== undefined) {
    const perStep = perToken.flops * BigInt(tokensPerStep) + updateFlops;
    const left = BigInt(Math.round(until.flops)) - spent;
    limits.push(left <= 0n ? 0 : Number((left + perStep - 1n) / perStep));
  }
  return limits.length === 0 ? undefined : Math.min(...limits);
}

/** Where a stage's rates come from, `offset` steps after its schedule began. Throws RangeError as `scheduleOf`. */
export const stageRates = (
  { config, scheduleFrom }: Pick<TrainStage, 'config' | 'scheduleFrom'>,
  steps: number | undefined,
  offset: number,
): StageRates => ({
  schedule: scheduleOf(scheduleFrom, scheduleFrom === config ? steps : undefined),
  offset,
  rewarm: rewarmSteps(config, steps),
});

/**
 * A stage's schedule in steps.
 *
 * @param steps Steps of the stage, where they are known.
 * @throws RangeError where the schedule needs a number of steps that nobody gave.
 */
export function scheduleOf({ schedule }: Pick<TrainStageConfig, 'schedule'>, steps: number | undefined): Schedule {
  if (schedule.kind === 'continue') throw new RangeError('a schedule that goes on is described by the stage before');
  const total = (schedule.kind === 'constant' ? undefined : schedule.horizon) ?? steps;
  if (total === undefined) {
    if (schedule.kind === 'constant' && typeof schedule.warmup === 'number')
      return { kind: 'constant', warmup: schedule.warmup };
    throw new RangeError(
      'expected "horizon" or a limit in tokens, steps or flops, since shares of an unknown number of steps are no steps',
    );
  }
  const warmup = stepsOf(schedule.warmup, total);
  if (warmup > total) throw new RangeError(`expected a warm-up of at most ${total} steps, found ${warmup}`);
  switch (schedule.kind) {
    case 'constant':
      return { kind: 'constant', warmup };
    case 'cosine':
    case 'linear':
      return { kind: schedule.kind, warmup, floor: schedule.floor, steps: total };
    case 'wsd': {
      const cooldown = stepsOf(schedule.cooldown, total);
      if (warmup + cooldown > total)
        throw new RangeError(`expected warm-up and cooldown within ${total} steps, found ${warmup} + ${cooldown}`);
      return { kind: 'wsd', warmup, cooldown, floor: schedule.floor, steps: total };
    }
    default:
      return schedule satisfies never;
  }
}
