import { ModelScorer } from '../eval/index.js';
import {
  compiledLogitPasses,
  Decoder,
  type Model,
  PackedForward,
  Sampler,
  type SamplingOptions,
  type Sequence,
} from '../infer/index.js';
import { ProtocolError } from './errors.js';

/** A token with the alternatives to it, most probable first. */
export interface ScoredToken {
  readonly token: number;
  readonly logProb: number;
  readonly alternatives: readonly { readonly token: number; readonly logProb: number }[];
}

/** A text to be continued. */
export interface GenerationJob {
  readonly prompt: Int32Array;
  readonly maxTokens: number;
  readonly sampling: SamplingOptions;
  /** Called with each token as it is made; false ends the text. */
  readonly onToken: (token: number, logits: Float32Array, logProb: number) => boolean;
  readonly signal: AbortSignal;
}

/** A text whose tokens' log-probabilities are asked for. */
interface ScoringJob {
  readonly tokens: Int32Array;
  readonly signal: AbortSignal;
  resolve(scores: PromptScores): void;
  reject(error: unknown): void;
}

/** Of every prompt token but the first, and of the best token behind the prompt. */
export interface PromptScores {
  readonly logProbs: Float32Array;
  readonly best: Int32Array;
  readonly bestLogProbs: Float32Array;
  readonly next: { readonly token: number; readonly logProb: number };
}

interface WaitingJob extends GenerationJob {
  resolve(): void;
  reject(error: unknown): void;
}

interface RunningJob extends WaitingJob {
  readonly sequence: Sequence;
  readonly sampler: Sampler;
  made: number;
}

export interface SchedulerOptions {
  /** Tokens in the cache, of all texts that are being continued together. */
  readonly cacheTokens: number;
  /** Jobs that may wait; more are turned away. */
  readonly mostWaiting: number;
}

/** Tokens scored in one turn at most, so that generation goes on beside. */
const SCORED_PER_TURN = 8192;

/**
 * Lets concurrent requests share a model: texts are continued together, one token of each per pass, and prompts scored in packs.
 *
 * A text begins when the cache has room for it, in order of arrival.
 */
export class Scheduler {
  readonly maxLength: number;
  readonly #scorer: ModelScorer;
  readonly #decoder: Decoder;
  readonly #options: SchedulerOptions;
  readonly #scoring: ScoringJob[] = [];
  readonly #waiting: WaitingJob[] = [];
  readonly #running = new Map<Sequence, RunningJob>();
  readonly #passes = compiledLogitPasses();
  #work: Promise<void> | undefined;
  #closed = false;

  constructor(model: Model, maxLength: number, options: Partial<SchedulerOptions> = {}) {
    this.maxLength = maxLength;
    const cacheTokens = Math.max(maxLength, options.cacheTokens ?? defaultCacheTokens(model, maxLength));
    this.#options = { mostWaiting: DEFAULT_WAITING, ...options, cacheTokens };
    this.#scorer = new ModelScorer(model, maxLength);
    this.#decoder = new Decoder(model, { cacheRows: cacheTokens, maxLength });
  }

