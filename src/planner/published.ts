/** A speedup that somebody measured and published. */
interface PublishedSpeedup {
  readonly params: number;
  readonly tokens: number;
  readonly speedup: number;
}

/**
 * Speedups of G_stack (g = 4) at equal training loss.
 *
 * Du et al. 2024, arXiv 2405.15319: 7B along its run of 300B tokens, and the comparison of operators at 1.1B and 100B tokens. One run each, read along a
 * cosine schedule that was not finished, against the target's own architecture from scratch.
 */
const published: readonly PublishedSpeedup[] = [
  { params: 1.1e9, tokens: 100e9, speedup: 0.491 },
  { params: 7e9, tokens: 160e9, speedup: 0.408 },
  { params: 7e9, tokens: 220e9, speedup: 0.553 },
  { params: 7e9, tokens: 280e9, speedup: 0.538 },
  { params: 7e9, tokens: 300e9, speedup: 0.546 },
];

/** Expected range of the speedup, or undefined where nothing published comes near. */
export interface ExpectedSpeedup {
  readonly low: number;
  readonly high: number;
  readonly source: string;
}

const NEAR = 3;

/** The published range for models and budgets within a factor of three of the asked-for ones. */
export function expectedSpeedup(params: number, tokens: number): ExpectedSpeedup | undefined {
  const near = (a: number, b: number): boolean => Math.max(a / b, b / a) <= NEAR;
  const found = published.filter((point) => near(point.params, params) && near(point.tokens, tokens));
  if (found.length === 0) return undefined;
  const speedups = found.map((point) => point.speedup);
  const where = found.map((point) => `${point.params / 1e9}B at ${point.tokens / 1e9}B tokens`).join(', ');
  return {
    low: Math.min(...speedups),
    high: Math.max(...speedups),
    source: `G_stack (arXiv 2405.15319), measured at ${where}; one run each, unfinished cosine, training loss`,
  };
}
