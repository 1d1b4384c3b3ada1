import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type ModelConfig, parseBySchema, type WeightSpec } from '../architecture/index.js';
import { InputError, WorkError } from '../errors.js';
import { publishFolder, syncFolder, writeFileAtomic } from '../files/atomic.js';
import {
  checkpointSteps,
  MANIFEST_FILE,
  readManifest,
  SafetensorsWriter,
  saveModel,
  verifyManifest,
  writeManifest,
  type WrittenFile,
} from '../interop/index.js';
import { GROWTH_FILE } from '../growth/index.js';
import { environmentSchema } from './environment.js';
import { fullDiskReason } from './full-disk.js';
import type { Weights } from './weights.js';

const stateSchema = z.strictObject({
  format: z.literal(1),
  /** Index of the stage among the run's stages, repeats counted one by one. */
  stageIndex: z.int().min(0),
  stage: z.string(),
  stageStep: z.int().min(0),
  /** Steps that the stage will have, where its limit says so. */
  stageSteps: z.int().min(0).nullable(),
  step: z.int().min(0),
  /** Sequences that the whole run consumed: the loader's index. */
  sequences: z.int().min(0),
  ledger: z.object({
    tokens: z.number(),
    flopsExact: z.string().regex(/^\d+$/),
    flops6ndExact: z.string().regex(/^\d+$/),
    flopsNonEmbeddingExact: z.string().regex(/^\d+$/),
  }),
  /** Length of records.jsonl. */
  recordsBytes: z.int().min(0),
  /** Last validation loss of the stage. */
  validationLoss: z.number().nullable(),
  /** Updates that the optimizer's moments have seen. */
  optimizerStep: z.int().min(0),
  /** Step of the run at which the present schedule began. */
  scheduleStart: z.int().min(0),
  /** What the last step of a robust objective hands on. */
  objective: z.object({ logNormaliser: z.number(), excess: z.number() }).optional(),
  /** Share of the tokens that each routed layer keeps in the next step. */
  capacities: z.array(z.number().min(0).max(1)).optional(),
  environment: environmentSchema,
});

/** What a run needs beside weights and optimizer state to go on where it was. */
export type TrainerState = z.output<typeof stateSchema>;

export const TRAINER_STATE_FILE = 'trainer.json';
export const OPTIMIZER_FILE = 'optimizer.safetensors';

/** What goes into a checkpoint. */
export interface CheckpointContent {
  readonly config: ModelConfig;
  readonly specs: readonly WeightSpec[];
  readonly weights: Weights;
  readonly state: TrainerState;
  /** Fields of the manifest: what was paid for the model. */
  readonly manifest: Readonly<Record<string, unknown>>;
  /** Files of the tokenizer, which travels with the model, by name. */
  readonly tokenizerFiles: Readonly<Record<string, Uint8Array | string>>;
  /** What strata.json says: masks that still rise. */
  readonly growth?: Readonly<Record<string, unknown>>;
}

const checkpointsFolder = (run: string): string => join(run, 'checkpoints');

/**
 * Writes checkpoint `state.step` of a run, whole or not at all: under a temporary name, synced, renamed; the manifest last.
 *
 * @throws WorkError where the disk is full or refuses; what was written is removed.
 */
export function saveCheckpoint(run: string, content: CheckpointContent): string {
  const { config, specs, weights, state } = content;
  const folder = join(checkpointsFolder(run), String(state.step));
  const temporary = `${folder}.partial`;
  try {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { recursive: true });
    const files = saveModel(temporary, config, (spec) => weights.parameter(spec.name) as Float32Array);
    files[OPTIMIZER_FILE] = saveOptimizer(join(temporary, OPTIMIZER_FILE), specs, weights);
    for (const [name, bytes] of Object.entries(content.tokenizerFiles)) writeFileAtomic(join(temporary, name), bytes);
    if (content.growth !== undefined)
      writeFileAtomic(
        join(temporary, GROWTH_FILE),
        `${JSON.stringify({ format: 1, growth: content.growth }, null, 1)}\n`,
      );
    writeFileAtomic(join(temporary, TRAINER_STATE_FILE), `${JSON.stringify(state, null, 1)}\n`);
    writeManifest(temporary, content.manifest, files);
    // A checkpoint of the same step is from before a damage or an interruption; the new one holds the same.
    removeCheckpoint(folder);
    publishFolder(temporary, folder);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw new WorkError(
      `${folder} could not be written: ${fullDiskReason(error) ?? (error as Error).message}; the run goes on from the checkpoint before when the command is repeated.`,
      { cause: error },
    );
  }
  return folder;
}

