import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';

/** Processor time so far, in seconds: of all processes of the machine, and of this one. */
export interface ProcessorTime {
  readonly all: number;
  readonly own: number;
}

/** Seconds between decisions; the system counts in hundredths of a second. */
const INTERVAL = 0.5;
/** Runs that lie further apart, in seconds, do not belong to one measurement: what others do in between takes nothing from them. */
const LONGEST_GAP = 0.1;
/** A thread's core counts as taken from this part of the time on at which one thread fewer would be as fast. */
const CAUTION = 0.8;

/**
 * How many of `most` threads should work where other processes keep `taken` cores busy.
 *
 * Threads that share each op wait for the slowest: n of them, one of which has its core for the rest r of the time, do the work of n r; n - 1 do n - 1.
 */
export function threadsBeside(most: number, cores: number, taken: number): number {
  const lacking = Math.max(0, most - (cores - taken));
  const threads = most - Math.floor(lacking);
  return Math.max(1, (lacking % 1) * threads > CAUTION ? threads - 1 : threads);
}

/**
 * Leaves cores that other processes use to them, and takes them back when they are free.
 *
 * Two threads of which one has to share its core make a step four times slower, a token of generation seven times: they wait for each other at every op.
 * `OMP_DYNAMIC=false` keeps the number of threads.
 */
export class ThreadShare {
  readonly #set: (threads: number) => void;
  readonly #cores: number;
  readonly #time: () => ProcessorTime;
  readonly #clock: () => number;
  #most: number;
  #threads: number;
  #start = 0;
  #before: ProcessorTime | undefined;
  #lastEnd = -Infinity;

  /** @param options What tests replace: cores of the machine, processor time, and a clock in seconds. */
  constructor(
    most: number,
    set: (threads: number) => void,
    options: { cores?: number; time?: () => ProcessorTime; clock?: () => number } = {},
  ) {
    this.#set = set;
    this.#cores = options.cores ?? cpus().length;
    this.#time = options.time ?? processorTime;
    this.#clock = options.clock ?? (() => performance.now() / 1000);
    this.#most = this.#threads = most;
  }

  /** Sets how many threads may work at most; all of them do until the next decision. */
  allow(most: number): void {
    this.#most = this.#threads = most;
    this.#before = undefined;
  }

  /** Before work that the threads share. */
  begin(): void {
    if (this.#most === 1) return;
    const now = this.#clock();
    if (this.#before === undefined || now - this.#lastEnd > LONGEST_GAP) this.#measureFrom(now);
  }

  /** Behind it: decides how many threads do the next. */
  end(): void {
    if (this.#before === undefined) return;
    const now = (this.#lastEnd = this.#clock());
    const seconds = now - this.#start;
    if (seconds < INTERVAL) return;
    const before = this.#before;
    const { all, own } = this.#measureFrom(now);
    const taken = fixed() ? 0 : (all - before.all - (own - before.own)) / seconds;
    const threads = threadsBeside(this.#most, this.#cores, taken);
    if (threads !== this.#threads) this.#set((this.#threads = threads));
  }

  #measureFrom(now: number): ProcessorTime {
    this.#start = now;
    return (this.#before = this.#time());
  }
}

/** OpenMP's own variable for whether the number of threads may be adjusted. */
const fixed = (): boolean => process.env['OMP_DYNAMIC']?.toLowerCase() === 'false';

/** Linux has it in one line; what Node offers for every system opens several files for each core there. */
function processorTime(): ProcessorTime {
  const { user, system } = process.cpuUsage();
  const own = (user + system) / 1e6;
  try {
    return { all: process.platform === 'linux' ? busyOnLinux() : busyByNode(), own };
  } catch {
    // Where the system does not say, nobody else counts.
    return { all: own, own };
  }
}

/** Linux counts in hundredths of a second on every architecture that Node runs on: user, nice, system, idle, waiting, interrupts (two kinds). */
function busyOnLinux(): number {
  const [, user = 0, nice = 0, kernel = 0, , , hard = 0, soft = 0] = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]!
    .split(/\s+/)
    .map(Number);
  return (user + nice + kernel + hard + soft) / 100;
}

function busyByNode(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;
}
