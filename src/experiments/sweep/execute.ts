import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../../files/atomic.js';
import { RecordWriter } from '../../records/index.js';
import { HandedOver } from '../../train/index.js';
import type { SweepJob } from './spec.js';

/** What became of one run. */
export interface JobResult {
  readonly name: string;
  readonly role: SweepJob['kind'];
  readonly folder: string;
  readonly coordinates: SweepJob['coordinates'];
  /** The base whose training is part of its cost. */
  readonly startsFrom?: string;
  /** "waiting": another trainer has to do a stage elsewhere first. */
  readonly status: 'done' | 'failed' | 'skipped' | 'waiting';
  /** Last validation loss in nats per token. */
  readonly validationLoss?: number;
  /** Exact FLOPs, the base included. */
  readonly flopsExact?: string;
  readonly seconds?: number;
  /** What went wrong, in the words of the run. */
  readonly error?: string;
  /** It had been done before. */
  readonly wasDone?: boolean;
}

/** What a run that ended well says of itself. */
export interface Outcome {
  readonly validationLoss?: number | undefined;
  readonly flopsExact: string;
}

/** How a sweep is run. */
export interface SweepOptions {
  /** Program and leading arguments that start `strata`, each run in a process of its own; or what does a run in this process. */
  readonly command: readonly string[] | ((job: SweepJob) => Promise<Outcome>);
  /** Runs at the same time. */
  readonly processes: number;
  /** Threads of all of them together; default: all cores. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Fields that every record gets. */
  readonly stamp?: Readonly<Record<string, string>>;
  /** A run begins, or goes on where it stopped. */
  readonly onStart?: (job: SweepJob) => void;
  readonly onResult?: (result: JobResult, done: number, total: number) => void;
}

/** Results of a sweep, one `event` record called "run" each. */
export const SWEEP_RECORDS = 'sweep.jsonl';

/**
 * Runs what is left of a sweep: each run in a process of its own, bases before what starts from them.
 *
 * A run that fails is reported and the rest goes on; what starts from a failed base is skipped. The same call goes on where an interruption left it:
 * finished runs are known by their config, begun ones resume from their checkpoints.
 */
export async function runSweep(jobs: readonly SweepJob[], out: string, options: SweepOptions): Promise<JobResult[]> {
  mkdirSync(join(out, 'configs'), { recursive: true });
  const path = join(out, SWEEP_RECORDS);
  const before = finishedRuns(path);
  const writer = RecordWriter.open(path, options.stamp === undefined ? {} : { stamp: options.stamp });
  const results = new Map<string, JobResult>();
  const running = new Map<string, Promise<void>>();
  const waiting = [...jobs];
  const report = (job: SweepJob, result: JobResult): void => {
    results.set(job.name, result);
    if (result.wasDone !== true) {
      writer.append({ ...result, kind: 'event', name: 'run', run: result.name, configHash: job.hash });
      writer.flush();
    }
    options.onResult?.(result, results.size, jobs.length);
  };
  const threads = Math.max(1, Math.floor((options.threads ?? availableParallelism()) / options.processes));
  const start = (job: SweepJob): void => {
    const known = before.get(job.hash);
    const base = job.base === undefined ? undefined : results.get(job.base);
    if (known !== undefined && existsSync(job.folder)) return report(job, { ...known, wasDone: true });
    if (base !== undefined && base.status !== 'done')
      return report(job, {
        ...describe(job),
        status: 'skipped',
        error: `its base "${job.base}" ${base.status === 'waiting' ? 'waits' : 'failed'}`,
      });
    options.onStart?.(job);
    const { command } = options;
    const result =
      typeof command === 'function' ? runHere(job, command) : runProcess(job, out, threads, command, options.signal);
    const finished = result.then((found) => {
      running.delete(job.name);
      if (found !== undefined) report(job, found);
    });
    running.set(job.name, finished);
  };
  const isReady = (job: SweepJob): boolean => job.base === undefined || results.has(job.base);
  try {
    while ((waiting.length > 0 && options.signal?.aborted !== true) || running.size > 0) {
      const next = options.signal?.aborted === true ? -1 : waiting.findIndex(isReady);
      if (next >= 0 && running.size < options.processes) start(waiting.splice(next, 1)[0]!);
      else await Promise.race(running.values());
    }
  } finally {
    writer.close();
  }
  return jobs.flatMap((job) => results.get(job.name) ?? []);
}

