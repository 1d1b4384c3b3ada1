import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError } from '../../errors.js';
import { evalRecords, type LoadedTask, type RunPosition, sampleLines, type TaskResult } from '../../eval/index.js';
import { writeFileAtomic } from '../../files/atomic.js';
import type { Manifest } from '../../interop/index.js';
import { readRecords, RecordWriter, recordsPath } from '../../records/index.js';
import { lockFolder } from '../../files/lock.js';

const samplesPath = (out: string, task: string): string => join(dirname(out), `samples_${task}.jsonl`);

/**
 * Makes the folder of the results, and refuses samples that would replace those of another evaluation: they are named after the task alone.
 *
 * @param tasks Tasks whose samples will be written.
 * @throws InputError where the folder cannot be written to, or samples of a task lie in it, but no `out`.
 */
export function prepareOutput(out: string, tasks: readonly string[]): void {
  try {
    mkdirSync(dirname(out), { recursive: true });
    accessSync(dirname(out), constants.W_OK);
  } catch (error) {
    throw new InputError(`--out ${out}: cannot write there (${(error as NodeJS.ErrnoException).code ?? 'unknown'}).`, {
      cause: error,
    });
  }
  if (existsSync(out) && statSync(out).isDirectory())
    throw new InputError(`--out ${out}: expected the name of a file, found a folder.`);
  const other = tasks.map((task) => samplesPath(out, task)).find((path) => existsSync(path));
  if (other !== undefined && !existsSync(out))
    throw new InputError(`${other} is of another evaluation: give --out a folder of its own.`);
}

/** Writes the results so far and, where it is given, the documents of the last task. */
export function writeResults(out: string, document: Record<string, unknown>, samples: TaskResult | undefined): void {
  if (samples !== undefined) writeFileAtomic(samplesPath(out, samples.task.task.name), sampleLines(samples));
  writeFileAtomic(out, `${JSON.stringify(document, null, 2)}\n`);
}

/** Whether a run's records have a task's result at a step already, over as many documents. */
export function isRecorded(run: string, step: number, { task, documents, fewShot }: LoadedTask): boolean {
  if (!existsSync(recordsPath(run))) return false;
  return readRecords(recordsPath(run)).evals.some(
    (record) =>
      record.step === step &&
      record.task === task.name &&
      record['documents'] === documents.length &&
      (record['fewShot'] ?? 0) === fewShot,
  );
}

/** Where in its run a checkpoint stands; undefined where its manifest does not say. */
export function positionOf(manifest: Manifest | undefined): RunPosition | undefined {
  const { step, tokens, flops, flopsExact } = manifest ?? {};
  return step === undefined || tokens === undefined || flops === undefined
    ? undefined
    : { step, tokens, flops, flopsExact };
}

/** Appends a task's result to the records of a run. */
export function appendResult(run: string, position: RunPosition, result: TaskResult): void {
  const lock = lockFolder(run);
  try {
    using writer = RecordWriter.open(recordsPath(run), { chain: true });
    for (const record of evalRecords(result, position)) writer.append(record);
  } finally {
    lock.release();
  }
}
