import type { JobResult, SweepJob } from '../sweep/index.js';
import type { PlannedRun, StudyPlan } from './plan.js';
import { type RunState, stateOf, type StudyTotals, totalsOf } from './run-state.js';
import { RunTail } from './run-tail.js';

/** Where a study stands while it runs. */
export interface StudyProgressState extends StudyTotals {
  /** Runs under way. */
  readonly running: readonly RunState[];
  /** Seconds of this sitting. */
  readonly elapsed: number;
  /** At the FLOPs per second of this sitting; undefined before there are any. */
  readonly secondsLeft: number | undefined;
}

/**
 * Follows a study that runs in this process, by the results of its runs and the records that they write.
 *
 * What earlier sittings did counts as done, but not for the speed.
 */
export class StudyProgress {
  #plan: readonly PlannedRun[] = [];
  #byName = new Map<string, PlannedRun>();
  readonly #results = new Map<string, JobResult>();
  readonly #tails = new Map<string, RunTail>();
  /** FLOPs that runs which have ended took in this sitting. */
  #spent = 0;
  readonly #start: number;

  /** @param now Clock in seconds. */
  constructor(private readonly now: () => number = () => performance.now() / 1000) {
    this.#start = now();
  }

  plan({ runs }: StudyPlan): void {
    this.#plan = runs;
    this.#byName = new Map(runs.map((run) => [run.name, run]));
  }

  begin({ name, folder }: Pick<SweepJob, 'name' | 'folder'>): void {
    this.#tails.set(name, new RunTail(folder, { onlyChanged: true }));
  }

  end(result: JobResult): void {
    const { name } = result;
    const [run, tail] = [this.#byName.get(name), this.#tails.get(name)];
    this.#results.set(name, result);
    this.#tails.delete(name);
    if (run === undefined || tail === undefined) return;
    tail.look();
    this.#spent += spentBy(run, tail, result.status === 'done' ? run.flopsBefore + run.flops : tail.flops);
  }

  /** Looks at what the runs under way have written since the last call. */
  state(): StudyProgressState {
    let spent = this.#spent;
    const states = this.#plan.map((run) => {
      const tail = this.#tails.get(run.name);
      const result = this.#results.get(run.name);
      if (tail === undefined) return stateOf(run, result?.status ?? (run.wasDone ? 'done' : 'left'), undefined, result);
      tail.look();
      spent += spentBy(run, tail, tail.flops);
      return stateOf(run, 'running', tail);
    });
    const totals = totalsOf(states);
    const elapsed = this.now() - this.#start;
    return {
      ...totals,
      running: states.filter(({ status }) => status === 'running'),
      elapsed,
      secondsLeft: spent > 0 ? totals.flops.left / (spent / elapsed) : undefined,
    };
  }
}

/** FLOPs since the run's process began; none where it has written nothing yet. */
const spentBy = ({ flopsBefore }: PlannedRun, { begun }: RunTail, flops = flopsBefore): number =>
  begun === undefined ? 0 : Math.max(0, flops - (begun.flops ?? flopsBefore));
