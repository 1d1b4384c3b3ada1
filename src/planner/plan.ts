import { InputError } from '../errors.js';
import {
  countParameters,
  growthFactor,
  parseModelConfig,
  type ModelConfig,
  type ParameterCounts,
} from '../architecture/index.js';
import { DEFAULT_MFU, devices } from './devices.js';
import { FlopLedger, trainingFlopsPerToken, type FlopsPerToken } from './ledger.js';
import { trainingMemory, type TrainingMemory } from './memory.js';
import { expectedSpeedup, type ExpectedSpeedup } from './published.js';
import { shapeFor } from './shapes.js';
import {
  FALLBACK_GROWTH_SHARE,
  fittedGrowthFactor,
  growthTokens,
  inFittedRange,
  MAX_GROWTH_SHARE,
  PAPER_GROWTH_FACTOR,
  paperTiming,
  type TimingConstants,
} from './timing.js';

/** What is asked of the planner. At least two of `params` (or `config`), `tokens` and `flops`, or `flops` alone. */
export interface PlanRequest {
  /** Nominal parameters of the target, embeddings included. */
  readonly params?: number;
  /** The target's architecture, in place of a shape for `params`. */
  readonly config?: ModelConfig;
  /** Tokens that the target would train on from scratch: the budget. */
  readonly tokens?: number;
  /** The same budget as 6 N D. */
  readonly flops?: number;
  readonly growthFactor?: number;
  readonly growthTokens?: number;
  readonly sequenceLength?: number;
  readonly vocabSize?: number;
  readonly constants?: TimingConstants;
  readonly precision?: 'f32' | 'bf16';
  readonly device?: {
    readonly gpu: string;
    readonly count: number;
    readonly mfu?: number;
    readonly pricePerHour?: number;
  };
}

/** FLOPs of one stage under the three conventions. */
export type StageFlops = Readonly<
  Record<'flops' | 'flops6nd' | 'flopsNonEmbedding', number> & { flopsExact: string; tokens: number }
>;

/** A model in the plan. */
export interface PlannedModel {
  readonly config: ModelConfig;
  readonly parameters: ParameterCounts;
  readonly flopsPerToken: number;
}

