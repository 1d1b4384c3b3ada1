/** What a bench is asked to do. */
export interface BenchOptions {
  /** Alternations of ours and each peer, per case. */
  readonly repetitions: number;
  /** Threads that ours and the peers may use each. */
  readonly threads: number;
  /** Only cases whose name contains this. */
  readonly filter?: string;
  /** A line of progress for people (standard error). */
  log(line: string): void;
}

/** Smallest and largest of the paired ratios behind a median. */
export interface Spread {
  readonly low: number;
  readonly high: number;
}

/** One measured case. A ratio says how many times better ours is: above 1 is better, whatever the unit. */
export interface CaseResult {
  readonly case: string;
  /** Median of our measurements, in `unit`. */
  readonly ours: number;
  /** Median per peer, in `unit`. */
  readonly peers: Readonly<Record<string, number>>;
  /** Median of the paired ratios per peer. */
  readonly ratio: Readonly<Record<string, number>>;
  readonly spread: Readonly<Record<string, Spread>>;
  readonly unit: string;
  /** Ours as a share of the measured limit of the machine that bounds it. */
  readonly limitShare?: number;
  readonly bound?: Bound;
  /** More figures worth keeping (GFLOP/s, losses, bytes ...), by name. */
  readonly details?: Readonly<Record<string, number | string>>;
}

/** What the rates measured on the machine allow at best. */
export interface Bound {
  /** The best figure, in the case's unit. */
  readonly value: number;
  /** Share of it that ours reaches. */
  readonly share: number;
  /** The ratio to the fastest peer that reaching it would give. */
  readonly ratio: number;
}

/** What a bench hands back; the runner adds name, machine and repetitions. */
export interface BenchResult {
  readonly results: readonly CaseResult[];
  /** Versions of the peers (torch, transformers ...); the runner adds Node's and Strata's. */
  readonly versions: Readonly<Record<string, string>>;
  /** Sentences a reader needs to judge the figures (config, what was and was not measured). */
  readonly notes?: readonly string[];
  /** Pictures that the report shows. */
  readonly figures?: readonly BenchFigure[];
}

/** A picture beside a report, as docs/benchmarks/NAME.svg. */
export interface BenchFigure {
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

/** A bench: one file in this folder, named after it, exporting this as `bench`. */
export interface Bench {
  /** One line for the list. */
  readonly summary: string;
  readonly defaultRepetitions: number;
  run(options: BenchOptions): Promise<BenchResult>;
}
