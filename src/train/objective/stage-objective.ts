import { EXCESS_SUMS } from '../../ops/index.js';
import { modelHash, openReference } from './reference.js';
import { ReferenceModel } from './reference-model.js';
import type { RunContext } from '../context.js';
import type { TrainStage } from '../run-plan.js';
import type { MicroBatch, TrainingSession } from '../session.js';
import { checkTokenizer } from '../data.js';
import { inverseTau, robustStep, type RobustRecord } from './robust.js';
import { checkScores, Scores } from './scores.js';
import type { ObjectivePlan } from './plan.js';

export type { RobustRecord };

/** Losses of the reference on a micro-batch. */
interface ReferenceLosses extends Disposable {
  /** @param first The micro-batch's first sequence, counted over the run. */
  of(batch: MicroBatch, first: number): Float32Array;
}

/** The robust objective of a stage while it is trained. Dispose it at the stage's end. */
export class StageObjective implements Disposable {
  readonly #plan: ObjectivePlan;
  readonly #run: RunContext;
  readonly #reference: ReferenceLosses;
  readonly #microBatch: number;
  readonly #sums = new Float64Array(EXCESS_SUMS.length);

  /** Opens the reference, or its stored losses. @throws InputError where they do not fit the run. */
  constructor(run: RunContext, stage: TrainStage, plan: ObjectivePlan) {
    this.#run = run;
    this.#plan = plan;
    this.#microBatch = run.microBatchOf(stage);
    this.#reference = plan.config.scores === undefined ? this.#runBeside() : this.#readStored(plan.config.scores);
    if (run.progress.stageStep === 0) run.progress.objective = undefined;
    const { attributes } = plan;
    const items = attributes.group === 1 ? Infinity : this.#microBatch;
    if (attributes.kind === 'cvar' && attributes.alpha < 1 && Math.ceil(attributes.alpha * items) === items)
      run.warn(
        `Stage "${stage.name}" keeps ${attributes.alpha} of ${items} sequences at a time, which is all of them: take a larger microBatch, or per: token.`,
      );
  }

  /** Forward and backward of micro-batch `index` of the step, weighed. */
  gradient(session: TrainingSession, batch: MicroBatch, index: number): void {
    const { progress } = this.#run;
    if (index === 0) {
      this.#sums.fill(0);
      const state = progress.objective;
      session.setObjective(inverseTau(this.#plan.config, state), state?.logNormaliser ?? 0);
    }
    const reference = this.#reference.of(batch, progress.sequences + index * this.#microBatch);
    session.gradient({ ...batch, reference }, index);
    const sums = session.objectiveSums();
    for (let i = 0; i < sums.length; i++) this.#sums[i]! += sums[i]!;
  }

  /** Ends the step: its plain loss, the factor on its gradients, and what records say. */
  finish(): { loss: number; gradientScale: number; measured: RobustRecord } {
    const { progress } = this.#run;
    const { state, ...step } = robustStep(this.#plan.config, progress.objective, this.#sums);
    progress.objective = state;
    return step;
  }

  [Symbol.dispose](): void {
    this.#reference[Symbol.dispose]();
  }

  #runBeside(): ReferenceLosses {
    const { data, plan, folder } = this.#run;
    using checkpoint = openReference(this.#plan.place, folder);
    checkTokenizer(checkpoint.folder, data);
    const model = new ReferenceModel(checkpoint, {
      sequenceLength: plan.config.data.sequenceLength,
      microBatchSequences: this.#microBatch,
      withinDocuments: !plan.config.data.crossDocumentAttention,
    });
    return { of: (batch) => model.losses(batch), [Symbol.dispose]: () => model.free() };
  }

  #readStored(folder: string): ReferenceLosses {
    const { data, plan } = this.#run;
    const { sequenceLength, crossDocumentAttention } = plan.config.data;
    using checkpoint = openReference(this.#plan.place, this.#run.folder);
    const scores = new Scores(folder);
    checkScores(folder, scores.index, {
      data: data.train.identity,
      sequenceLength,
      crossDocumentAttention,
      sequences: data.loader.sequencesPerEpoch,
      reference: { sha256: modelHash(checkpoint), path: checkpoint.folder },
    });
    const losses = new Float32Array(this.#microBatch * sequenceLength);
    return {
      of: (_batch, first) => {
        for (let i = 0; i < this.#microBatch; i++)
          scores.read(data.loader.positionOf(first + i), losses.subarray(i * sequenceLength, (i + 1) * sequenceLength));
        return losses;
      },
      [Symbol.dispose]: () => scores.close(),
    };
  }
}
