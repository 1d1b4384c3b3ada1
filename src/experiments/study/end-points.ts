import { existsSync } from 'node:fs';
import { readRun, type Run, recordsPath } from '../../records/index.js';
import type { SweepJob } from '../sweep/index.js';
import { isAnnealed, type LossPoint } from '../compare/index.js';
import type { Cell } from './expand.js';

/** The measured end of a run: its loss, and everything that was paid for it, bases included. */
export interface EndPoint extends Cell, LossPoint {
  /** Left out where the end is not annealed, and so not compared. */
  readonly annealed: boolean;
}

/** Reads the ends of all cells whose runs are done. */
export function readEndPoints(cells: readonly Cell[], jobs: readonly SweepJob[]): EndPoint[] {
  const byName = new Map(jobs.map((job) => [job.name, job]));
  const seconds = new Map<string, number>();
  return cells.flatMap((cell) => {
    const job = byName.get(cell.job);
    if (job === undefined || !existsSync(recordsPath(job.folder))) return [];
    const run = readRun(job.folder);
    const last = run.records.validation.at(-1);
    if (last === undefined || !run.records.events.some(({ name }) => name === 'end')) return [];
    return [
      {
        ...cell,
        loss: last.loss,
        flops: last.flops,
        flops6nd: last.flops6nd ?? NaN,
        flopsNonEmbedding: last.flopsNonEmbedding ?? NaN,
        tokens: last.tokens,
        seconds: secondsOf(job, byName, seconds),
        annealed: isAnnealed(run),
      },
    ];
  });
}

/** Seconds spent on training steps by a run and all that it goes on from. */
function secondsOf(job: SweepJob, byName: ReadonlyMap<string, SweepJob>, known: Map<string, number>): number {
  let sum = known.get(job.name);
  if (sum === undefined) {
    const parent = job.base === undefined ? undefined : byName.get(job.base);
    sum = ownSeconds(readRun(job.folder)) + (parent === undefined ? 0 : secondsOf(parent, byName, known));
    known.set(job.name, sum);
  }
  return sum;
}

/** By the recorded throughput: pauses, restarts and validation do not count. NaN where the records do not say. */
function ownSeconds({ records }: Run): number {
  const { tokens, tokensPerSecond, length } = records.train;
  const first = records.train.length > 1 ? tokens[1]! - tokens[0]! : 0;
  let sum = 0;
  for (let i = 0; i < length; i++) sum += (i === 0 ? first : tokens[i]! - tokens[i - 1]!) / tokensPerSecond[i]!;
  return sum;
}
