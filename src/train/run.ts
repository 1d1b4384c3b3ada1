import { join } from 'node:path';
import { z } from 'zod';
import { WorkError } from '../errors.js';
import { loadTokenizer } from '../data/index.js';
import { type EvaluationCallback, evaluationCallback } from '../eval/index.js';
import { type Checkpoint, openCheckpoint } from '../interop/index.js';
import { FlopLedger } from '../planner/index.js';
import { canonicalJson, RecordWriter, recordsPath, sha256 } from '../records/index.js';
import { findCheckpoint, type FoundCheckpoint, OPTIMIZER_FILE } from './checkpoint.js';
import type { LoadedConfig } from './config/index.js';
import { RunContext } from './context.js';
import { checkTokenizer, openData, type RunData } from './data.js';
import { hasFastBf16 } from '../engine/device.js';
import { openEngine } from './engine.js';
import type { Environment } from './environment.js';
import { environmentDifferences } from './environment.js';
import { externalStage } from './external/index.js';
import { fullDiskReason } from './full-disk.js';
import { grownWeights } from './growth.js';
import { forgetLearned, learnGrowth } from './learn-growth.js';
import { lockFolder } from '../files/lock.js';
import { requireMicroBatch, stepShape } from './micro-batch.js';
import { planRun } from './plan.js';
import type { GrowStage, RunFacts, RunPlan, TrainStage } from './run-plan.js';
import { parentGrowth } from './parent-growth.js';
import { parentState } from './parent-state.js';
import type { Progress, RunCallbacks } from './progress.js';
import { createRunManifest, openRunManifest, type Parent } from './run-folder.js';
import { TrainingSession } from './session.js';
import { setMasks, stepsOfStage, trainStage } from './stage.js';
import { Validation } from './validation.js';
import { copyWeights, drawnWeights, storedWeights, type Weights } from './weights.js';

/** How a run is run; none of it changes its result but `threads`, whose bits it can change. */
export interface RunOptions {
  /** Run folder; default: the config's `out`, else `runs/NAME`. */
  readonly out?: string;
  readonly threads?: number;
  readonly callbacks?: RunCallbacks;
  /** Aborting it saves a checkpoint at the end of the step and throws `Interruption`. */
  readonly signal?: AbortSignal;
  /** Step of the run after which it saves a checkpoint and throws `Interruption`. */
  readonly stopAfter?: number;
}

/** What a run came to. */
export interface RunResult {
  readonly folder: string;
  readonly checkpoint: string;
  readonly steps: number;
  readonly tokens: number;
  /** Exact FLOPs of the whole run, what was paid for the base included, rounded once. */
  readonly flops: number;
  readonly flopsExact: string;
  /** Last validation loss in nats per token. */
  readonly validationLoss: number | undefined;
  /** The folder held the finished run already; nothing was done. */
  readonly wasFinished: boolean;
}

/** The folder of a run. */
export const runFolder = ({ config }: Pick<LoadedConfig, 'config'>, out?: string): string =>
  out ?? config.out ?? join('runs', config.name);

/**
 * Runs a config to its end: every stage in turn, from the newest checkpoint on where the folder has one.
 *
 * @throws InputError where config, data and folder do not fit together, WorkError where the work fails, Interruption where it was stopped.
 */
export async function runTraining(loaded: LoadedConfig, options: RunOptions = {}): Promise<RunResult> {
  const folder = runFolder(loaded, options.out);
  const lock = lockFolder(folder);
  try {
    const data = openData(loaded.config);
    const parent = loaded.config.from === undefined ? undefined : openCheckpoint(loaded.config.from);
    try {
      return await run(folder, loaded, data, parent, options);
    } finally {
      data.close();
      parent?.[Symbol.dispose]();
    }
  } catch (error) {
    const reason = fullDiskReason(error);
    if (reason === undefined || error instanceof WorkError) throw error;
    throw new WorkError(`${folder}: ${reason}; make room and repeat the command to go on from the last checkpoint.`, {
      cause: error,
    });
  } finally {
    lock.release();
  }
}

