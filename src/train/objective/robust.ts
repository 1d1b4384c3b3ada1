import { EXCESS_SUMS } from '../../ops/index.js';
import type { ExcessObjectiveConfig } from '../config/objective.js';

/** What one step hands on to the next. */
export interface ObjectiveState {
  /** Logarithm of the moving mean of exp(excess / tau). */
  readonly logNormaliser: number;
  /** Mean excess loss of the last step, in nats. */
  readonly excess: number;
}

/** What a step of a robust objective came to. */
export interface RobustStep {
  /** Plain mean loss, in nats per token. */
  readonly loss: number;
  /** What the gradients have to be multiplied by, so that weights are those of the present normaliser. */
  readonly gradientScale: number;
  readonly state: ObjectiveState;
  readonly measured: RobustRecord;
}

/** What train records say of a robust objective, in nats. */
export interface RobustRecord {
  /** Mean excess loss over the reference. */
  readonly excess: number;
  /** The same, weighted as it was trained on. */
  readonly weightedExcess: number;
  /** The objective: tau * log mean exp(excess / tau), or the mean of the largest. */
  readonly robustExcess: number;
  /** 1 / tau as it was used; 0 is ordinary training. */
  readonly inverseTau?: number;
}

/** 1 / tau for the next step: falls with the mean excess below `relaxFrom`, to 0 where the target has reached the reference. */
export function inverseTau(config: ExcessObjectiveConfig, state: ObjectiveState | undefined): number {
  if (config.kind !== 'kl-dro') return 0;
  const { tau, relaxFrom } = config;
  if (relaxFrom === undefined || state === undefined) return 1 / tau;
  return Math.min(1, Math.max(0, state.excess / relaxFrom)) / tau;
}

/**
 * Ends a step whose micro-batches were weighed with the normaliser of the step before.
 *
 * Weights are linear in 1 / u, so that the present u, which is known only now, is a factor on the gradients: results do not depend on
 * how a step is split into micro-batches. u <- (1 - gamma) u + gamma mean exp(r / tau), in log space; the first step has gamma 1.
 *
 * @param sums Over the step, by `EXCESS_SUMS`; shares of all its tokens sum to one.
 */
export function robustStep(
  config: ExcessObjectiveConfig,
  before: ObjectiveState | undefined,
  sums: ArrayLike<number>,
): RobustStep {
  const sum = (name: (typeof EXCESS_SUMS)[number]): number => sums[EXCESS_SUMS.indexOf(name)]!;
  const [loss, excess] = [sum('loss'), sum('excess')];
  if (config.kind === 'cvar-dro') {
    const robust = sum('weightedExcess');
    const measured = { excess, weightedExcess: robust, robustExcess: robust };
    return { loss, gradientScale: 1, state: { logNormaliser: 0, excess }, measured };
  }
  const gamma = before === undefined ? 1 : config.gamma;
  // A step of conversations without a token of an answer has no weights, and changes nothing.
  const mean = sum('weight') === 0 ? 1 : sum('weight');
  const change = 1 - gamma + gamma * mean;
  const rate = inverseTau(config, before);
  const logMean = (before?.logNormaliser ?? 0) + Math.log(mean);
  return {
    loss,
    gradientScale: 1 / change,
    state: { logNormaliser: (before?.logNormaliser ?? 0) + Math.log(change), excess },
    measured: {
      excess,
      weightedExcess: sum('weightedExcess') / mean,
      robustExcess: rate === 0 ? excess : logMean / rate,
      inverseTau: rate,
    },
  };
}
