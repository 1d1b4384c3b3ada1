import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Batches } from './batches.js';
import type { RunContext } from './context.js';
import { Interruption } from './interruption.js';
import { LearnedFolder } from './learned-folder.js';
import type { GrowStage, TrainStage } from './run-plan.js';
import { learningKey, prepareGrowth } from './prepare.js';
import type { Floats, Weights } from './weights.js';

const learnedPath = (run: string): string => join(run, 'learned');

/**
 * Trains what a growth learns, on the data that come next, which the target reads again; books it and records how far it moved.
 *
 * What was learned is kept in the run's folder until the run has ended, so that an interruption costs little.
 */
export async function learnGrowth(
  context: RunContext,
  stage: GrowStage,
  weights: Weights,
): Promise<(name: string) => Floats> {
  const { plan, progress, data, folder, signal } = context;
  const next = plan.stages.slice(stage.index).find((later): later is TrainStage => later.kind === 'train')!;
  const microBatchSequences = context.microBatchOf(next);
  const { sequenceLength, crossDocumentAttention } = plan.config.data;
  const { batchSequences } = plan;
  const withinDocuments = !crossDocumentAttention;
  const batches = new Batches(data.loader, batchSequences, microBatchSequences, withinDocuments);
  const grown = stage.growth.plan;
  const key = learningKey(grown, { step: progress.step, sequences: progress.sequences });
  const kept = new LearnedFolder(join(learnedPath(folder), stage.name), key);
  const learning = prepareGrowth(
    grown,
    (name) => weights.parameter(name),
    {
      ...{ sequenceLength, batchSequences, microBatchSequences, withinDocuments },
      batches: (step) => batches.of(progress.sequences + step * batchSequences),
    },
    { kept, signal, onProgress: (done, total, loss) => context.learning(stage, done, total, loss) },
  );
  const learned = await learning.catch((error: unknown) => {
    if (signal?.aborted !== true) throw error;
    context.event('signal', { step: progress.step, reason: String(signal.reason) });
    throw new Interruption(progress.step, kept.path);
  });
  progress.ledger.addWork({ ...stage.prepareCost!, flops: learned.flops }, 1);
  context.event('prepare', {
    stage: stage.name,
    step: progress.step,
    operator: grown.operator,
    steps: learned.losses.length,
    flopsExact: String(learned.flops),
    losses: learned.losses,
    moved: learned.moved,
    ...(learned.lossShare === undefined ? {} : { lossShare: learned.lossShare }),
  });
  return learned.tensor;
}

/** Removes what growths have learned, once it lies in checkpoints. */
export const forgetLearned = (run: string): void => rmSync(learnedPath(run), { recursive: true, force: true });
