/** Mean and 95 % interval. */
export interface PageInterval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** One arm or control at one budget against a baseline. */
export interface PageStudyComparison {
  readonly part: string;
  readonly arm: string;
  readonly role: string;
  readonly budget: number;
  readonly baseline: string;
  readonly seeds: readonly {
    readonly seed: number;
    readonly loss: number;
    readonly speedup: number | null;
    readonly tokensRatio: number | null;
    readonly secondsRatio: number | null;
  }[];
  readonly speedup: PageInterval | null;
  readonly saved: PageInterval | null;
  readonly sixND: PageInterval | null;
  readonly sixNDNonEmbedding: PageInterval | null;
  readonly verdict: string;
}

/** What the page shows of a study; results.json of `strata study` has these fields and more. */
export interface PageStudy {
  readonly study: string;
  readonly hash: string;
  readonly hypothesis: string;
  readonly stopRule: string;
  readonly parts: readonly {
    readonly name: string;
    readonly nonEmbeddingParameters: number;
    readonly tokens: number;
    readonly flops: number;
  }[];
  readonly tuning: readonly {
    readonly part: string;
    readonly name: string;
    readonly lr: number;
    readonly baseLr: number;
    readonly trials: readonly { readonly lr: number; readonly baseLr: number; readonly loss: number | null }[];
    readonly atEdge: boolean;
    readonly flops: number;
  }[];
  readonly endPoints: readonly {
    readonly part: string;
    readonly arm: string;
    readonly role: string;
    readonly seed: number;
    readonly budget: number;
    readonly loss: number;
    readonly flops: number;
  }[];
  readonly comparisons: readonly PageStudyComparison[];
  readonly bestSize: readonly PageStudyComparison[];
  readonly ranking: readonly {
    readonly part: string;
    readonly budget: number;
    readonly better: string;
    readonly worse: string;
    readonly p: number;
    readonly tie: boolean;
  }[];
  readonly cost: { readonly flops: number; readonly tuningFlops: number };
  readonly unfinished: readonly { readonly run: string; readonly status: string; readonly error?: string }[];
}