async function run(
  folder: string,
  loaded: LoadedConfig,
  data: RunData,
  parent: Checkpoint | undefined,
  options: RunOptions,
): Promise<RunResult> {
  const { callbacks = {} } = options;
  if (parent !== undefined) checkTokenizer(parent.folder, data);
  const plan = planRun(loaded, factsOf(data, parent));
  const begun = openRunManifest(folder, plan, data);
  const found = begun === undefined ? undefined : findCheckpoint(folder, (sentence) => callbacks.onWarning?.(sentence));
  if (found !== undefined && isFinished(plan, found)) return resultOf(folder, found, true);

  const evaluation = await openEvaluation(plan, data);
  const environment = openEngine(options.threads);
  if (plan.config.precision === 'bf16' && (environment.kernels === 'off' || !hasFastBf16()))
    callbacks.onWarning?.(slowBf16(environment));
  const microBatches = microBatchesOf(plan, begun?.['microBatches']);
  if (begun === undefined)
    createRunManifest(folder, {
      plan,
      sources: loaded.sources,
      data,
      libtorch: environment.libtorch,
      microBatches,
      ...(parent === undefined ? {} : { parent: parentOf(parent, loaded.config.from ?? parent.folder) }),
    });
  const writer = RecordWriter.open(recordsPath(folder), {
    chain: true,
    ...(plan.config.study === undefined ? {} : { stamp: { study: plan.config.study } }),
  });
  try {
    writer.truncateTo(found?.state.recordsBytes ?? 0);
    const progress = found === undefined ? startOf(plan, parent, data) : progressOf(found);
    const { config } = plan;
    const validation = new Validation(
      data.validation,
      config.data.sequenceLength,
      config.validation.tokens,
      !config.data.crossDocumentAttention,
    );
    const context = new RunContext({
      ...{ folder, plan, data, validation, writer, progress, environment, microBatches, callbacks },
      evaluation,
      signal: options.signal,
      stopAfter: options.stopAfter,
    });
    announce(context, found, environment);
    callbacks.onStart?.(plan, found?.state.step);
    await runStages(context, found, parent);
    forgetLearned(folder);
    return resultOf(folder, context.saved!, false);
  } finally {
    closeQuietly(writer);
  }
}

/** Reads the benchmarks that the config asks for, so that missing data are found before the first step. */
async function openEvaluation({ config, stages }: RunPlan, data: RunData): Promise<EvaluationCallback | undefined> {
  if (config.evaluation === undefined) return undefined;
  const options = { ...config.evaluation, acceptAny: config.evaluation.anyData };
  const length = stages[0]?.model.max_position_embeddings;
  return await evaluationCallback(loadTokenizer(data.train.tokenizerFile), options, length);
}

/** The stages one after the other. Each gets its weights from the one before: live, stored or grown. */
async function runStages(
  context: RunContext,
  found: FoundCheckpoint | undefined,
  parent: Checkpoint | undefined,
): Promise<void> {
  const { plan, progress } = context;
  using stored = found === undefined ? undefined : openCheckpoint(found.folder);
  let weights = startWeights(plan, found, stored, parent);
  let session: TrainingSession | undefined;
  let grown: { stage: GrowStage; lossBefore: number | undefined } | undefined;
  try {
    for (const stage of plan.stages.slice(progress.stageIndex)) {
      if (progress.stageIndex !== stage.index) enterStage(progress, stage.index);
      if (stage.kind === 'grow') {
        const learned = stage.prepareCost === undefined ? undefined : await learnGrowth(context, stage, weights);
        weights = grownWeights(stage.growth, weights, learned);
        if (stage.config.optimizerState === 'fresh' || stage.config.optimizerState === 'copy')
          progress.optimizerStep = 0;
        grown = { stage, lossBefore: progress.validationLoss };
        continue;
      }
      if (progress.stageStep === progress.stageSteps) continue;
      const next = new TrainingSession(stepShape(plan, stage, context.microBatchOf(stage)));
      copyWeights(stage.specs, weights, next);
      session?.free();
      weights = session = next;
      if (progress.stageStep === 0) {
        if (stage.objective?.once !== undefined) progress.ledger.addWork(stage.objective.once, 1);
        progress.stageSteps = stepsOfStage(context, stage);
        if (stage.config.schedule.kind !== 'continue') progress.scheduleStart = progress.step;
      }
      setMasks(stage, session, progress);
      if (grown !== undefined) context.recordGrowth(grown.stage, grown.lossBefore, context.measure(stage, session));
      if (grown !== undefined) context.measureTwins(stage, session);
      grown = undefined;
      await (stage.config.external === undefined ? trainStage : externalStage)(context, stage, session);
    }
  } finally {
    session?.free();
  }
}