  /** Requests that are being worked on or wait. */
  get load(): { running: number; waiting: number } {
    return { running: this.#running.size, waiting: this.#waiting.length + this.#scoring.length };
  }

  /** Scores a prompt of at most one token more than the model reads. */
  score(tokens: Int32Array, signal: AbortSignal): Promise<PromptScores> {
    this.#checkQueue();
    return new Promise((resolve, reject) => {
      this.#scoring.push({ tokens, signal, resolve, reject });
      this.#wake();
    });
  }

  /** Continues a prompt; resolves when the text has ended. */
  generate(job: GenerationJob): Promise<void> {
    this.#checkQueue();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...job, resolve, reject });
      this.#wake();
    });
  }

  /** Gives up what is left, waits for the pass that is on its way, and gives memory back. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#work;
    const reason = new ProtocolError(503, 'the server is stopping');
    for (const job of [...this.#scoring, ...this.#waiting, ...this.#running.values()]) job.reject(reason);
    this.#scorer[Symbol.dispose]();
    this.#decoder[Symbol.dispose]();
  }

  #checkQueue(): void {
    if (this.#closed) throw new ProtocolError(503, 'the server is stopping');
    if (this.#waiting.length + this.#scoring.length >= this.#options.mostWaiting)
      throw new ProtocolError(429, `${this.#options.mostWaiting} requests wait already; try again later`);
  }

  #wake(): void {
    this.#work ??= this.#turn().finally(() => (this.#work = undefined));
  }

  /** Turns until nothing is left: the prompts that wait, then a pass for all texts. */
  async #turn(): Promise<void> {
    // Requests that arrive together are worked on together.
    await nextTurn();
    while (!this.#closed && this.#scoring.length + this.#waiting.length + this.#running.size > 0) {
      await this.#scoreSome();
      this.#admit();
      this.#pass();
      await nextTurn();
    }
  }

  async #scoreSome(): Promise<void> {
    const jobs: ScoringJob[] = [];
    let tokens = 0;
    while (this.#scoring.length > 0 && tokens < SCORED_PER_TURN) {
      const job = this.#scoring.shift() as ScoringJob;
      if (job.signal.aborted) job.reject(job.signal.reason);
      else {
        jobs.push(job);
        tokens += job.tokens.length;
      }
    }
    if (jobs.length === 0) return;
    try {
      const requests = jobs.flatMap((job, i) => scoringRequests(job.tokens, this.maxLength, 2 * i));
      const scores = await this.#scorer.scoreTokens(requests);
      let at = 0;
      for (const job of jobs) {
        const own = scoringRequests(job.tokens, this.maxLength, 0).length;
        job.resolve(promptScores(scores.slice(at, at + own), job.tokens.length - 1));
        at += own;
      }
    } catch (error) {
      for (const job of jobs) job.reject(error);
    }
  }

  #admit(): void {
    for (let job = this.#waiting[0]; job !== undefined; job = this.#waiting[0]) {
      if (job.signal.aborted) {
        job.reject(job.signal.reason);
        this.#waiting.shift();
        continue;
      }
      const capacity = Math.min(this.maxLength, job.prompt.length + job.maxTokens);
      const sequence = this.#decoder.begin(job.prompt, capacity);
      if (sequence === undefined) return;
      this.#waiting.shift();
      this.#running.set(sequence, { ...job, sequence, sampler: new Sampler(job.sampling, this.#passes), made: 0 });
    }
  }

  #pass(): void {
    for (const job of [...this.#running.values()])
      if (job.signal.aborted) this.#finish(job, () => job.reject(job.signal.reason));
    try {
      this.#decoder.step((sequence, logits) => {
        const job = this.#running.get(sequence);
        if (job !== undefined) this.#extend(job, logits);
      });
    } catch (error) {
      for (const job of [...this.#running.values()]) this.#finish(job, () => job.reject(error));
    }
  }

  #extend(job: RunningJob, logits: Float32Array): void {
    const { token, logProb } = job.sampler.next(logits);
    job.made++;
    let goesOn: boolean;
    try {
      goesOn = job.onToken(token, logits, logProb);
    } catch (error) {
      this.#finish(job, () => job.reject(error));
      return;
    }
    if (goesOn && job.made < job.maxTokens && job.sequence.length < job.sequence.capacity)
      this.#decoder.append(job.sequence, token);
    else this.#finish(job, () => job.resolve());
  }

  #finish(job: RunningJob, tell: () => void): void {
    this.#running.delete(job.sequence);
    this.#decoder.end(job.sequence);
    tell();
  }
}

const DEFAULT_WAITING = 1024;
const DEFAULT_CACHE_BYTES = 2 ** 30;
const DEFAULT_TEXTS = 64;

/** Room for 64 texts of the model's length, or as much as a gibibyte holds. */
const defaultCacheTokens = (model: Model, maxLength: number): number =>
  Math.min(DEFAULT_TEXTS * maxLength, Math.floor(DEFAULT_CACHE_BYTES / PackedForward.cacheBytesPerRow(model)));

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * The passes that score a prompt: every token from those before it, and the best one behind.
 *
 * A prompt of one token more than the model reads needs a second pass for the token behind it, from its last tokens.
 */
function scoringRequests(tokens: Int32Array, maxLength: number, group: number) {
  const behind = Int32Array.of(0);
  if (tokens.length <= maxLength) return [{ group, input: tokens, targets: Int32Array.of(...tokens.subarray(1), 0) }];
  return [
    { group, input: tokens.slice(0, maxLength), targets: tokens.slice(1) },
    { group: group + 1, input: tokens.slice(1), targets: behind },
  ];
}

type TokenScores = Awaited<ReturnType<ModelScorer['scoreTokens']>>[number];

function promptScores(scores: readonly TokenScores[], count: number): PromptScores {
  const [first, last] = [scores[0] as TokenScores, scores.at(-1) as TokenScores];
  return {
    logProbs: first.logProbs.subarray(0, count),
    best: first.best.subarray(0, count),
    bestLogProbs: first.bestLogProbs.subarray(0, count),
    next: { token: last.best.at(-1) as number, logProb: last.bestLogProbs.at(-1) as number },
  };
}
