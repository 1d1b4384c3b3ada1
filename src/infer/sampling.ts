import { RandomStream } from '../architecture/index.js';
import type { LogitPasses, LogitSummary } from '../engine/logits.js';

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0 takes the most probable token; above 0 logits are divided by it. */
  readonly temperature: number;
  /** Only the k most probable tokens; all where left out. */
  readonly topK?: number | undefined;
  /** Only the most probable tokens whose probabilities first sum to at least this; all where left out or 1. */
  readonly topP?: number | undefined;
  readonly seed?: number | undefined;
}

/** A token and its log-probability under the model, before temperature and truncation. */
export interface SampledToken {
  readonly token: number;
  readonly logProb: number;
}

/**
 * Draws tokens one after the other; draw i depends on the seed and i alone.
 *
 * Temperature, then top-k, then top-p (Holtzman et al., arXiv 1904.09751), in this order as in Hugging Face transformers.
 */
export class Sampler {
  readonly #options: SamplingOptions;
  readonly #random: RandomStream;
  readonly #uniform = new Float32Array(1);
  readonly #passes: LogitPasses;
  #drawn = 0;

  /** @param passes How all logits are gone through: the engine's, in C, where it is loaded. */
  constructor(options: SamplingOptions, passes: LogitPasses = plainPasses) {
    this.#options = options;
    this.#passes = passes;
    this.#random = new RandomStream(options.seed ?? Math.floor(Math.random() * 2 ** 31), 'sampling');
  }

  next(logits: Float32Array): SampledToken {
    const { temperature } = this.#options;
    const summary = this.#passes.summarise(logits, temperature);
    const { best, logSumExp } = summary;
    const token = temperature === 0 ? best : this.#draw(logits, summary);
    return { token, logProb: (logits[token] as number) - logSumExp };
  }

  #draw(logits: Float32Array, summary: Readonly<LogitSummary>): number {
    this.#random.fillUniform(this.#uniform, 0, 1, this.#drawn++);
    const uniform = this.#uniform[0] as number;
    const { temperature, topK = logits.length, topP = 1 } = this.#options;
    if (topK >= logits.length && topP >= 1) return this.#passes.draw(logits, temperature, summary, uniform);
    const largest = logits[summary.best] as number;
    const weight = (token: number): number => Math.exp(((logits[token] as number) - largest) / temperature);
    const kept = mostProbable(logits, weight, summary.temperedSum, topK, topP);
    return drawFrom(kept.length, (i) => kept[i] as number, weight, uniform);
  }
}

/** The passes in JavaScript. */
const plainPasses: LogitPasses = {
  summarise(logits, temperature) {
    const best = argmaxOf(logits);
    const largest = logits[best] as number;
    const temperedSum =
      temperature === 0
        ? 0
        : sumOf(logits.length, (token) => Math.exp(((logits[token] as number) - largest) / temperature));
    return { best, logSumExp: logSumExp(logits), temperedSum };
  },
  draw(logits, temperature, { best }, uniform) {
    const largest = logits[best] as number;
    const weight = (token: number): number => Math.exp(((logits[token] as number) - largest) / temperature);
    return drawFrom(logits.length, (token) => token, weight, uniform);
  },
};

/** Index of the largest value; the lowest of equal ones. */
export function argmaxOf(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** log sum exp, in float64. */
export function logSumExp(values: Float32Array): number {
  const largest = values[argmaxOf(values)] as number;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp((values[i] as number) - largest);
  return largest + Math.log(sum);
}

/** The `count` largest values' indices, largest first; of equal ones the lower index first. */
export function largestIndices(values: Float32Array, count: number): Int32Array {
  const kept = Math.min(count, values.length);
  const heap = new Int32Array(kept);
  /** Whether a ranks below b. */
  const below = (a: number, b: number): boolean => {
    const [x, y] = [values[a] as number, values[b] as number];
    return x < y || (x === y && a > b);
  };
  const sink = (from: number, size: number): void => {
    for (let i = from; ; ) {
      let lowest = i;
      for (const child of [2 * i + 1, 2 * i + 2])
        if (child < size && below(heap[child] as number, heap[lowest] as number)) lowest = child;
      if (lowest === i) return;
      [heap[i], heap[lowest]] = [heap[lowest] as number, heap[i] as number];
      i = lowest;
    }
  };
  for (let i = 0; i < kept; i++) heap[i] = i;
  for (let i = (kept >> 1) - 1; i >= 0; i--) sink(i, kept);
  for (let i = kept; i < values.length; i++)
    if (below(heap[0] as number, i)) {
      heap[0] = i;
      sink(0, kept);
    }
  return heap.sort((a, b) => (below(a, b) ? 1 : -1));
}

const FIRST_KEPT = 64;

/** The k most probable tokens, cut behind the one with which their share of the k reaches p; `sum` is that of all weights. */
function mostProbable(
  logits: Float32Array,
  weight: (token: number) => number,
  sum: number,
  topK: number,
  topP: number,
): ArrayLike<number> {
  const limit = Math.min(topK, logits.length);
  const total = limit === logits.length ? sum : undefined;
  // Few tokens usually hold the share that is asked for; all are sorted only where they do not.
  for (let count = topP < 1 ? Math.min(FIRST_KEPT, limit) : limit; ; count = Math.min(limit, count * 8)) {
    const kept = largestIndices(logits, count);
    if (topP >= 1) return kept;
    if (total === undefined && count < limit) continue;
    const needed = topP * (total ?? sumOf(count, (i) => weight(kept[i] as number)));
    let held = 0;
    for (let i = 0; i < kept.length; i++) {
      held += weight(kept[i] as number);
      if (held >= needed) return kept.subarray(0, i + 1);
    }
    if (count === limit) return kept;
  }
}

function sumOf(count: number, value: (index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += value(i);
  return sum;
}

/** The token at which the running sum of weights passes `uniform` of their total. */
function drawFrom(
  count: number,
  tokenAt: (index: number) => number,
  weight: (token: number) => number,
  uniform: number,
): number {
  let rest = uniform * sumOf(count, (i) => weight(tokenAt(i)));
  let last = tokenAt(0);
  for (let i = 0; i < count; i++) {
    const token = tokenAt(i);
    const share = weight(token);
    if (share === 0) continue;
    last = token;
    rest -= share;
    if (rest < 0) return token;
  }
  return last;
}