const describe = ({ name, kind: role, folder, base, coordinates }: SweepJob): Omit<JobResult, 'status'> => ({
  name,
  role,
  folder,
  ...(base === undefined ? {} : { startsFrom: base }),
  coordinates,
});

/** Runs that an earlier call has finished, by the hash of their configs. */
const finishedRuns = (path: string): Map<string, JobResult> =>
  new Map(readResults(path).flatMap(([hash, result]) => (result.status === 'done' ? [[hash, result]] : [])));

/** What became of each run so far, by its name: that it was done, else its last result. */
export function lastResults(out: string): Map<string, JobResult> {
  const results = new Map<string, JobResult>();
  for (const [, result] of readResults(join(out, SWEEP_RECORDS)))
    if (results.get(result.name)?.status !== 'done' || result.status === 'done') {
      // The order of a map is that of first insertion; here it is that of the results.
      results.delete(result.name);
      results.set(result.name, result);
    }
  return results;
}

/** The results that a sweep has written, each with the hash of its config. */
function readResults(path: string): [hash: string, result: JobResult][] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line): [string, JobResult][] => {
      try {
        const { configHash, run, ...rest } = JSON.parse(line) as JobResult & { configHash: string; run: string };
        return [[configHash, { ...rest, name: run }]];
      } catch {
        // A line that was cut off by a crash says nothing; its run is looked at again.
        return [];
      }
    });
}

/** Exit status of a run that stopped by itself: a stage waits for another trainer. */
const EXIT_HANDED_OVER = 130;

/** Characters of a run's output that are kept: its result document, or its last words. */
const KEPT = 1 << 16;

/** Does a run in this process. */
async function runHere(job: SweepJob, run: (job: SweepJob) => Promise<Outcome>): Promise<JobResult> {
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  try {
    return done(job, await run(job), seconds());
  } catch (error) {
    const status = error instanceof HandedOver ? 'waiting' : 'failed';
    return { ...describe(job), status, seconds: seconds(), error: (error as Error).message };
  }
}

const done = (job: SweepJob, { validationLoss, flopsExact }: Outcome, seconds: number): JobResult => ({
  ...describe(job),
  ...{ status: 'done', seconds, flopsExact },
  ...(validationLoss === undefined ? {} : { validationLoss }),
});

/** Starts a run in a process of its own; undefined where it was stopped. */
function runProcess(
  job: SweepJob,
  out: string,
  threads: number,
  command: readonly string[],
  signal: AbortSignal | undefined,
): Promise<JobResult | undefined> {
  const config = join(out, 'configs', `${job.name}.json`);
  writeFileAtomic(config, `${JSON.stringify(job.config, null, 1)}\n`);
  const [program, ...leading] = command as [string, ...string[]];
  const started = performance.now();
  const flags = ['--out', job.folder, '--threads', String(threads), '--quiet', '--json'];
  const child = spawn(program, [...leading, 'train', config, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = (): void => void child.kill('SIGINT');
  signal?.addEventListener('abort', stop);
  let [document, words] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (document = (document + text).slice(-KEPT)));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-KEPT)));
  return new Promise((resolve) => {
    const end = (result: JobResult | undefined): void => {
      signal?.removeEventListener('abort', stop);
      resolve(result);
    };
    child.on('error', (error) => end({ ...describe(job), status: 'failed', error: error.message }));
    child.on('close', (code) => {
      const seconds = (performance.now() - started) / 1000;
      if (signal?.aborted === true && code !== 0) return end(undefined);
      if (code === EXIT_HANDED_OVER) return end({ ...describe(job), status: 'waiting', error: words.trim() });
      if (code !== 0) return end({ ...describe(job), status: 'failed', seconds, error: lastLine(words) });
      end(done(job, JSON.parse(document) as Outcome, seconds));
    });
  });
}

const lastLine = (words: string): string => words.trimEnd().split('\n').at(-1) ?? '';

/** FLOP/s over the runs that a sweep has finished from the start on; undefined where there are none. */
export function measuredRate(path: string): number | undefined {
  let [flops, seconds] = [0, 0];
  for (const [, record] of readResults(path)) {
    if (
      record.status !== 'done' ||
      record.startsFrom !== undefined ||
      record.flopsExact === undefined ||
      record.seconds === undefined
    )
      continue;
    flops += Number(record.flopsExact);
    seconds += record.seconds;
  }
  return seconds === 0 ? undefined : flops / seconds;
}
