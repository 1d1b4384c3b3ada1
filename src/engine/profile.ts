import { showTypes, type Work, workOf, type Application } from './work.js';

/** What a profile knows of one call of a program. */
export interface ProfiledCall extends Work {
  readonly op: string;
  /** Shapes of its inputs. */
  readonly shapes: string;
}

/** Sums over all calls of an op with the same shapes. */
export interface OpTotal extends ProfiledCall {
  readonly calls: number;
  readonly seconds: number;
}

interface ProgramTimes {
  readonly name: string;
  readonly calls: readonly ProfiledCall[];
  readonly seconds: Float64Array;
  runs: number;
}

/** One run of a program, or a piece of work around programs, in milliseconds of `performance.now()`. */
type Span =
  | { readonly name: string; readonly start: number; readonly end: number }
  | { readonly program: ProgramTimes; readonly times: Float64Array };

/** Optimizer steps whose every call goes into the trace; the sums are over all. */
const TRACED_STEPS = 20;
/** The first step compiles JavaScript and meets cold memory. */
const SKIPPED_STEPS = 1;

let active: Profile | undefined;

/** The profile that is being taken, if any: replays ask at each run, and at no call. */
export const activeProfile = (): Profile | undefined => active;

/** Runs a piece of work that shows as a span of its own where a profile is being taken. */
export function profiled<R>(name: string, body: () => R): R {
  return active === undefined ? body() : active.span(name, body);
}

/** Runs one optimizer step, which a profile that is being taken counts. */
export function profiledStep<R>(body: () => R): R {
  return active === undefined ? body() : active.step(body);
}

/**
 * Times of every call that replays make while it is the active profile: one reading of the clock per call.
 *
 * `using profile = new Profile('all')` takes it until the end of the scope; one at a time in a process.
 */
export class Profile implements Disposable {
  readonly #programs = new Map<object, ProgramTimes>();
  readonly #spans: Span[] = [];
  #steps = 0;
  #stepSeconds = 0;
  #counting: boolean;
  #scratch = new Float64Array(0);

  /** @param counted What the sums are over: optimizer steps from the second on, or everything. */
  constructor(counted: 'steps' | 'all') {
    if (active !== undefined) throw new RangeError('a profile is being taken already');
    active = this;
    this.#counting = counted === 'all';
  }

  /** Steps behind the first, over which the sums go. */
  get steps(): number {
    return Math.max(0, this.#steps - SKIPPED_STEPS);
  }

  /** Seconds of these steps. */
  get stepSeconds(): number {
    return this.#stepSeconds;
  }

  /** Runs one optimizer step. */
  step<R>(body: () => R): R {
    this.#counting = this.#steps >= SKIPPED_STEPS;
    const start = performance.now();
    const result = body();
    const end = performance.now();
    this.#steps++;
    if (this.#counting) this.#stepSeconds += (end - start) / 1000;
    this.#counting = false;
    if (this.#isTraced(this.#steps)) this.#spans.push({ name: `step ${this.#steps}`, start, end });
    return result;
  }

  span<R>(name: string, body: () => R): R {
    const start = performance.now();
    try {
      return body();
    } finally {
      if (this.#isTraced(this.#steps + 1)) this.#spans.push({ name, start, end: performance.now() });
    }
  }

  /** Runs a program's calls in order; `describe` is asked once per program. */
  run(name: string, calls: readonly (() => void)[], describe: () => readonly Application[]): void {
    const program = this.#programOf(name, calls, describe);
    if (this.#scratch.length <= calls.length) this.#scratch = new Float64Array(calls.length + 1);
    const times = this.#scratch;
    let now = performance.now();
    times[0] = now;
    for (let i = 0; i < calls.length; i++) {
      (calls[i] as () => void)();
      now = performance.now();
      times[i + 1] = now;
    }
    if (!this.#counting) return;
    program.runs++;
    for (let i = 0; i < calls.length; i++)
      program.seconds[i] = program.seconds[i]! + (times[i + 1]! - times[i]!) / 1000;
    if (this.#isTraced(this.#steps + 1)) this.#spans.push({ program, times: times.slice(0, calls.length + 1) });
  }

  /** Sums per op and shapes, longest first. */
  totals(): OpTotal[] {
    const sums = new Map<string, { -readonly [K in keyof OpTotal]: OpTotal[K] }>();
    for (const { calls, seconds, runs } of this.#programs.values())
      calls.forEach((call, i) => {
        const key = `${call.op} ${call.shapes} ${call.flops}`;
        const sum = sums.get(key) ?? { ...call, calls: 0, seconds: 0 };
        sum.calls += runs;
        sum.seconds += seconds[i]!;
        sums.set(key, sum);
      });
    return [...sums.values()].filter(({ calls }) => calls > 0).sort((a, b) => b.seconds - a.seconds);
  }

  /** Events of the first steps in Chrome's trace format (chrome://tracing, Perfetto): complete events, microseconds. */
  trace(): object {
    const origin = Math.min(...this.#spans.map((span) => ('program' in span ? span.times[0]! : span.start)));
    const event = (name: string, category: string, start: number, end: number, args?: object): object => ({
      ...{ name, cat: category, ph: 'X', pid: 1, tid: 1 },
      ts: Math.round((start - origin) * 1e6) / 1e3,
      dur: Math.round((end - start) * 1e6) / 1e3,
      ...(args === undefined ? {} : { args }),
    });
    const events = this.#spans.flatMap((span) => {
      if (!('program' in span)) return [event(span.name, 'work', span.start, span.end)];
      const { program, times } = span;
      const calls = program.calls.map(({ op, shapes, flops }, i) => {
        const gflopPerSecond = flops / (times[i + 1]! - times[i]!) / 1e6;
        return event(op, 'op', times[i]!, times[i + 1]!, {
          shapes,
          ...(flops > 0 ? { 'GFLOP/s': Number(gflopPerSecond.toFixed(1)) } : {}),
        });
      });
      return [event(program.name, 'program', times[0]!, times.at(-1)!), ...calls];
    });
    return { displayTimeUnit: 'ms', traceEvents: events };
  }

  [Symbol.dispose](): void {
    if (active === this) active = undefined;
  }

  #isTraced(step: number): boolean {
    return step > SKIPPED_STEPS && step <= SKIPPED_STEPS + TRACED_STEPS;
  }

  #programOf(name: string, calls: readonly unknown[], describe: () => readonly Application[]): ProgramTimes {
    let program = this.#programs.get(calls);
    if (program === undefined) {
      const described = describe().map((application) => ({
        op: application.rule.name,
        shapes: showTypes(application.inputs),
        ...workOf(application),
      }));
      program = { name, calls: described, seconds: new Float64Array(calls.length), runs: 0 };
      this.#programs.set(calls, program);
    }
    return program;
  }
}
