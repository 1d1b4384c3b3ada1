import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError, WorkError } from '../../errors.js';
import { Batches } from '../batches.js';
import type { RunContext } from '../context.js';
import { Interruption } from '../interruption.js';
import type { TrainStage } from '../run-plan.js';
import type { TrainingSession } from '../session.js';
import { copyWeights } from '../weights.js';
import { fillCommand } from './command.js';
import { RESULT_FILE } from './contract.js';
import { handOver } from './hand-over.js';
import { HandedOver } from './handed-over.js';
import { type Expected, type Returned, takeBack } from './take-back.js';
import { runTrainer } from './trainer-process.js';

/**
 * Has another trainer do a stage: hands over a folder, runs the command or waits for its output, checks what came back and takes it over.
 *
 * @throws HandedOver where the stage is to be trained elsewhere and has not been yet; InputError where what came back is refused.
 */
export async function externalStage(run: RunContext, stage: TrainStage, session: TrainingSession): Promise<void> {
  const external = stage.config.external!;
  const folder = join(run.folder, 'external', stage.name);
  const [input, output] = [join(folder, 'input'), join(folder, 'output')];
  const expected = measure(run, stage, session);
  handOver(input, run, stage, session);
  const command = fillCommand(external, input, output);
  const started = performance.now();
  const isThere = (): boolean => existsSync(join(output, RESULT_FILE));
  if (!isThere()) {
    if (external.where === 'elsewhere') throw new HandedOver(stage.name, command);
    run.handedOver(stage.name, command, join(folder, 'trainer.log'));
    if (!(await runTrainer(folder, command, run.signal))) throw new Interruption(run.progress.step, input);
    if (!isThere())
      throw new WorkError(
        `The trainer of stage "${stage.name}" ended without ${join(output, RESULT_FILE)}; the same command starts it again.`,
      );
  }
  const seconds = (performance.now() - started) / 1000;
  const returned = checked(output, () => takeBack(output, run, stage, session, expected));
  try {
    takeOver(run, stage, session, returned);
  } finally {
    returned.checkpoint[Symbol.dispose]();
  }
  const { trainer, lossAtLoad, data } = returned.result;
  run.event('external', {
    ...{ stage: stage.name, trainer, adapter: external.adapter, command, seconds },
    lossAtLoad: { ours: expected.lossAtLoad, theirs: lossAtLoad },
    dataChecked: data.tokenSum === undefined ? 'range as stated' : 'sum of tokens',
    optimizerState: returned.hasState ? 'returned' : 'none',
  });
  run.validate(stage, session);
  await run.evaluateIfDue(stage, session);
  run.checkpointIfDue(stage, session);
  if (!run.isLast(stage)) run.stopIfAsked(stage, session);
}

/** What the trainer has to find, too. It is not told. */
function measure(run: RunContext, stage: TrainStage, session: TrainingSession): Expected {
  const { plan, progress, data } = run;
  const batches = new Batches(
    data.loader,
    plan.batchSequences,
    run.microBatchOf(stage),
    !plan.config.data.crossDocumentAttention,
  );
  let firstLoss = 0;
  for (const batch of batches.of(progress.sequences)) {
    const losses = session.evaluate(batch);
    for (let i = 0; i < losses.length; i++) firstLoss += losses[i]! * batch.weights[i]!;
  }
  return { lossAtLoad: run.measure(stage, session), firstLoss };
}

function checked<T>(output: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const message = error.message.replace(/\.$/, '');
    throw new InputError(`${message}; the stage is refused. Remove ${output} to have it trained again.`, {
      cause: error,
    });
  }
}

/** Puts weights, state, records and counts where Strata's own training would have put them. */
function takeOver(run: RunContext, stage: TrainStage, session: TrainingSession, returned: Returned): void {
  const { progress, plan } = run;
  for (const { name, tiedTo } of stage.specs) {
    const moments = tiedTo === undefined ? session.moments(name) : undefined;
    moments?.first.fill(0);
    moments?.second?.fill(0);
  }
  copyWeights(stage.specs, returned.weights, session);
  progress.optimizerStep = returned.hasState ? returned.result.optimizerSteps! : 0;
  for (const { tokens, loss, lr, gradNorm, tokensPerSecond } of returned.steps) {
    const steps = tokens / plan.tokensPerStep - progress.stageStep;
    progress.step += steps;
    progress.stageStep += steps;
    progress.sequences += steps * plan.batchSequences;
    progress.ledger.add(stage.perToken, steps * plan.tokensPerStep);
    progress.ledger.addWork({ flops: stage.updateFlops, flops6nd: 0n, flopsNonEmbedding: 0n }, steps);
    run.recordStep(stage, {
      ...{ loss, lr, gradNorm, tokensPerSecond },
      gflopPerSecond:
        tokensPerSecond === undefined ? undefined : (tokensPerSecond * Number(stage.perToken.flops)) / 1e9,
    });
  }
}