function enterStage(progress: Progress, index: number): void {
  progress.stageIndex = index;
  progress.stageStep = 0;
  progress.stageSteps = Infinity;
}

function startWeights(
  plan: RunPlan,
  found: FoundCheckpoint | undefined,
  stored: Checkpoint | undefined,
  parent: Checkpoint | undefined,
): Weights {
  if (found !== undefined && stored !== undefined) return storedWeights(stored, join(found.folder, OPTIMIZER_FILE));
  if (parent !== undefined) return storedWeights(parent, parentState(plan, parent)?.file);
  const first = plan.stages[0]!;
  return drawnWeights(first.model, first.specs, plan.config.seed, plan.config.initialisation);
}

function announce(
  context: RunContext,
  found: FoundCheckpoint | undefined,
  environment: Parameters<typeof environmentDifferences>[1],
): void {
  const { progress, plan } = context;
  if (found === undefined) {
    const parentFlops = plan.facts.parent?.flopsKnown === false ? { parentFlops: 'unknown' } : {};
    context.event('start', { step: progress.step, sequences: progress.sequences, ...parentFlops, environment });
    return;
  }
  const changed = environmentDifferences(found.state.environment, environment);
  if (changed.length > 0)
    context.warn(
      `Not bitwise the same as an uninterrupted run from step ${progress.step + 1} on: ${changed.join(', ')}.`,
    );
  context.event('resume', {
    step: progress.step,
    bitwise: changed.length === 0,
    ...(changed.length > 0 ? { changed } : {}),
  });
}

/** Why mixed precision does not pay here. */
const slowBf16 = ({ kernels, cpu }: Environment): string =>
  `precision: bf16 is not faster than f32 here: ${kernels === 'off' ? 'without compiled kernels everything is computed in f32' : `${cpu} has neither AMX nor AVX512-BF16`}.`;

/** What planning has to know of data and parent. */
export function factsOf(data: RunData, parent: Checkpoint | undefined): RunFacts {
  const masked = [data.train, data.validation].find((dataset) => dataset.masked);
  return {
    vocabSize: data.train.vocabSize,
    eosId: data.train.index.tokenizer.eosId,
    sequencesPerEpoch: data.loader.sequencesPerEpoch,
    ...(masked === undefined ? {} : { maskedData: masked.folder }),
    ...(parent === undefined ? {} : { parent: parentFacts(parent) }),
  };
}

/** What planning has to know of a checkpoint to start from. */
export function parentFacts(parent: Checkpoint): NonNullable<RunFacts['parent']> {
  const growth = parentGrowth(parent.folder);
  return { config: parent.config, ...parentLedger(parent), ...(growth === undefined ? {} : { growth }) };
}

const exact = z.string().regex(/^\d+$/);

