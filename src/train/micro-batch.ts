import { totalmem } from 'node:os';
import { InputError } from '../errors.js';
import type { OptimizerConfig } from './config/index.js';
import type { RunPlan, TrainStage } from './run-plan.js';
import { ReferenceModel } from './objective/index.js';
import { type StepForecast, TrainingSession } from './session.js';
import { maskShape } from './masks.js';
import type { MuonRule, StepShape } from './step-programs.js';

/** Share of the machine's memory that a step may take: the rest is for a second model during growth, and for others. */
const MEMORY_SHARE = 0.5;

/** What a stage's session is made of. */
export function stepShape(plan: RunPlan, stage: TrainStage, microBatchSequences: number): StepShape {
  const { betas, eps, weightDecay, newEntries, widthFactor } = stage.config.optimizer;
  const muon = muonRule(stage.config.optimizer);
  return {
    config: stage.model,
    family: stage.family,
    sequenceLength: plan.config.data.sequenceLength,
    microBatchSequences,
    trainable: stage.isTrained,
    optimizer: {
      ...{ beta1: betas[0], beta2: betas[1], eps, weightDecay },
      ...(muon === undefined ? {} : { muon }),
      ...(widthFactor === undefined ? {} : { widthFactor }),
    },
    newEntries: newEntries !== undefined || stage.routing?.layerRates === true,
    ...(stage.masks.length === 0 ? {} : { masks: maskShape(stage.masks, stage.model) }),
    withinDocuments: !plan.config.data.crossDocumentAttention,
    ...(stage.objective && { objective: stage.objective.attributes }),
    ...(stage.routing && { routing: { coefficient: stage.routing.coefficient } }),
    recompute: plan.config.recompute,
    precision: plan.config.precision,
  };
}

/** The rule for matrices that an optimizer's config names. */
export const muonRule = ({ kind, muon }: OptimizerConfig): MuonRule | undefined =>
  kind === 'muon' ? { momentum: 0.95, scale: 'moonshot', ...muon } : undefined;

/** What a step takes, a reference that runs beside it included. */
export function stepForecast(plan: RunPlan, stage: TrainStage, microBatchSequences: number): StepForecast {
  const shape = stepShape(plan, stage, microBatchSequences);
  const forecast = TrainingSession.forecast(shape);
  if (stage.objective?.runs === undefined) return forecast;
  return { ...forecast, peakBytes: forecast.peakBytes + ReferenceModel.forecastBytes(stage.objective.runs, shape) };
}

/** The micro-batch of a stage, where it came from, and what a step then takes. */
export interface MicroBatchChoice {
  readonly sequences: number;
  readonly from: string;
  readonly forecast: StepForecast;
  /** False where not even one sequence fits into the share of memory. */
  readonly fits: boolean;
}

/**
 * Chooses how many sequences go through the model at a time: what the config says, or the largest divisor of the step's sequences whose
 * forecast peak fits into half of the machine's memory. Needs no libtorch.
 */
export function chooseMicroBatch(plan: RunPlan, stage: TrainStage, memoryBytes = totalmem()): MicroBatchChoice {
  const { microBatch } = plan.config;
  const limit = memoryBytes * MEMORY_SHARE;
  const forecastOf = (sequences: number): StepForecast => stepForecast(plan, stage, sequences);
  if (microBatch !== 'auto') {
    const forecast = forecastOf(microBatch);
    return { sequences: microBatch, from: 'config', forecast, fits: forecast.peakBytes <= limit };
  }
  const from = `largest divisor of the step's sequences that fits into half of ${(memoryBytes / 2 ** 30).toFixed(1)} GiB`;
  for (let parts = 1; parts <= plan.batchSequences; parts++) {
    if (plan.batchSequences % parts !== 0) continue;
    const sequences = plan.batchSequences / parts;
    const forecast = forecastOf(sequences);
    const fits = forecast.peakBytes <= limit;
    if (fits || sequences === 1) return { sequences, from, forecast, fits };
  }
  throw new RangeError('a step has at least one sequence');
}

/** The same, for a run that is about to start: it must fit, unless the config insists. */
export function requireMicroBatch(plan: RunPlan, stage: TrainStage): number {
  const { sequences, forecast, fits } = chooseMicroBatch(plan, stage);
  if (!fits && plan.config.microBatch === 'auto')
    throw new InputError(
      `Stage "${stage.name}" takes ${(forecast.peakBytes / 2 ** 30).toFixed(1)} GiB with one sequence at a time, more than half of this ` +
        `machine's memory; try "recompute: true" or a smaller model, or set "microBatch: 1" to go on anyway.`,
    );
  return sequences;
}
