import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { parseBySchema } from '../../architecture/index.js';
import { InputError } from '../../errors.js';
import { type Checkpoint, openCheckpoint, readJsonObject } from '../../interop/index.js';
import { OPTIMIZER_FILE } from '../checkpoint.js';
import type { RunContext } from '../context.js';
import type { TrainStage } from '../run-plan.js';
import { differences } from '../run-folder.js';
import type { TrainingSession } from '../session.js';
import { storedWeights, type Weights } from '../weights.js';
import { MODEL_FOLDER, RESULT_FILE, resultSchema, type StageResult, type StepLine, stepSchema } from './contract.js';
import { stageLearningRates } from './hand-over.js';
import { sumOfTokens } from './token-file.js';

/**
 * Largest difference, in nats, between two measurements of one loss.
 *
 * Room for bfloat16 arithmetic (8 bits of significand; losses near 10); a wrong rotary layout or tokenizer moves it by tenths.
 */
export const LOSS_TOLERANCE = 0.02;

/** Relative. A rate that went through float32, or was printed with five digits. */
const RATE_TOLERANCE = 1e-4;

const MAX_RECORDS_BYTES = 1 << 30;

/** What came back from another trainer, after every check. */
export interface Returned {
  readonly result: StageResult;
  readonly steps: readonly StepLine[];
  readonly weights: Weights;
  /** Whether optimizer state came back. */
  readonly hasState: boolean;
  readonly checkpoint: Checkpoint;
}

/** What Strata measured itself before it handed over. */
export interface Expected {
  readonly lossAtLoad: number;
  /** Loss of the weights handed over on the stage's first batch. */
  readonly firstLoss: number;
}

/**
 * Reads and checks what another trainer wrote for a stage.
 *
 * @throws InputError naming file and field where the stage was not trained as it was asked for: tokens, data, batch, schedule, the loss
 * of the weights as loaded, shapes, and weights that did not change.
 */
export function takeBack(
  folder: string,
  run: RunContext,
  stage: TrainStage,
  session: TrainingSession,
  expected: Expected,
): Returned {
  const result = readResult(folder, run, expected);
  const steps = readSteps(join(folder, 'records.jsonl'), run, stage, expected);
  const checkpoint = openCheckpoint(join(folder, MODEL_FOLDER));
  try {
    const path = join(folder, OPTIMIZER_FILE);
    const hasState = existsSync(path) && result.optimizerSteps !== undefined;
    const weights = storedWeights(checkpoint, hasState ? path : undefined);
    checkModel(checkpoint, stage);
    checkWeights(checkpoint, stage, session, weights);
    return { result, steps, weights, hasState, checkpoint };
  } catch (error) {
    checkpoint[Symbol.dispose]();
    throw error;
  }
}

function readResult(folder: string, { progress, plan, data }: RunContext, { lossAtLoad }: Expected): StageResult {
  const path = join(folder, RESULT_FILE);
  const result = parseBySchema(resultSchema, readJsonObject(path), path);
  const numSequences = progress.stageSteps * plan.batchSequences;
  const asked: [string, number, number | undefined][] = [
    ['steps', progress.stageSteps, result.steps],
    ['batchTokens', plan.tokensPerStep, result.batchTokens],
    ['tokens', progress.stageSteps * plan.tokensPerStep, result.tokens],
    ['data.firstSequence', progress.sequences, result.data.firstSequence],
    ['data.numSequences', numSequences, result.data.numSequences],
  ];
  if (result.data.tokenSum !== undefined)
    asked.push(['data.tokenSum', sumOfTokens(data.loader, progress.sequences, numSequences), result.data.tokenSum]);
  for (const [field, wanted, found] of asked) if (wanted !== found) refuse(path, field, wanted, found);
  requireLoss(path, 'lossAtLoad', lossAtLoad, result.lossAtLoad);
  return result;
}

