import type { Dataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { type Model, PackedForward } from '../../infer/index.js';

/** How alike two models predict. */
export interface Agreement {
  /** Mean of sum_i p_i log(p_i / q_i) over tokens, in nats, p being the first model's probabilities. */
  readonly kl: number;
  /** Share of the tokens at which both find the same token most probable. */
  readonly topOneMatch: number;
  readonly tokens: number;
}

export interface AgreementOptions {
  /** Tokens to compare at, rounded down to whole sequences; default 2,000. */
  readonly tokens?: number;
  /** Tokens of each sequence; default: what both models take, at most 256. */
  readonly length?: number;
}

const DEFAULT_TOKENS = 2000;
const DEFAULT_LENGTH = 256;

/**
 * Compares what two models predict at every token of the same text (Yano et al. 2025, arXiv 2504.00623, compare neighbours of a family so).
 *
 * Sequences are spread evenly over the data set.
 *
 * @throws InputError where the models have different vocabularies, or the text is too short.
 */
export async function measureAgreement(
  first: Model,
  second: Model,
  dataset: Dataset,
  options: AgreementOptions = {},
): Promise<Agreement> {
  const vocabulary = first.config.vocab_size;
  if (second.config.vocab_size !== vocabulary)
    throw new InputError(
      `Expected models of one vocabulary, found ${vocabulary} and ${second.config.vocab_size} tokens.`,
    );
  if (dataset.vocabSize > vocabulary)
    throw new InputError(
      `${dataset.folder}: expected tokens of a vocabulary of at most ${vocabulary}, found ${dataset.vocabSize}.`,
    );
  const most = Math.min(first.config.max_position_embeddings, second.config.max_position_embeddings, DEFAULT_LENGTH);
  const length = options.length ?? Math.min(most, dataset.tokens, options.tokens ?? DEFAULT_TOKENS);
  const count = Math.max(1, Math.floor((options.tokens ?? DEFAULT_TOKENS) / length));
  if (dataset.tokens < length)
    throw new InputError(`${dataset.folder}: expected at least ${length} tokens, found ${dataset.tokens}.`);
  using one = new SequenceLogits(first, length);
  using other = new SequenceLogits(second, length);
  const ids = new Int32Array(length);
  let [kl, matches] = [0, 0];
  for (let sequence = 0; sequence < count; sequence++) {
    dataset.read(Math.floor((sequence * (dataset.tokens - length)) / count), length, ids);
    one.run(ids);
    other.run(ids);
    for (let row = 0; row < length; row += PackedForward.mostLogitRows) {
      const rows = Int32Array.from({ length: Math.min(PackedForward.mostLogitRows, length - row) }, (_, i) => row + i);
      const [p, q] = [one.of(rows), other.of(rows)];
      for (let i = 0; i < rows.length; i++) {
        const found = compareRow(p, q, i * vocabulary, vocabulary);
        kl += found.kl;
        if (found.match) matches++;
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const tokens = count * length;
  return { kl: kl / tokens, topOneMatch: matches / tokens, tokens };
}

/** Divergence of two rows of logits, and whether their largest are the same (of equals the first). */
export function compareRow(
  p: ArrayLike<number>,
  q: ArrayLike<number>,
  start: number,
  count: number,
): { kl: number; match: boolean } {
  let [topP, topQ] = [start, start];
  for (let i = start + 1; i < start + count; i++) {
    if (p[i]! > p[topP]!) topP = i;
    if (q[i]! > q[topQ]!) topQ = i;
  }
  const [mostP, mostQ] = [p[topP]!, q[topQ]!];
  let [sumP, sumQ, cross] = [0, 0, 0];
  for (let i = start; i < start + count; i++) {
    const weight = Math.exp(p[i]! - mostP);
    sumP += weight;
    sumQ += Math.exp(q[i]! - mostQ);
    cross += weight * (p[i]! - mostP - (q[i]! - mostQ));
  }
  return { kl: cross / sumP - Math.log(sumP) + Math.log(sumQ), match: topP === topQ };
}

/** A model on one sequence at a time. */
class SequenceLogits implements Disposable {
  readonly #forward: PackedForward;
  readonly #positions: Int32Array;

  constructor(model: Model, length: number) {
    this.#forward = new PackedForward(model, { rows: length, maxLength: length });
    this.#positions = Int32Array.from({ length }, (_, i) => i);
  }

  run(ids: Int32Array): void {
    const run = { first: 0, count: ids.length, prefixStart: 0, prefixEnd: 0, ownStart: 0, ownLast: 0 };
    this.#forward.run({ ids, positions: this.#positions, runs: [run] });
  }

  /** Logits of rows of the sequence; valid until the next call. */
  of(rows: Int32Array): Float32Array {
    return this.#forward.logits(rows);
  }

  [Symbol.dispose](): void {
    this.#forward[Symbol.dispose]();
  }
}
