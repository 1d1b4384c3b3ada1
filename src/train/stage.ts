import { setImmediate } from 'node:timers/promises';
import { counters } from '../engine/buffers.js';
import { profiled, profiledStep } from '../engine/profile.js';
import { WorkError } from '../errors.js';
import { clipScale } from '../optim/index.js';
import type { TrainRecord } from '../records/index.js';
import { recordAgreement } from './agreement.js';
import { Batches } from './batches.js';
import { maskVectors } from './masks.js';
import { stepForecast } from './micro-batch.js';
import type { TrainStage } from './run-plan.js';
import { limitInSteps, stageRates } from './stage-schedule.js';
import { ratesAt, type StageRates } from './rates.js';
import type { RunContext } from './context.js';
import { newEntriesOf } from './growth.js';
import { type RobustRecord, StageObjective } from './objective/stage-objective.js';
import type { RoutingRecord } from './capacity.js';
import { StageRouting } from './routing.js';
import type { TrainingSession } from './session.js';

/** Runs a train stage from where `run.progress` stands to its end. */
export async function trainStage(run: RunContext, stage: TrainStage, session: TrainingSession): Promise<void> {
  const { progress, plan } = run;
  const { until } = stage.config;
  const { every } = plan.config.validation;
  const rates = stageRates(
    stage,
    Number.isFinite(progress.stageSteps) ? progress.stageSteps : undefined,
    progress.step - progress.stageStep - progress.scheduleStart,
  );
  const batches = new Batches(
    run.data.loader,
    plan.batchSequences,
    run.microBatchOf(stage),
    !plan.config.data.crossDocumentAttention,
  );
  using objective = stage.objective && new StageObjective(run, stage, stage.objective);
  const routing = stage.routing && new StageRouting(run, stage, stage.routing);
  const clock = new Clock(plan.tokensPerStep, stage);
  if (stage.config.optimizer.newEntries !== undefined) markNewEntries(stage, session);
  setMasks(stage, session, progress);

  while (progress.stageStep < progress.stageSteps) {
    clock.start();
    const measured = profiledStep(() => takeStep(run, stage, session, batches, rates, objective, routing));
    clock.stop();
    setMasks(stage, session, progress);

    run.measureTwins(stage, session);
    const isLast = progress.stageStep === progress.stageSteps;
    if (isLast || progress.step % plan.config.records.every === 0)
      run.recordStep(stage, { ...measured, ...clock.rates() });
    if (isLast || progress.stageStep % every === 0) {
      const reached = profiled('validation', () => run.validate(stage, session));
      if (until.loss !== undefined && reached <= until.loss) progress.stageSteps = progress.stageStep;
    }
    if (progress.stageStep === progress.stageSteps) run.event('memory', memoryOf(run, stage));
    await run.evaluateIfDue(stage, session);
    await recordAgreement(run, stage, session);
    profiled('checkpoint', () => run.checkpointIfDue(stage, session));
    // Lets signals and timers be seen: everything above is synchronous.
    await setImmediate();
    if (progress.stageStep < progress.stageSteps || !run.isLast(stage)) run.stopIfAsked(stage, session);
  }
}

/** What the stage was forecast to take, and what is held at its end: all that a step needs has been allocated by then. */
const memoryOf = (run: RunContext, stage: TrainStage): Record<string, unknown> => ({
  stage: stage.name,
  step: run.progress.step,
  forecastBytes: stepForecast(run.plan, stage, run.microBatchOf(stage)).peakBytes,
  countedBytes: counters().bytes,
  maxResidentBytes: process.resourceUsage().maxRSS * 1024,
});

