import type { EvaluationCallback } from '../eval/index.js';
import type { RecordWriter, TrainRecord } from '../records/index.js';
import { type FoundCheckpoint, rotateCheckpoints, saveCheckpoint, type TrainerState } from './checkpoint.js';
import { type RunData, tokenizerFiles } from './data.js';
import type { Environment } from './environment.js';
import { Interruption } from './interruption.js';
import type { RobustRecord } from './objective/index.js';
import type { RoutingRecord } from './capacity.js';
import type { GrowStage, RunPlan, TrainStage } from './run-plan.js';
import type { Progress, RunCallbacks } from './progress.js';
import type { TrainingSession } from './session.js';
import { TWIN_STEPS, twinDistance } from './twin-distance.js';
import type { Validation } from './validation.js';
import { maskValue } from './masks.js';

/** What a run is made of while it goes. */
export interface RunParts {
  readonly folder: string;
  readonly plan: RunPlan;
  readonly data: RunData;
  readonly validation: Validation;
  /** Scores benchmarks, where the config asks for any. */
  readonly evaluation?: EvaluationCallback | undefined;
  readonly writer: RecordWriter;
  readonly progress: Progress;
  readonly environment: Environment;
  readonly microBatches: Readonly<Record<string, number>>;
  readonly callbacks: RunCallbacks;
  readonly signal: AbortSignal | undefined;
  readonly stopAfter: number | undefined;
}

