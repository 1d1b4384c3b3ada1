import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { publishFolder, writeFileAtomic } from '../../files/atomic.js';
import { saveModel } from '../../interop/index.js';
import { OPTIMIZER_FILE, saveOptimizer } from '../checkpoint.js';
import type { RunContext } from '../context.js';
import { tokenizerFiles } from '../data.js';
import type { TrainStage } from '../run-plan.js';
import { stageRates } from '../stage-schedule.js';
import { ratesAt } from '../rates.js';
import type { TrainingSession } from '../session.js';
import { MODEL_FOLDER, PROBE_FILE, STAGE_FILE, type StageContract, TOKENS_FILE } from './contract.js';
import { writeTokenFile } from './token-file.js';

/** Learning rates of every update of a stage, in order. */
export function stageLearningRates({ progress }: RunContext, stage: TrainStage): number[] {
  const { stageSteps, step, scheduleStart } = progress;
  const rates = stageRates(stage, stageSteps, step - scheduleStart);
  return Array.from({ length: stageSteps }, (_, i) => ratesAt(stage.config, rates, i).lr);
}

/**
 * Writes what another trainer gets for a stage: checkpoint, optimizer state, tokens and stage.json.
 *
 * Whole or not at all: the folder gets its name last. One that is there already holds the same, since the stage begins at a checkpoint.
 */
export function handOver(folder: string, run: RunContext, stage: TrainStage, session: TrainingSession): void {
  if (existsSync(join(folder, STAGE_FILE))) return;
  const temporary = `${folder}.partial`;
  rmSync(temporary, { recursive: true, force: true });
  const model = join(temporary, MODEL_FOLDER);
  mkdirSync(model, { recursive: true });
  saveModel(model, stage.model, (spec) => session.parameter(spec.name) as Float32Array);
  for (const [name, bytes] of Object.entries(tokenizerFiles(run.data))) writeFileAtomic(join(model, name), bytes);
  if (run.progress.optimizerStep > 0) saveOptimizer(join(temporary, OPTIMIZER_FILE), stage.specs, session);
  writeFileAtomic(join(temporary, STAGE_FILE), `${JSON.stringify(contractOf(temporary, run, stage), null, 1)}\n`);
  publishFolder(temporary, folder);
}

function contractOf(folder: string, run: RunContext, stage: TrainStage): StageContract {
  const { plan, progress, data } = run;
  const { loader } = data;
  const { config } = plan;
  const numSequences = progress.stageSteps * plan.batchSequences;
  const owned = stage.specs.filter(({ tiedTo }) => tiedTo === undefined);
  const trained = owned.filter(stage.isTrained);
  const { vocab_size: vocabSize } = stage.model;
  const tokens =
    stage.config.external?.data === 'range'
      ? {}
      : {
          tokens: writeTokenFile(
            folder,
            TOKENS_FILE,
            loader,
            vocabSize,
            numSequences,
            (row) => progress.sequences + row,
          ),
        };
  return {
    format: 1,
    run: config.name,
    stage: stage.name,
    seed: config.seed,
    tokens: progress.stageSteps * plan.tokensPerStep,
    steps: progress.stageSteps,
    batchTokens: plan.tokensPerStep,
    sequenceLength: loader.sequenceLength,
    data: {
      identity: data.train.identity,
      firstSequence: progress.sequences,
      numSequences,
      crossDocumentAttention: config.data.crossDocumentAttention,
      ...tokens,
      probe: run.validation.write(folder, PROBE_FILE, vocabSize),
    },
    optimizer: stage.config.optimizer,
    trainable: trained.map(({ name }) => name),
    decayed: trained.filter(({ decayed }) => decayed).map(({ name }) => name),
    optimizerState: progress.optimizerStep > 0 ? { file: OPTIMIZER_FILE, steps: progress.optimizerStep } : null,
    schedule: { kind: stage.scheduleFrom.schedule.kind, learningRates: stageLearningRates(run, stage) },
  };
}