/** What was paid for a checkpoint, by its manifest; nothing where it does not say. */
function parentLedger({ manifest }: Checkpoint): { ledger: FlopLedger; flopsKnown: boolean } {
  const { tokens, flops, flopsExact } = manifest ?? {};
  if (tokens === undefined || (flops === undefined && flopsExact === undefined))
    return { ledger: new FlopLedger(), flopsKnown: false };
  const asExact = (text: unknown, value: unknown): string => {
    const parsed = exact.safeParse(text);
    return parsed.success ? parsed.data : String(BigInt(Math.round(typeof value === 'number' ? value : 0)));
  };
  const ledger = FlopLedger.from({
    tokens,
    flopsExact: asExact(flopsExact, flops),
    flops6ndExact: asExact(manifest?.['flops6ndExact'], manifest?.flops6nd),
    flopsNonEmbeddingExact: asExact(manifest?.['flopsNonEmbeddingExact'], manifest?.['flopsNonEmbedding']),
  });
  return { ledger, flopsKnown: true };
}

function parentOf(parent: Checkpoint, path: string): Parent {
  const { ledger, flopsKnown } = parentLedger(parent);
  const { flops, tokens } = ledger.totals();
  return {
    path,
    flopsKnown,
    ...(parent.manifest === undefined ? {} : { manifestHash: sha256(canonicalJson(parent.manifest)) }),
    ...(flopsKnown ? { flops, tokens } : {}),
  };
}

const parentData = z.object({
  data: z.object({ identity: z.string(), seed: z.int(), sequenceLength: z.int(), sequences: z.int().min(0) }),
});

/** The first step. A run from a checkpoint goes on behind its data where both read the same. */
function startOf(plan: RunPlan, parent: Checkpoint | undefined, data: RunData): Progress {
  const { seed, data: config } = plan.config;
  const before = parentData.safeParse(parent?.manifest).data?.data;
  const goesOn =
    before !== undefined &&
    before.identity === data.train.identity &&
    before.seed === seed &&
    before.sequenceLength === config.sequenceLength;
  return {
    stageIndex: 0,
    stageStep: 0,
    stageSteps: Infinity,
    step: 0,
    sequences: goesOn ? before.sequences : 0,
    optimizerStep: parentState(plan, parent)?.steps ?? 0,
    scheduleStart: 0,
    ledger: parent === undefined ? new FlopLedger() : parentLedger(parent).ledger,
    validationLoss: undefined,
  };
}

const progressOf = ({ state }: FoundCheckpoint): Progress => ({
  stageIndex: state.stageIndex,
  stageStep: state.stageStep,
  stageSteps: state.stageSteps ?? Infinity,
  step: state.step,
  sequences: state.sequences,
  optimizerStep: state.optimizerStep,
  scheduleStart: state.scheduleStart,
  objective: state.objective,
  capacities: state.capacities,
  ledger: FlopLedger.from(state.ledger),
  validationLoss: state.validationLoss ?? undefined,
});

const isFinished = (plan: RunPlan, { state }: FoundCheckpoint): boolean =>
  state.stageIndex === plan.stages.length - 1 && state.stageStep === state.stageSteps;

function resultOf(folder: string, { folder: checkpoint, state }: FoundCheckpoint, wasFinished: boolean): RunResult {
  const { tokens, flops, flopsExact } = FlopLedger.from(state.ledger).totals();
  const validationLoss = state.validationLoss ?? undefined;
  return { folder, checkpoint, steps: state.step, tokens, flops, flopsExact, validationLoss, wasFinished };
}

/** Sequences at a time for each stage: those that the run began with, else chosen for this machine. */
function microBatchesOf(plan: RunPlan, begun: unknown): Record<string, number> {
  const known = z.record(z.string(), z.int().min(1)).safeParse(begun).data ?? {};
  const stages = plan.stages.filter((stage): stage is TrainStage => stage.kind === 'train');
  return Object.fromEntries(stages.map((stage) => [stage.name, known[stage.name] ?? requireMicroBatch(plan, stage)]));
}

/** A full disk has been reported by then; closing must not hide it behind a second error. */
function closeQuietly(writer: RecordWriter): void {
  try {
    writer.close();
  } catch (error) {
    if (fullDiskReason(error) === undefined) throw error;
  }
}
