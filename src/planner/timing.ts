/** The constants of log10 d = a log10 N + b / log10 C + c, and where they were fitted. */
export interface TimingConstants {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Smallest and largest nominal parameters and FLOPs (6 N D) of the fit. */
  readonly range: { readonly params: readonly [number, number]; readonly flops: readonly [number, number] };
  readonly source: string;
}

/**
 * The fit of G_stack's paper.
 *
 * Du et al. 2024, arXiv 2405.15319, section 4.2, from models of 0.41B, 1.1B and 3B and budgets of 0.8e20 to 12e20 FLOPs.
 */
export const paperTiming: TimingConstants = {
  a: 0.88,
  b: 163.27,
  c: -5.74,
  range: { params: [0.41e9, 3e9], flops: [0.8e20, 12e20] },
  source: 'G_stack (arXiv 2405.15319), section 4.2: log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74',
};

/**
 * Growth timing d: the tokens on which the base is trained before it is grown.
 *
 * @param params Nominal parameters of the target (N).
 * @param flops The target's budget in FLOPs (C, as 6 N D).
 */
export const growthTokens = (params: number, flops: number, constants: TimingConstants = paperTiming): number =>
  10 ** (constants.a * Math.log10(params) + constants.b / Math.log10(flops) + constants.c);

/** Whether a size and a budget lie within what the constants were fitted on. */
export const inFittedRange = (params: number, flops: number, { range }: TimingConstants = paperTiming): boolean =>
  params >= range.params[0] && params <= range.params[1] && flops >= range.flops[0] && flops <= range.flops[1];

/** The paper's recommended growth factor: 2 to 4 are best at the sizes it tried, and it uses 4 throughout. */
export const PAPER_GROWTH_FACTOR = 4;

/** The paper's fit of the growth factor, log10 g = 1.01 log10 N - 29.88 / log10 C - 7.36: reported for completeness, poor. */
export const fittedGrowthFactor = (params: number, flops: number): number =>
  10 ** (1.01 * Math.log10(params) - 29.88 / Math.log10(flops) - 7.36);

/** Where the fit asks for more than this share of the target's tokens it says nothing useful. */
export const MAX_GROWTH_SHARE = 0.4;
/** The share of the target's tokens proposed instead: at g = 4 about 6 % of the compute. */
export const FALLBACK_GROWTH_SHARE = 0.25;
