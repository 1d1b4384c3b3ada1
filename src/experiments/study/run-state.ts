import type { JobResult } from '../sweep/index.js';
import type { PlannedRun } from './plan.js';
import type { RunTail } from './run-tail.js';

/** "stopped": begun, and it goes on from its checkpoint; "left": not begun. */
export type RunStatus = JobResult['status'] | 'running' | 'stopped' | 'left';

/** Where a run of a study stands. */
export interface RunState extends Pick<PlannedRun, 'name' | 'part' | 'isTuning' | 'steps' | 'flops'> {
  readonly status: RunStatus;
  /** Exact FLOPs of the run itself so far. */
  readonly flopsDone: number;
  /** Of a run that is under way, or stopped: its last train record. */
  readonly step?: number;
  readonly loss?: number;
  readonly tokensPerSecond?: number;
  readonly error?: string;
}

/** Runs and exact FLOPs together. */
export interface StudyTotals {
  readonly runs: { readonly all: number } & Readonly<Record<RunStatus, number>>;
  /** `left` is without the runs that failed, were skipped or wait: the next sitting tries these again. */
  readonly flops: { readonly all: number; readonly done: number; readonly left: number };
}

/** The state of a run with this status; `tail` for those whose records tell more, `result` for those that ended. */
export function stateOf(
  { name, part, isTuning, steps, flops, flopsBefore }: PlannedRun,
  status: RunStatus,
  tail?: RunTail,
  result?: JobResult,
): RunState {
  const partly = Math.min(flops, Math.max(0, (tail?.flops ?? flopsBefore) - flopsBefore));
  return {
    ...{ name, part, isTuning, status, steps, flops, flopsDone: status === 'done' ? flops : partly },
    ...(tail?.step === undefined ? {} : { step: tail.step }),
    ...(tail?.loss === undefined ? {} : { loss: tail.loss }),
    ...(tail?.tokensPerSecond === undefined ? {} : { tokensPerSecond: tail.tokensPerSecond }),
    ...(result?.error === undefined ? {} : { error: result.error }),
  };
}

const TO_DO: readonly RunStatus[] = ['running', 'stopped', 'left'];

export function totalsOf(states: readonly RunState[]): StudyTotals {
  const runs = { all: states.length, done: 0, running: 0, stopped: 0, failed: 0, skipped: 0, waiting: 0, left: 0 };
  const flops = { all: 0, done: 0, left: 0 };
  for (const { status, flops: all, flopsDone } of states) {
    runs[status]++;
    flops.all += all;
    flops.done += flopsDone;
    if (TO_DO.includes(status)) flops.left += all - flopsDone;
  }
  return { runs, flops };
}
