import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { holderOf } from '../../files/lock.js';
import { recordsPath } from '../../records/index.js';
import { type JobResult, lastResults } from '../sweep/index.js';
import { type PlannedRun, planStudy } from './plan.js';
import { type RunState, type RunStatus, stateOf, type StudyTotals, totalsOf } from './run-state.js';
import { RunTail } from './run-tail.js';
import { type LoadedStudy, readStudyFile } from './schema.js';

/** A part of a study, or its tuning. */
export interface PartStatus extends StudyTotals {
  readonly name: string;
  readonly isTuning: boolean;
  /** End points that are measured; tuning has none. */
  readonly endPoints: { readonly all: number; readonly done: number };
}

/** Where a study stands, by what lies in its folder. */
export interface StudyStatus extends StudyTotals {
  readonly study: string;
  readonly hash: string;
  readonly folder: string;
  readonly state: 'running' | 'stopped' | 'done';
  /** False while tuning may still ask for more runs. */
  readonly isTuned: boolean;
  readonly parts: readonly PartStatus[];
  /** Every run, bases first. */
  readonly list: readonly RunState[];
  /** FLOPs per second of the runs under way together; null where nothing runs, or has told its speed. */
  readonly flopsPerSecond: number | null;
  readonly secondsLeft: number | null;
}

/** Runs that ended last, whose speed counts beside that of the runs under way. */
const RECENT = 8;

/**
 * Reads where a study stands that runs, or stopped. Writes nothing, and asks no process.
 *
 * @param names Parts; default: those that are not for later, and those that were begun.
 * @throws InputError where the folder is that of no study.
 */
export async function readStudyStatus(folder: string, names?: readonly string[]): Promise<StudyStatus> {
  const loaded = readStudyFile(folder);
  const results = lastResults(folder);
  const { runs, cells, isTuned } = await planStudy(loaded, folder, names ?? begunParts(loaded, folder), results);
  const tails = new Map<string, RunTail>();
  const statuses = new Map<string, RunStatus>();
  const list = runs.map((run) => {
    const result = results.get(run.name);
    const status = statusOf(run, result, statuses);
    statuses.set(run.name, status);
    if (status !== 'running' && status !== 'stopped') return stateOf(run, status, undefined, result);
    const tail = new RunTail(run.folder);
    tail.look();
    tails.set(run.name, tail);
    return stateOf(run, status, tail);
  });
  const totals = totalsOf(list);
  const speed = speedOf(runs, results, statuses, tails);
  const isDone = isTuned && totals.runs.done === totals.runs.all;
  return {
    ...{ study: loaded.study.name, hash: loaded.hash, folder },
    state: totals.runs.running > 0 ? 'running' : isDone ? 'done' : 'stopped',
    isTuned,
    ...totals,
    parts: partsOf(list, (part) => cells.filter((cell) => cell.part === part).map(({ job }) => statuses.get(job))),
    list,
    flopsPerSecond: speed ?? null,
    secondsLeft: speed === undefined ? null : totals.flops.left / speed,
  };
}

/** The parts that are run by default, and later ones of which there are runs. */
function begunParts({ study }: LoadedStudy, folder: string): string[] {
  const begun = ['tuning', 'runs'].flatMap((kind) => {
    const runs = join(folder, kind);
    return existsSync(runs) ? readdirSync(runs) : [];
  });
  return study.parts
    .filter(({ name, later }) => !later || begun.some((run) => run.startsWith(`${name}.`)))
    .map(({ name }) => name);
}

/** @param before Of the runs that come before this one, its base among them. */
function statusOf(run: PlannedRun, result: JobResult | undefined, before: ReadonlyMap<string, RunStatus>): RunStatus {
  if (run.wasDone) return 'done';
  if (holderOf(run.folder) !== undefined) return 'running';
  const base = run.base === undefined ? 'done' : before.get(run.base)!;
  // A skipped run is to be done again once its base is.
  if (result?.status === 'skipped' && !['failed', 'skipped', 'waiting'].includes(base)) return 'left';
  return result?.status ?? (existsSync(recordsPath(run.folder)) ? 'stopped' : 'left');
}

function partsOf(
  list: readonly RunState[],
  cellsOf: (part: string) => readonly (RunStatus | undefined)[],
): PartStatus[] {
  const groups = new Map<string, RunState[]>();
  for (const state of list) {
    const key = `${state.part} ${state.isTuning}`;
    groups.set(key, [...(groups.get(key) ?? []), state]);
  }
  return [...groups.values()].map((states) => {
    const { part: name, isTuning } = states[0]!;
    const cells = isTuning ? [] : cellsOf(name);
    const done = cells.filter((status) => status === 'done').length;
    return { name, isTuning, ...totalsOf(states), endPoints: { all: cells.length, done } };
  });
}

/** FLOPs per second of all runs under way: how fast one is, by these and by those that ended last, times how many there are. */
function speedOf(
  runs: readonly PlannedRun[],
  results: ReadonlyMap<string, JobResult>,
  statuses: ReadonlyMap<string, RunStatus>,
  tails: ReadonlyMap<string, RunTail>,
): number | undefined {
  const byName = new Map(runs.map((run) => [run.name, run]));
  const ended = [...results.values()].filter(({ status, name }) => status === 'done' && byName.has(name));
  let [flops, seconds] = [0, 0];
  for (const { name, seconds: took = 0 } of ended.slice(-RECENT)) {
    if (took === 0) continue;
    flops += byName.get(name)!.flops;
    seconds += took;
  }
  let count = 0;
  for (const [name, { flops: now, time, begun }] of tails) {
    if (statuses.get(name) !== 'running') continue;
    count++;
    if (begun === undefined || now === undefined || time === undefined) continue;
    flops += now - (begun.flops ?? byName.get(name)!.flopsBefore);
    seconds += time - begun.time;
  }
  return count === 0 || flops <= 0 || !(seconds > 0) ? undefined : (count * flops) / seconds;
}