/** Writes the optimizer's state by parameter name. */
export function saveOptimizer(path: string, specs: readonly WeightSpec[], weights: Weights): WrittenFile {
  const stated = specs.flatMap((spec) => {
    const moments = spec.tiedTo === undefined ? weights.moments(spec.name) : undefined;
    const shape = spec.axes.map((axis) => axis.size);
    return moments === undefined ? [] : [{ name: spec.name, shape, moments }];
  });
  const writer = new SafetensorsWriter(
    path,
    stated.flatMap(({ name, shape, moments }) =>
      (moments.second === undefined ? ['momentum_buffer'] : ['exp_avg', 'exp_avg_sq']).map((moment) => ({
        name: `${name}.${moment}`,
        dtype: 'F32',
        shape,
      })),
    ),
  );
  try {
    for (const { moments } of stated) {
      writer.writeFloats('F32', moments.first);
      if (moments.second !== undefined) writer.writeFloats('F32', moments.second);
    }
    return writer.finish();
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

/** A checkpoint that a run can go on from. */
export interface FoundCheckpoint {
  readonly folder: string;
  readonly state: TrainerState;
}

/**
 * The newest sound checkpoint of a run.
 *
 * Every file is checked against the manifest. A damaged checkpoint is set aside as `STEP.damaged`, `onDamaged` gets the sentence, and the
 * one before it is tried. What a crash left half-written is removed.
 */
export function findCheckpoint(run: string, onDamaged: (sentence: string) => void): FoundCheckpoint | undefined {
  removePartial(run);
  for (const step of checkpointSteps(run).reverse()) {
    const folder = join(checkpointsFolder(run), String(step));
    const problem = problemOf(folder);
    if (problem === undefined) return { folder, state: readTrainerState(folder) };
    const aside = `${folder}.damaged`;
    rmSync(aside, { recursive: true, force: true });
    renameSync(folder, aside);
    syncFolder(checkpointsFolder(run));
    onDamaged(`${problem} It was set aside as ${aside}.`);
  }
  return undefined;
}

function problemOf(folder: string): string | undefined {
  try {
    const problem = verifyManifest(folder, readManifest(folder)!);
    if (problem === undefined) readTrainerState(folder);
    return problem;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** Reads trainer.json of a checkpoint. Throws InputError naming the field that does not fit. */
export function readTrainerState(folder: string): TrainerState {
  const path = join(folder, TRAINER_STATE_FILE);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InputError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  return parseBySchema(stateSchema, value, path);
}

/** Which checkpoints stay. */
export interface Retention {
  readonly keepLast: number;
  readonly keepEvery?: number | undefined;
}

/** Removes a run's checkpoints that nothing keeps: not the newest, not at a kept multiple, not released. */
export function rotateCheckpoints(run: string, { keepLast, keepEvery }: Retention): void {
  const steps = checkpointSteps(run);
  for (const step of steps.slice(0, Math.max(0, steps.length - keepLast))) {
    const folder = join(checkpointsFolder(run), String(step));
    const isKept = keepEvery !== undefined && step % keepEvery === 0;
    if (!isKept && readManifest(folder)?.['released'] !== true) removeCheckpoint(folder);
  }
}

/** The manifest goes first: a removal that is cut short must not leave what looks like a damaged checkpoint. */
function removeCheckpoint(folder: string): void {
  rmSync(join(folder, MANIFEST_FILE), { force: true });
  rmSync(folder, { recursive: true, force: true });
}

function removePartial(run: string): void {
  const folder = checkpointsFolder(run);
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const isUnnamed = /^\d+$/.test(name) && !existsSync(join(path, MANIFEST_FILE));
    if (name.endsWith('.partial') || isUnnamed) rmSync(path, { recursive: true, force: true });
  }
}
