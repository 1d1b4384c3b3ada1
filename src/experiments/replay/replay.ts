import { constants, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError, WorkError } from '../../errors.js';
import { checkpointSteps, type Manifest, readManifest, verifyManifest } from '../../interop/index.js';
import { readRunManifest, recordsPath } from '../../records/index.js';
import { readTrainerState, type TrainerState } from '../../train/checkpoint.js';
import { environmentDifferences } from '../../train/environment.js';
import { Interruption, type RunConfigInput, train, type TrainOptions } from '../../train/index.js';
import { compareRecords, type RecordsComparison } from './records.js';

/** A file of a checkpoint in the run, and as it came out again. */
export interface ReplayedFile {
  readonly name: string;
  readonly sha256: string;
  readonly replayedSha256: string | null;
}

/** What training a segment of a run again came to. */
export interface Replay {
  readonly from: number;
  readonly to: number;
  /** Weights, optimizer state, tokenizer and records, times aside, came out the same. */
  readonly equal: boolean;
  readonly files: readonly ReplayedFile[];
  readonly records: RecordsComparison;
  /** What the bits depend on and was different here, as "threads 2 -> 4"; then a difference proves nothing. */
  readonly environment: readonly string[];
}

/** How a segment is trained again; without `threads` with as many as the run had. */
export type ReplayOptions = Pick<TrainOptions, 'threads' | 'signal' | 'callbacks' | 'reporter'>;

/** Reads `A..B`. Throws InputError. */
export function parseSegment(text: string): { from: number; to: number } {
  const [, from, to] = /^(\d+)\.\.(\d+)$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined && Number(from) < Number(to))
    return { from: Number(from), to: Number(to) };
  throw new InputError(`--replay: expected two steps, the smaller one first, such as 500..1000; found "${text}".`);
}

/**
 * Trains a segment of a run again, in a temporary folder, and compares what comes out with the checkpoint at its end.
 *
 * Config, data, weights and optimizer state are those of the run; `from` 0 is its start. The run itself is only read.
 *
 * @throws InputError where a checkpoint, the data or the parent is not there, WorkError where a checkpoint is damaged, Interruption.
 */
export async function replaySegment(
  run: string,
  { from, to }: { from: number; to: number },
  options: ReplayOptions = {},
): Promise<Replay> {
  if (!existsSync(join(run, 'run.json'))) throw new InputError(`${run} is no run folder: it has no run.json.`);
  const { config } = readRunManifest(run);
  const [begin, end] = openSegment(run, from, to);
  const scratch = mkdtempSync(join(tmpdir(), 'strata-replay-'));
  try {
    copyStart(run, scratch, from);
    const { environment } = end.state;
    await trainTo(to, scratch, config as unknown as RunConfigInput, { threads: environment.threads, ...options });
    return compareEnds(run, scratch, { from, to }, begin, end);
  } catch (error) {
    // The temporary folder stands for the run's.
    if (error instanceof InputError) throw new InputError(error.message.replaceAll(scratch, run), { cause: error });
    throw error;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

interface StoredCheckpoint {
  readonly state: TrainerState;
  readonly manifest: Manifest;
}

const checkpointFolder = (run: string, step: number): string => join(run, 'checkpoints', String(step));

function openSegment(run: string, from: number, to: number): [StoredCheckpoint | undefined, StoredCheckpoint] {
  const steps = checkpointSteps(run);
  const missing = [from, to].filter((step) => step !== 0 && !steps.includes(step));
  if (missing.length > 0)
    throw new InputError(
      `${run} has no checkpoint ${missing.join(' and no ')}; it has ${steps.length === 0 ? 'none' : `0 (its start), ${steps.join(', ')}`}.`,
    );
  return [from === 0 ? undefined : openStored(run, from), openStored(run, to)];
}

function openStored(run: string, step: number): StoredCheckpoint {
  const folder = checkpointFolder(run, step);
  const manifest = readManifest(folder)!;
  const problem = verifyManifest(folder, manifest);
  if (problem !== undefined) throw new WorkError(`Nothing was trained again: ${problem}`);
  return { manifest, state: readTrainerState(folder) };
}

/** Copies what the run had at the segment's start; the trainer cuts the records there. */
function copyStart(run: string, scratch: string, from: number): void {
  copyFileSync(join(run, 'run.json'), join(scratch, 'run.json'));
  if (from === 0) return;
  if (!existsSync(recordsPath(run))) throw new InputError(`${recordsPath(run)} does not exist.`);
  copyFileSync(recordsPath(run), recordsPath(scratch), constants.COPYFILE_FICLONE);
  mkdirSync(join(scratch, 'checkpoints'));
  cpSync(checkpointFolder(run, from), checkpointFolder(scratch, from), {
    recursive: true,
    mode: constants.COPYFILE_FICLONE,
  });
}

async function trainTo(to: number, out: string, config: RunConfigInput, options: ReplayOptions): Promise<void> {
  try {
    await train(config, { ...options, out, stopAfter: to });
  } catch (error) {
    if (!(error instanceof Interruption) || error.step !== to) throw error;
  }
}

function compareEnds(
  run: string,
  scratch: string,
  { from, to }: { from: number; to: number },
  begin: StoredCheckpoint | undefined,
  end: StoredCheckpoint,
): Replay {
  const folder = checkpointFolder(scratch, to);
  const manifest = readManifest(folder);
  if (manifest === undefined) throw new WorkError(`Trained again, the run ended before step ${to}.`);
  const state = readTrainerState(folder);
  // trainer.json holds lengths of records, which hold times.
  const files = Object.entries(end.manifest.files)
    .filter(([name]) => name !== 'trainer.json')
    .map(([name, { sha256 }]) => ({ name, sha256, replayedSha256: manifest.files[name]?.sha256 ?? null }));
  const start = begin?.state.recordsBytes ?? 0;
  const records = compareRecords(
    [recordsPath(run), start, end.state.recordsBytes],
    [recordsPath(scratch), start, state.recordsBytes],
  );
  const environment = [begin?.state.environment ?? end.state.environment, end.state.environment].flatMap((before) =>
    environmentDifferences(before, state.environment),
  );
  return {
    ...{ from, to, files, records, environment: [...new Set(environment)] },
    equal: records.firstDifference === null && files.every((file) => file.sha256 === file.replayedSha256),
  };
}

const short = (hash: string | null): string => (hash === null ? 'none' : hash.slice(0, 12));

/** The outcome of a replay in a sentence. */
export function describeReplay({ from, to, equal, files, records, environment }: Replay): string {
  const elsewhere = environment.length === 0 ? '' : `; different here: ${environment.join(', ')}`;
  const weights = files.find(({ name }) => name.endsWith('.safetensors'));
  if (equal)
    return `steps ${from + 1} to ${to} trained again give the same weights (SHA-256 ${short(weights?.sha256 ?? null)}), optimizer state and ${records.count} records, bit for bit${elsewhere}`;
  const differing = files
    .filter((file) => file.sha256 !== file.replayedSha256)
    .map((file) => `${file.name} (${short(file.sha256)} there, ${short(file.replayedSha256)} here)`);
  const what = [...differing, ...(records.firstDifference === null ? [] : [records.firstDifference])].join(', ');
  const loss = records.largestLossDifference;
  return (
    `steps ${from + 1} to ${to} trained again differ: ${what}; losses by ${loss === null ? 'an unknown amount' : `at most ${loss.toPrecision(2)}`}${elsewhere}` +
    (environment.length === 0 ? '' : ', which alone can change bits, so this says nothing about the run')
  );
}
