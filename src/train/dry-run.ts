import { openCheckpoint } from '../interop/index.js';
import type { LoadedConfig } from './config/index.js';
import { dataFolders, openData } from './data.js';
import { openEngine } from './engine.js';
import type { Environment } from './environment.js';
import { forecastTime } from './forecast-time.js';
import { chooseMicroBatch, stepShape } from './micro-batch.js';
import { planRun } from './plan.js';
import type { RunFacts, RunPlan, Stage, TrainStage } from './run-plan.js';
import { stageRates } from './stage-schedule.js';
import { ratesAt } from './rates.js';
import { factsOf, parentFacts } from './run.js';

/** What one stage will be. */
export interface DryRunStage {
  readonly name: string;
  readonly kind: 'train' | 'grow';
  readonly parameters: number;
  readonly nonEmbeddingParameters: number;
  readonly layers: number;
  readonly hidden: number;
  readonly growth?: { readonly operator: string; readonly growthFactor: number; readonly planHash: string };
  readonly trainedParameters?: number;
  readonly steps?: number;
  readonly tokens?: number;
  readonly flopsPerToken?: string;
  /** Exact FLOPs of the stage. */
  readonly flops?: string;
  readonly microBatch?: { readonly sequences: number; readonly from: string; readonly fits: boolean };
  readonly memoryBytes?: {
    readonly parameters: number;
    readonly gradients: number;
    readonly moments: number;
    readonly activations: number;
    readonly peak: number;
  };
  /** Forecast of training steps on this machine, without validation and checkpoints; only where it was asked for and steps are not too large. */
  readonly time?: { readonly secondsPerStep: number; readonly tokensPerSecond: number; readonly seconds?: number };
  /** Calls of an optimizer step with one micro-batch. */
  readonly operations?: number;
  readonly schedule?: { readonly kind: string; readonly lr: readonly (readonly [stageStep: number, rate: number])[] };
}

/** Every derived value of a run, without running it. */
export interface DryRun {
  readonly name: string;
  readonly stages: readonly DryRunStage[];
  readonly derived: RunPlan['derived'];
  /** Every value of the config with where it came from. */
  readonly values: Readonly<Record<string, { readonly value: unknown; readonly from: string }>>;
  readonly totals: {
    readonly steps: number;
    readonly tokens: number;
    readonly flops: string;
    readonly flops6nd: string;
  } | null;
  readonly warnings: readonly string[];
}

/**
 * Derives everything about a run that its config decides: sizes, FLOPs, steps, memory, schedule. Needs no libtorch, and no data where
 * the config names the vocabulary's size.
 *
 * @param options.time Forecasts the time of steps, too: this loads the engine and runs a few steps of two layers, once per machine and shape.
 */
export function dryRun(loaded: LoadedConfig, options: { time?: boolean; threads?: number } = {}): DryRun {
  const warnings: string[] = [];
  const plan = planRun(loaded, gatherFacts(loaded, warnings));
  const { totals } = plan;
  const environment = options.time === true ? openEngine(options.threads) : undefined;
  const ledger = totals?.ledger.totals();
  return {
    name: plan.config.name,
    stages: plan.stages.map((stage) => describeStage(plan, stage, warnings, environment)),
    derived: plan.derived,
    values: Object.fromEntries(
      Object.entries(loaded.sources).map(([path, from]) => [path, { value: valueAt(plan.config, path), from }]),
    ),
    totals:
      totals === undefined || ledger === undefined
        ? null
        : { steps: totals.steps, tokens: ledger.tokens, flops: ledger.flopsExact, flops6nd: ledger.flops6ndExact },
    warnings,
  };
}

/** What data and parent say; data that are not there yet are only a warning. */
function gatherFacts({ config }: LoadedConfig, warnings: string[]): RunFacts {
  let facts: RunFacts = {};
  try {
    const data = openData(config);
    facts = factsOf(data, undefined);
    data.close();
  } catch (error) {
    warnings.push(`${dataFolders(config).train} was not used: ${(error as Error).message}`);
  }
  if (config.from === undefined) return facts;
  using parent = openCheckpoint(config.from);
  return { ...facts, parent: parentFacts(parent) };
}

function describeStage(
  plan: RunPlan,
  stage: Stage,
  warnings: string[],
  environment: Environment | undefined,
): DryRunStage {
  const size = {
    name: stage.name,
    kind: stage.kind,
    parameters: stage.counts.total,
    nonEmbeddingParameters: stage.counts.nonEmbedding,
    layers: stage.model.num_hidden_layers,
    hidden: stage.model.hidden_size,
  };
  if (stage.kind === 'grow') {
    const { operator, growthFactor, planHash, warnings: found } = stage.growth.plan;
    warnings.push(...found);
    return { ...size, growth: { operator, growthFactor, planHash } };
  }
  const { sequences, from, fits, forecast } = chooseMicroBatch(plan, stage);
  if (!fits)
    warnings.push(
      `stage "${stage.name}" takes ${(forecast.peakBytes / 2 ** 30).toFixed(1)} GiB, more than half of this machine's memory.`,
    );
  const tokens = stage.steps === undefined ? undefined : stage.steps * plan.tokensPerStep;
  return {
    ...size,
    trainedParameters: forecast.gradientBytes / 4,
    flopsPerToken: String(stage.perToken.flops),
    ...(stage.steps === undefined || tokens === undefined
      ? {}
      : {
          steps: stage.steps,
          tokens,
          flops: String(stage.perToken.flops * BigInt(tokens) + stage.updateFlops * BigInt(stage.steps)),
        }),
    microBatch: { sequences, from, fits },
    memoryBytes: {
      parameters: forecast.parameterBytes,
      gradients: forecast.gradientBytes,
      moments: forecast.momentBytes,
      activations: forecast.activationBytes,
      peak: forecast.peakBytes,
    },
    operations: forecast.operations,
    ...(environment === undefined || !fits ? {} : timeOf(plan, stage, sequences, environment)),
    schedule: { kind: stage.config.schedule.kind, lr: scheduleSamples(stage) },
  };
}

function timeOf(
  plan: RunPlan,
  stage: TrainStage,
  sequences: number,
  environment: Environment,
): Pick<DryRunStage, 'time'> {
  const time = forecastTime(stepShape(plan, stage, sequences), plan.batchSequences / sequences, environment);
  if (time === undefined) return {};
  const { secondsPerStep } = time;
  return {
    time: {
      secondsPerStep,
      tokensPerSecond: plan.tokensPerStep / secondsPerStep,
      ...(stage.steps === undefined ? {} : { seconds: secondsPerStep * stage.steps }),
    },
  };
}

/** The learning rate at the first, the middle and the last update, and where warm-up ends and cooldown begins. */
function scheduleSamples(stage: TrainStage): [number, number][] {
  const rates = stageRates(stage, stage.steps, stage.scheduleOffset ?? 0);
  const { schedule, offset, rewarm } = rates;
  const last = (stage.steps ?? schedule.warmup + 1) - 1;
  const corners = [0, rewarm, schedule.warmup - offset, Math.floor(last / 2), last];
  if (schedule.kind === 'wsd') corners.push(schedule.steps - schedule.cooldown - offset);
  return [...new Set(corners)]
    .filter((step) => step >= 0 && step <= last)
    .sort((a, b) => a - b)
    .map((step) => [step, ratesAt(stage.config, rates, step).lr]);
}

function valueAt(config: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], config);
}