/** Reads the trainer's lines: in order, on whole steps, with the schedule's rates, up to the stage's last token. */
function readSteps(path: string, run: RunContext, stage: TrainStage, expected: Expected): StepLine[] {
  const { progress, plan } = run;
  const rates = stageLearningRates(run, stage);
  const steps: StepLine[] = [];
  let done = 0;
  for (const [index, value] of readLines(path)) {
    const where = `${path}:${index}`;
    const line = parseBySchema(stepSchema as z.ZodType<StepLine>, value, where);
    const step = line.tokens / plan.tokensPerStep;
    if (!Number.isInteger(step))
      refuse(where, 'tokens', `a multiple of the batch of ${plan.tokensPerStep}`, line.tokens);
    if (step <= done)
      refuse(where, 'tokens', `more than the ${done * plan.tokensPerStep} of the line before`, line.tokens);
    if (step > progress.stageSteps)
      refuse(where, 'tokens', `at most the stage's ${progress.stageSteps * plan.tokensPerStep}`, line.tokens);
    const rate = rates[step - 1]!;
    if (!(Math.abs(line.lr - rate) <= RATE_TOLERANCE * rate + 1e-12))
      refuse(where, 'lr', `the schedule's ${rate}`, line.lr);
    if (step === 1) requireLoss(where, 'loss', expected.firstLoss, line.loss);
    done = step;
    steps.push(line);
  }
  if (done !== progress.stageSteps)
    refuse(path, 'tokens', `a last line at ${progress.stageSteps * plan.tokensPerStep}`, done * plan.tokensPerStep);
  return steps;
}

function* readLines(path: string): Generator<[line: number, value: unknown]> {
  if (!existsSync(path)) throw new InputError(`${path} is missing: a line for each step, with tokens, loss and lr.`);
  const bytes = readFileSync(path);
  if (bytes.length > MAX_RECORDS_BYTES) refuse(path, 'size', `at most ${MAX_RECORDS_BYTES} bytes`, bytes.length);
  for (const [index, line] of bytes.toString('utf8').split('\n').entries()) {
    if (line.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      throw new InputError(`${path}:${index + 1} cannot be read as JSON: ${(error as Error).message}.`, {
        cause: error,
      });
    }
    yield [index + 1, value];
  }
}

/** The same architecture as the one handed over. Fields that Strata does not know, and special tokens, are the trainer's affair. */
function checkModel({ folder, config }: Checkpoint, { model }: TrainStage): void {
  const asked = Object.entries(model).filter(([field]) => !field.endsWith('_token_id'));
  const found = asked.map(([field]) => [field, (config as Readonly<Record<string, unknown>>)[field]]);
  const [first] = differences(Object.fromEntries(asked), Object.fromEntries(found));
  if (first !== undefined)
    throw new InputError(`${join(folder, 'config.json')}: not the model that was handed over: ${first}.`);
}

/** Numbers are finite, frozen weights are as they were, and what was to be trained has changed. */
function checkWeights({ folder }: Checkpoint, stage: TrainStage, session: TrainingSession, weights: Weights): void {
  let changed = 0;
  for (const spec of stage.specs) {
    if (spec.tiedTo !== undefined) continue;
    const before = session.parameter(spec.name);
    const after = weights.parameter(spec.name);
    let differs = false;
    for (let i = 0; i < after.length; i++) {
      const value = after[i]!;
      if (!Number.isFinite(value)) refuse(folder, `weight "${spec.name}"`, 'finite numbers', String(value));
      differs ||= value !== before[i];
    }
    if (differs && !stage.isTrained(spec))
      refuse(folder, `weight "${spec.name}"`, 'it as it was: it is frozen', 'changes');
    if (differs) changed++;
  }
  if (changed === 0)
    throw new InputError(`${folder}: the checkpoint is unchanged: its weights are those that were handed over.`);
}

function requireLoss(path: string, field: string, ours: number, theirs: number): void {
  if (Math.abs(ours - theirs) <= LOSS_TOLERANCE) return;
  refuse(path, field, `${ours.toFixed(4)} as Strata measures it, within ${LOSS_TOLERANCE}`, theirs);
}

function refuse(path: string, field: string, wanted: unknown, found: unknown): never {
  throw new InputError(`${path}: ${field}: expected ${String(wanted)}, found ${String(found)}.`);
}
