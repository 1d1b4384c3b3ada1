/** A value that was searched over: choices, or a range. */
export type PageAxis =
  | readonly (string | number | boolean)[]
  | { readonly log: readonly [number, number] }
  | { readonly linear: readonly [number, number] };

/** A config at a fidelity. */
export interface PageTrial {
  readonly config: number;
  readonly values: Readonly<Record<string, string | number | boolean>>;
  readonly run: string;
  readonly status: string;
  /** Left out where the run failed. */
  readonly loss?: number;
  readonly error?: string;
}

/** One fidelity of a search. */
export interface PageRung {
  readonly label: string;
  /** Best first. */
  readonly trials: readonly PageTrial[];
  /** Configs that went on. */
  readonly kept: readonly number[];
  readonly cost?:
    | {
        readonly flopsPerToken: number;
        readonly secondsPerToken?: number | undefined;
        readonly forecastBytes?: number | undefined;
        readonly countedBytes?: number | undefined;
      }
    | undefined;
}

/** What the page shows of a search; tune.json of `strata tune` has these fields and more. */
export interface PageTune {
  readonly name: string;
  readonly stage: string;
  readonly space: Readonly<Record<string, PageAxis>>;
  readonly complete: boolean;
  /** From the cheapest fidelity to the run itself. */
  readonly rungs: readonly PageRung[];
  readonly correlations: readonly {
    readonly low: number;
    readonly high: number;
    readonly configs: number;
    /** NaN, or null from a file, where it is not defined. */
    readonly spearman: number | null;
  }[];
  readonly winner?: PageTrial | undefined;
  readonly flops: number;
  readonly flopsWithoutHalving?: number | undefined;
}

/** A list of numbers that spans this factor is read on a logarithmic axis. */
const DECADE = 10;

/** Whether a value is read on a logarithmic axis: a logarithmic range, or positive numbers that span a decade. */
export function isLogarithmic(axis: PageAxis): boolean {
  if (!Array.isArray(axis)) return 'log' in axis;
  const numbers = axis.filter((value) => typeof value === 'number');
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  return numbers.length === axis.length && low > 0 && high >= DECADE * low;
}