/** A run in a process: records, validation and checkpoints for the stages to use. */
export class RunContext {
  readonly plan: RunPlan;
  readonly data: RunData;
  readonly progress: Progress;
  readonly #parts: RunParts;
  readonly #tokenizer: ReturnType<typeof tokenizerFiles>;
  #saved: FoundCheckpoint | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.plan = parts.plan;
    this.data = parts.data;
    this.progress = parts.progress;
    this.#tokenizer = tokenizerFiles(parts.data);
  }

  get folder(): string {
    return this.#parts.folder;
  }

  get validation(): Validation {
    return this.#parts.validation;
  }

  get signal(): AbortSignal | undefined {
    return this.#parts.signal;
  }

  /** The last checkpoint that this process wrote. */
  get saved(): FoundCheckpoint | undefined {
    return this.#saved;
  }

  microBatchOf(stage: TrainStage): number {
    const sequences = this.#parts.microBatches[stage.name];
    if (sequences === undefined) throw new RangeError(`no micro-batch was chosen for stage "${stage.name}"`);
    return sequences;
  }

  isLast(stage: TrainStage): boolean {
    return stage.index === this.plan.stages.length - 1;
  }

  /** Tells how far a growth has come with learning. */
  learning({ growth }: GrowStage, done: number, total: number, loss: number): void {
    this.#parts.callbacks.onLearning?.(growth.plan.operator, done, total, loss);
  }

  /** Writes the record of the step that was just made. */
  recordStep(
    stage: TrainStage,
    measured: Pick<TrainRecord, 'loss' | 'lr' | 'gradNorm' | 'tokensPerSecond' | 'gflopPerSecond'> &
      Partial<RobustRecord & RoutingRecord>,
  ): void {
    const record: TrainRecord = {
      kind: 'train',
      stage: stage.name,
      ...this.#position(),
      stageStep: this.progress.stageStep,
      ...measured,
    };
    this.#parts.writer.append(record);
    this.#parts.callbacks.onStep?.(record, this.progress);
  }

  /** Measures and records the validation loss, in nats per token. */
  validate(stage: TrainStage, session: TrainingSession): number {
    const loss = this.measure(stage, session);
    const record = {
      kind: 'validation' as const,
      stage: stage.name,
      ...this.#position(),
      loss,
      bytesPerToken: this.#parts.validation.bytesPerToken,
    };
    this.progress.validationLoss = loss;
    this.#parts.writer.append(record);
    this.#parts.callbacks.onValidation?.(record);
    return loss;
  }

  /** Scores and records the benchmarks at the config's interval, and at the end of every stage. */
  async evaluateIfDue(stage: TrainStage, session: TrainingSession): Promise<void> {
    const { evaluation, writer, callbacks } = this.#parts;
    const { evaluation: asked } = this.plan.config;
    if (evaluation === undefined || asked === undefined) return;
    const ends = this.progress.stageStep === this.progress.stageSteps;
    if (!ends && this.progress.step % asked.every !== 0) return;
    // While masks fade in new parts, the weights alone are not the model.
    if (stage.masks.length > 0 && !ends) return;
    for (const record of await evaluation(session.model, this.#position())) {
      writer.append({ ...record, stage: stage.name });
      callbacks.onEvaluation?.(record);
    }
  }

  /** The validation loss of a session's model, without a record. */
  measure(stage: TrainStage, session: TrainingSession): number {
    return this.#parts.validation.loss(session, this.microBatchOf(stage));
  }

  /** Records a growth, whose target `lossAfter` was measured on. */
  recordGrowth(
    { name, growth, counts, sourceCounts }: GrowStage,
    lossBefore: number | undefined,
    lossAfter: number,
  ): void {
    const { operator, planHash, growthFactor, optimizerState } = growth.plan;
    const record = {
      kind: 'growth' as const,
      stage: name,
      ...this.#position(),
      operator,
      planHash,
      ...(lossBefore === undefined ? {} : { lossBefore }),
      lossAfter,
      sourceParameters: sourceCounts.total,
      targetParameters: counts.total,
      growthFactor,
      optimizerState,
    };
    this.#parts.writer.append(record);
    this.#parts.callbacks.onGrowth?.(record);
  }

  /** Records how far copies of units have come apart, at the steps after a width growth that show it. */
  measureTwins({ name, growth }: TrainStage, session: TrainingSession): void {
    const { stageStep, stageSteps, step } = this.progress;
    if (growth?.plan.maps === undefined || !(TWIN_STEPS.has(stageStep) || stageStep === stageSteps)) return;
    const found = twinDistance(growth.plan, session);
    if (found !== undefined)
      this.#parts.writer.append({ kind: 'twinDistance', stage: name, step, stageStep, ...found });
  }

  /** Writes a measurement. */
  record(record: Parameters<RecordWriter['append']>[0]): void {
    this.#parts.writer.append(record);
  }

  event(name: string, details: Readonly<Record<string, unknown>> = {}): void {
    this.#parts.writer.append({ kind: 'event', name, ...details });
  }

  /** Says that another trainer has begun with a stage. */
  handedOver(stage: string, command: string, log: string): void {
    this.#parts.callbacks.onExternal?.(stage, command, log);
  }

  /** Says a sentence to people. */
  warn(sentence: string): void {
    this.#parts.callbacks.onWarning?.(sentence);
  }

  flush(): void {
    this.#parts.writer.flush();
  }

  /** Saves at the config's interval, and at the end of every stage. */
  checkpointIfDue(stage: TrainStage, session: TrainingSession): void {
    const { progress, plan } = this;
    const ends = progress.stageStep === progress.stageSteps;
    if (!ends && progress.step % plan.config.checkpoints.every !== 0) return;
    if (ends && this.isLast(stage)) this.event('end', { step: progress.step });
    this.checkpoint(stage, session, ends && (stage.config.release || isReference(plan, stage.name)));
  }

  /**
   * Saves the run.
   *
   * @throws WorkError where it cannot be written; the checkpoint before stays.
   */
  checkpoint(stage: TrainStage, session: TrainingSession, released = false): string {
    const { folder, writer, environment, callbacks } = this.#parts;
    const { progress, plan, data } = this;
    this.event('checkpoint', { step: progress.step });
    writer.sync();
    const ledger = progress.ledger.totals();
    const state: TrainerState = {
      format: 1,
      stageIndex: progress.stageIndex,
      stage: stage.name,
      stageStep: progress.stageStep,
      stageSteps: Number.isFinite(progress.stageSteps) ? progress.stageSteps : null,
      step: progress.step,
      sequences: progress.sequences,
      optimizerStep: progress.optimizerStep,
      scheduleStart: progress.scheduleStart,
      ledger,
      recordsBytes: writer.lengthBytes,
      validationLoss: progress.validationLoss ?? null,
      ...(progress.objective && { objective: progress.objective }),
      ...(progress.capacities && { capacities: [...progress.capacities] }),
      environment,
    };
    const saved = saveCheckpoint(folder, {
      config: stage.model,
      specs: stage.specs,
      weights: session,
      tokenizerFiles: this.#tokenizer,
      ...growthState(stage, progress),
      state,
      manifest: {
        run: plan.config.name,
        stage: stage.name,
        step: progress.step,
        ...ledger,
        ...(released ? { released } : {}),
        ...(progress.validationLoss === undefined ? {} : { validationLoss: progress.validationLoss }),
        data: {
          identity: data.train.identity,
          seed: plan.config.seed,
          sequenceLength: plan.config.data.sequenceLength,
          sequences: progress.sequences,
        },
      },
    });
    this.#saved = { folder: saved, state };
    rotateCheckpoints(folder, plan.config.checkpoints);
    callbacks.onCheckpoint?.(saved);
    return saved;
  }

  /** Saves and leaves where the run was asked to stop. Throws Interruption. */
  stopIfAsked(stage: TrainStage, session: TrainingSession): void {
    const { signal, stopAfter, folder } = this.#parts;
    const { step } = this.progress;
    if (signal?.aborted !== true && step !== stopAfter) return;
    if (signal?.aborted === true) this.event('signal', { step, reason: String(signal.reason) });
    if (this.#saved?.state.step !== step) this.checkpoint(stage, session);
    throw new Interruption(step, `${folder}/checkpoints/${step}`);
  }

  #position() {
    const { tokens, flops, flopsExact, flops6nd, flopsNonEmbedding } = this.progress.ledger.totals();
    return { step: this.progress.step, tokens, flops, flopsExact, flops6nd, flopsNonEmbedding };
  }
}

/** What strata.json says while masks rise: where they stand. Nothing where there are none, or all have reached 1. */
function growthState(
  { masks, growth }: TrainStage,
  { stageStep, stageSteps }: Progress,
): { growth?: Readonly<Record<string, unknown>> } {
  const values = masks.map((mask) => maskValue(mask, stageStep / stageSteps));
  if (values.every((value) => value === 1)) return {};
  const origin = growth === undefined ? {} : { operator: growth.plan.operator, planHash: growth.plan.planHash };
  return {
    growth: {
      ...origin,
      addedLayers: growth?.addedLayers ?? [],
      masks: masks.map((mask, i) => ({ ...mask, value: values[i] })),
    },
  };
}

/** Whether a later stage compares itself with the end of this one, which then has to stay. */
const isReference = ({ stages }: RunPlan, name: string): boolean =>
  stages.some(
    (stage) =>
      stage.kind === 'train' && stage.objective?.place.kind === 'stage' && stage.objective.place.stage === name,
  );
