import { PackedForward, type TokenScores } from '../infer/packed-forward.js';
import type { Model } from '../infer/model.js';
import { type GroupedRequest, type Pack, packRequests } from './pack.js';

/** What a request's tokens got. */
export interface Score {
  /** Sum of the log-probabilities of its targets, in nats. */
  readonly logLikelihood: number;
  /** Whether every target was the most probable token at its place. */
  readonly greedy: boolean;
}

/** Called as requests are done. */
export type ScoreProgress = (done: number, total: number) => void;

/** What scores requests: a model, or a table in tests. */
export interface Scorer {
  /** Tokens that an input may have. */
  readonly maxLength: number;
  score(requests: readonly GroupedRequest[], onProgress?: ScoreProgress): Promise<Score[]>;
}

/** Rows in one pass: enough to keep the matrix products at full speed, few enough for their results to stay small. */
const PASS_ROWS = 1024;

/**
 * Scores requests by a model: packed without padding, common beginnings computed once, the head applied to scored rows only.
 *
 * Log-probabilities come from a float32 softmax; their sums are float64. Between passes other work of the process gets its turn.
 */
export class ModelScorer implements Scorer, Disposable {
  readonly maxLength: number;
  readonly #forward: PackedForward;

  /** @param maxLength Tokens that an input may have: the model's own number where left out. */
  constructor(model: Model, maxLength: number = model.config.max_position_embeddings) {
    this.maxLength = maxLength;
    this.#forward = new PackedForward(model, { rows: Math.max(PASS_ROWS, maxLength), maxLength });
  }

  async score(requests: readonly GroupedRequest[], onProgress?: ScoreProgress): Promise<Score[]> {
    const sums = new Float64Array(requests.length);
    const misses = new Int32Array(requests.length);
    const tokens = requests.reduce((sum, { targets }) => sum + targets.length, 0);
    let done = 0;
    for await (const { pack, scores } of this.#passes(requests)) {
      const { logProbs, best } = scores;
      for (let i = 0; i < logProbs.length; i++) {
        const request = pack.requests[i] as number;
        sums[request] = (sums[request] as number) + (logProbs[i] as number);
        if (best[i] !== pack.targets[i]) misses[request] = 1;
      }
      done += pack.targets.length;
      onProgress?.(done, tokens);
    }
    return Array.from(sums, (logLikelihood, i) => ({ logLikelihood, greedy: misses[i] === 0 }));
  }

  /** What every target of every request got. */
  async scoreTokens(requests: readonly GroupedRequest[]): Promise<TokenScores[]> {
    const results = requests.map(({ targets: { length } }) => ({
      logProbs: new Float32Array(length),
      best: new Int32Array(length),
      bestLogProbs: new Float32Array(length),
    }));
    const filled = new Int32Array(requests.length);
    for await (const { pack, scores } of this.#passes(requests))
      pack.requests.forEach((request, i) => {
        const at = filled[request] as number;
        const result = results[request] as (typeof results)[number];
        result.logProbs[at] = scores.logProbs[i] as number;
        result.best[at] = scores.best[i] as number;
        result.bestLogProbs[at] = scores.bestLogProbs[i] as number;
        filled[request] = at + 1;
      });
    return results;
  }

  [Symbol.dispose](): void {
    this.#forward[Symbol.dispose]();
  }

  /** One pass through the model after the other; in between other work of the process gets its turn. */
  async *#passes(requests: readonly GroupedRequest[]): AsyncGenerator<{ pack: Pack; scores: TokenScores }> {
    for (const pack of packRequests(requests, this.#forward.maxRows)) {
      this.#forward.run(pack);
      yield { pack, scores: this.#forward.scores(pack.scoredRows, pack.targets) };
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