/** When to grow, by how much, and what it costs. */
export interface Plan {
  /** d: tokens on which the base is trained. */
  readonly growthTokens: number;
  /** Factor by which the operator multiplies the layers. */
  readonly growthFactor: number;
  /** The paper's g: the ratio of non-embedding parameters. */
  readonly parameterRatio: number;
  readonly inFittedRange: boolean;
  readonly nominal: { readonly params: number; readonly tokens: number; readonly flops: number };
  readonly target: PlannedModel;
  readonly base: PlannedModel;
  /** `scratch` is the budget; `base` and `target` are the stages of the grown run and together cost the same. */
  readonly flops: {
    readonly scratch: StageFlops;
    readonly base: StageFlops;
    readonly target: StageFlops;
    /** Share of the budget that the base takes, counted exactly; and as the paper counts it, in target tokens d / g. */
    readonly baseShare: number;
    readonly paperBaseTokens: number;
    readonly exactBaseTokens: number;
  };
  readonly expectedSpeedup: (ExpectedSpeedup & { readonly saved: readonly [low: number, high: number] }) | null;
  readonly memory: TrainingMemory;
  readonly training: { readonly learningRate: number; readonly batchTokens: number };
  readonly time: PlannedTime | null;
  /** Where each value came from. */
  readonly sources: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Hours on the asked-for devices, and their cost where a price was given. */
export interface PlannedTime {
  readonly device: string;
  readonly count: number;
  readonly mfu: number;
  readonly hours: Readonly<Record<'base' | 'target' | 'total', number>>;
  readonly deviceHours: number;
  readonly cost: number | null;
}

const DEFAULT_SEQUENCE_LENGTH = 2048;
/** Tokens per parameter at the compute optimum. */
const COMPUTE_OPTIMAL_RATIO = 20;

/**
 * Plans a growth run for a budget.
 *
 * Nominal sizes go into the paper's formula, exact counts into FLOPs. A size outside the fitted range is planned all the same, with a warning.
 *
 * @throws InputError where the request does not determine a size and a budget.
 */
export function makePlan(request: PlanRequest): Plan {
  const sources: Record<string, string> = {};
  const warnings: string[] = [];
  const nominal = resolveBudget(request, sources);
  const factor = request.growthFactor ?? PAPER_GROWTH_FACTOR;
  sources['growthFactor'] =
    request.growthFactor === undefined
      ? `G_stack (arXiv 2405.15319): 4 throughout, 2 to 4 best; its fit of g gives ${fittedGrowthFactor(nominal.params, nominal.flops).toPrecision(2)} here (reported, poor)`
      : 'the user';
  const sequenceLength =
    request.sequenceLength ?? Math.min(DEFAULT_SEQUENCE_LENGTH, request.config?.max_position_embeddings ?? Infinity);
  const target = targetConfig(request, nominal.params, factor, sequenceLength, sources, warnings);
  const base = baseConfig(target, factor, sources, warnings);
  const depthFactor = target.num_hidden_layers / base.num_hidden_layers;
  const constants = request.constants ?? paperTiming;
  const d = timing(request, nominal, constants, sources, warnings);
  const flops = stageFlops(base, target, nominal.tokens, d, depthFactor, sequenceLength);
  const speedup = expectedSpeedup(nominal.params, nominal.tokens);
  sources['expectedSpeedup'] = speedup?.source ?? 'nothing published within a factor of three of this size and budget';
  noteShortRun(nominal, warnings);
  const precision = request.precision ?? 'bf16';
  sources['memory'] =
    `${precision} weights and gradients, AdamW in float32, one sequence of ${sequenceLength}; activations are an estimate`;
  return {
    growthTokens: d,
    growthFactor: depthFactor,
    parameterRatio: growthFactor(base, target),
    inFittedRange: inFittedRange(nominal.params, nominal.flops, constants),
    nominal,
    target: planned(target, sequenceLength),
    base: planned(base, sequenceLength),
    flops,
    expectedSpeedup:
      speedup === undefined ? null : { ...speedup, saved: [1 - 1 / (1 + speedup.low), 1 - 1 / (1 + speedup.high)] },
    memory: trainingMemory(target, { sequenceLength, precision, shards: request.device?.count ?? 1 }),
    training: trainingValues(flops.scratch.flops, sequenceLength, sources),
    time: plannedTime(request, flops, sources),
    sources,
    warnings,
  };
}

function resolveBudget(request: PlanRequest, sources: Record<string, string>): Plan['nominal'] {
  const { tokens, flops } = request;
  const params = request.params ?? (request.config === undefined ? undefined : countParameters(request.config).total);
  for (const [name, value] of Object.entries({ params, tokens, flops }))
    if (value !== undefined && !(value > 0))
      throw new InputError(`--${name}: expected a positive number, found ${value}.`);
  const given = (name: string): void =>
    void (sources[name] = name === 'params' && request.params === undefined ? 'counted from the config' : 'the user');
  if (params !== undefined && tokens !== undefined && flops !== undefined)
    throw new InputError('--params (or --config), --tokens and --flops say the same thing twice: give two of them.');
  if (params !== undefined && tokens !== undefined) {
    given('params');
    given('tokens');
    sources['flops'] = '6 N D';
    return { params, tokens, flops: 6 * params * tokens };
  }
  if (flops === undefined)
    throw new InputError(
      'The plan needs a budget: give --params (or --config) with --tokens or --flops, or --flops alone.',
    );
  given('flops');
  if (params !== undefined) {
    given('params');
    sources['tokens'] = 'C / (6 N)';
    return { params, tokens: flops / (6 * params), flops };
  }
  if (tokens !== undefined) {
    given('tokens');
    sources['params'] = 'C / (6 D)';
    return { params: flops / (6 * tokens), tokens, flops };
  }
  const optimal = Math.sqrt(flops / (6 * COMPUTE_OPTIMAL_RATIO));
  sources['params'] = sources['tokens'] =
    'compute-optimal for C = 6 N D with D = 20 N (Hoffmann et al. 2022, arXiv 2203.15556)';
  return { params: optimal, tokens: optimal * COMPUTE_OPTIMAL_RATIO, flops };
}

function targetConfig(
  request: PlanRequest,
  params: number,
  factor: number,
  sequenceLength: number,
  sources: Record<string, string>,
  warnings: string[],
): ModelConfig {
  if (request.config !== undefined) {
    sources['target'] = 'the given config';
    return request.config;
  }
  const { config, source } = shapeFor(params, factor, sequenceLength, request.vocabSize);
  sources['target'] = source;
  const exact = countParameters(config).total;
  if (Math.abs(exact / params - 1) > 0.1)
    warnings.push(
      `The nearest shape has ${exact.toExponential(3)} parameters, ${Math.round((exact / params - 1) * 100)} % off the asked-for ${params.toExponential(2)}.`,
    );
  return config;
}

/** The target with a divisor of its layers that comes nearest to layers / factor. */
function baseConfig(
  target: ModelConfig,
  factor: number,
  sources: Record<string, string>,
  warnings: string[],
): ModelConfig {
  const layers = target.num_hidden_layers;
  if (!(factor > 1)) throw new InputError(`--factor: expected a number above 1, found ${factor}.`);
  if (layers < 2) throw new InputError(`The target has ${layers} layer(s), too few to be grown in depth.`);
  const divisors = Array.from({ length: layers - 1 }, (_, i) => i + 1).filter((count) => layers % count === 0);
  const miss = (count: number): number => Math.abs(Math.log((count * factor) / layers));
  const baseLayers = divisors.reduce((best, count) => (miss(count) < miss(best) ? count : best));
  if (baseLayers * factor !== layers)
    warnings.push(
      `${layers} layers are no multiple of ${factor}; the base gets ${baseLayers} layers, so the factor is ${layers / baseLayers}.`,
    );
  if (baseLayers === 1) warnings.push('A base of one layer was found to hurt (G_stack, arXiv 2405.15319).');
  sources['base'] = `the target with ${baseLayers} of its ${layers} layers`;
  return parseModelConfig({ ...target, num_hidden_layers: baseLayers }, 'planned base');
}

function timing(
  request: PlanRequest,
  { params, tokens, flops }: Plan['nominal'],
  constants: TimingConstants,
  sources: Record<string, string>,
  warnings: string[],
): number {
  if (!inFittedRange(params, flops, constants)) {
    const { params: n, flops: c } = constants.range;
    const range = (values: readonly [number, number]): string =>
      values.map((value) => value.toExponential(1)).join(' to ');
    warnings.push(
      `Outside the range that growth timing was fitted on (N ${range(n)}, C ${range(c)}): an extrapolation.`,
    );
  }
  if (request.growthTokens !== undefined) {
    sources['growthTokens'] = 'the user';
    return request.growthTokens;
  }
  const fitted = growthTokens(params, flops, constants);
  sources['growthTokens'] = constants.source;
  if (fitted <= MAX_GROWTH_SHARE * tokens) return fitted;
  const proposed = FALLBACK_GROWTH_SHARE * tokens;
  sources['growthTokens'] = `${FALLBACK_GROWTH_SHARE} D, because the fit asks for more than ${MAX_GROWTH_SHARE} D`;
  warnings.push(
    `The fit gives d = ${fitted.toExponential(2)} tokens, ${(fitted / tokens).toPrecision(2)} times the whole budget; proposed instead: ` +
      `${FALLBACK_GROWTH_SHARE} D = ${proposed.toExponential(2)} (3 to 10 % of the compute is worth a sweep).`,
  );
  return proposed;
}

function stageFlops(
  base: ModelConfig,
  target: ModelConfig,
  tokens: number,
  d: number,
  factor: number,
  sequenceLength: number,
): Plan['flops'] {
  const perTarget = trainingFlopsPerToken(target, sequenceLength);
  const perBase = trainingFlopsPerToken(base, sequenceLength);
  const scratch = spent(perTarget, Math.round(tokens));
  const baseStage = spent(perBase, Math.round(d));
  const left = BigInt(scratch.flopsExact) - BigInt(baseStage.flopsExact);
  if (left <= 0n)
    throw new InputError(`The base alone would cost more than the budget: ${d.toExponential(2)} tokens are too many.`);
  return {
    scratch,
    base: baseStage,
    target: spent(perTarget, Number(left / perTarget.flops)),
    baseShare: baseStage.flops / scratch.flops,
    paperBaseTokens: d / factor,
    exactBaseTokens: baseStage.flops / Number(perTarget.flops),
  };
}

function spent(perToken: FlopsPerToken, tokens: number): StageFlops {
  const ledger = new FlopLedger();
  ledger.add(perToken, tokens);
  const { flops, flopsExact, flops6nd, flopsNonEmbedding } = ledger.totals();
  return { tokens, flops, flopsExact, flops6nd, flopsNonEmbedding };
}

const planned = (config: ModelConfig, sequenceLength: number): PlannedModel => ({
  config,
  parameters: countParameters(config),
  flopsPerToken: Number(trainingFlopsPerToken(config, sequenceLength).flops),
});

/** Peak learning rate and batch size by the power laws of DeepSeek LLM (Bi et al. 2024, arXiv 2401.02954, equation 1). */
function trainingValues(flops: number, sequenceLength: number, sources: Record<string, string>): Plan['training'] {
  sources['learningRate'] = 'DeepSeek LLM (arXiv 2401.02954): 0.3118 C^-0.125; a start for a sweep by factors of 2';
  sources['batchTokens'] = 'DeepSeek LLM (arXiv 2401.02954): 0.2920 C^0.3271, in whole sequences';
  return {
    learningRate: Number((0.3118 * flops ** -0.125).toPrecision(2)),
    batchTokens: Math.max(1, Math.round((0.292 * flops ** 0.3271) / sequenceLength)) * sequenceLength,
  };
}

function plannedTime(request: PlanRequest, flops: Plan['flops'], sources: Record<string, string>): PlannedTime | null {
  if (request.device === undefined) return null;
  const { gpu, count, mfu = DEFAULT_MFU, pricePerHour } = request.device;
  const device = devices[gpu];
  if (device === undefined)
    throw new InputError(`--gpu: expected one of ${Object.keys(devices).join(', ')}, found "${gpu}".`);
  if (!(mfu > 0 && mfu <= 1)) throw new InputError(`--mfu: expected a share above 0 and at most 1, found ${mfu}.`);
  const hours = (work: number): number => work / (device.peakFlops * mfu * count) / 3600;
  sources['time'] =
    `${device.source}: ${device.peakFlops / 1e12} TFLOP/s dense bf16; utilisation ${request.device.mfu === undefined ? 'assumed' : 'given'}`;
  const times = { base: hours(flops.base.flops), target: hours(flops.target.flops) };
  const total = times.base + times.target;
  return {
    device: device.name,
    count,
    mfu,
    hours: { ...times, total },
    deviceHours: total * count,
    cost: pricePerHour === undefined ? null : total * count * pricePerHour,
  };
}

function noteShortRun({ params, tokens }: Plan['nominal'], warnings: string[]): void {
  if (tokens / params < COMPUTE_OPTIMAL_RATIO)
    warnings.push(
      `${(tokens / params).toPrecision(2)} tokens per parameter, fewer than ${COMPUTE_OPTIMAL_RATIO}: the target is too large for its budget, and a smaller model ` +
        'from scratch may do as well as a grown one; compare with that, too.',
    );
}