/** One optimizer step: every micro-batch, the norm, the update, and what it cost. */
function takeStep(
  run: RunContext,
  stage: TrainStage,
  session: TrainingSession,
  batches: Batches,
  rates: StageRates,
  objective?: StageObjective,
  routing?: StageRouting,
): { loss: number; lr: number; gradNorm: number } & Partial<RobustRecord & RoutingRecord> {
  const { progress, plan } = run;
  let loss = 0;
  let index = 0;
  routing?.begin(session);
  for (const microBatch of batches.of(progress.sequences)) {
    if (objective === undefined) loss += session.gradient(microBatch, index++);
    else objective.gradient(session, microBatch, index++);
    routing?.collect(session);
  }
  const robust = objective?.finish();
  if (robust !== undefined) loss = robust.loss;
  const scale = robust?.gradientScale ?? 1;
  const gradNorm = session.gradientNorm() * scale;
  const { lr, newEntries } = ratesAt(stage.config, rates, progress.stageStep);
  routing?.markRates(session);
  if (mayUpdate(run, stage, loss, gradNorm)) {
    progress.optimizerStep++;
    session.update({
      learningRate: lr,
      newEntriesRate: stage.routing?.layerRates === true ? 2 * lr : newEntries,
      gradientScale: clipScale(gradNorm, stage.config.optimizer.clip) * scale,
      step: progress.optimizerStep,
    });
  }
  const routed = routing?.finish();
  progress.step++;
  progress.stageStep++;
  progress.sequences += plan.batchSequences;
  progress.ledger.add(stage.perToken, plan.tokensPerStep);
  progress.ledger.addWork({ flops: stage.updateFlops, flops6nd: 0n, flopsNonEmbedding: 0n }, 1);
  return { loss, lr, gradNorm, ...robust?.measured, ...routed };
}

/** Steps that a stage will have, seen from its first step. */
export const stepsOfStage = (run: Pick<RunContext, 'plan' | 'progress'>, stage: TrainStage): number =>
  limitInSteps(stage.config, stage.perToken, run.plan.tokensPerStep, run.progress.ledger.exact, stage.updateFlops) ??
  Infinity;

/** Brings a session's masks to where the stage stands. */
export function setMasks(
  { masks, model }: TrainStage,
  session: TrainingSession,
  { stageStep, stageSteps }: Pick<RunContext['progress'], 'stageStep' | 'stageSteps'>,
): void {
  if (masks.length > 0) session.setMasks(maskVectors(masks, model, stageStep / stageSteps));
}

function markNewEntries({ specs, growth }: TrainStage, session: TrainingSession): void {
  const marks = newEntriesOf(growth!);
  for (const { name, tiedTo } of specs) if (tiedTo === undefined) session.newEntries(name)?.set(marks(name));
}

/** Whether the gradients may meet the weights: asks the policy where a number is not finite. */
function mayUpdate(run: RunContext, stage: TrainStage, loss: number, gradNorm: number): boolean {
  if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return true;
  const policy = run.plan.config.nonFinite;
  const step = run.progress.step + 1;
  run.event('nonFinite', { step, stage: stage.name, policy, loss: String(loss), gradNorm: String(gradNorm) });
  const found = `step ${step}: loss is ${loss} and gradient norm ${gradNorm}`;
  if (policy === 'stop') {
    run.flush();
    throw new WorkError(
      `Training stopped before the weights were touched (${found}); lower the learning rate, or set nonFinite: skip.`,
    );
  }
  run.warn(`${found}; ${policy === 'skip' ? 'the update was left out' : 'it was used all the same (nonFinite: log)'}.`);
  return policy === 'log';
}

/** Tokens and FLOPs per second since they were last asked for, without validation and checkpoints. */
class Clock {
  #seconds = 0;
  #steps = 0;
  #started = 0;

  constructor(
    readonly tokensPerStep: number,
    readonly stage: TrainStage,
  ) {}

  start(): void {
    this.#started = performance.now();
  }

  stop(): void {
    this.#seconds += (performance.now() - this.#started) / 1000;
    this.#steps++;
  }

  rates(): Pick<TrainRecord, 'tokensPerSecond' | 'gflopPerSecond'> {
    const tokensPerSecond = (this.#steps * this.tokensPerStep) / this.#seconds;
    this.#seconds = 0;
    this.#steps = 0;
    return {
      tokensPerSecond: Math.round(tokensPerSecond * 10) / 10,
      gflopPerSecond: Math.round(tokensPerSecond * Number(this.stage.perToken.flops) * 1e-8) / 10,
    };
  }
}
