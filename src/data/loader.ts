import { InputError } from '../errors.js';
import type { Dataset } from './dataset.js';
import { Permutation } from './permutation.js';

export interface LoaderOptions {
  /** Tokens a model sees at once. A sequence is this many inputs and as many targets, one token on. */
  readonly sequenceLength: number;
  readonly seed: number;
  /** Every epoch in another shuffled order (default), or in the order of the file (validation). */
  readonly shuffle?: boolean;
}

/** Which of a batch's sequences to read: rank `rank` of `worldSize` gets its share, neighbours staying together. */
export interface Share {
  readonly rank: number;
  readonly worldSize: number;
}

const WHOLE: Share = { rank: 0, worldSize: 1 };

/**
 * Reads training sequences: a pure function of (seed, index of the first sequence, count, rank, world size).
 *
 * The index counts the sequences that the whole run has consumed, over all ranks and stages. Nothing else is state, so
 * resuming, another number of ranks or a grown model go on exactly where the data stood.
 */
export class Loader {
  readonly sequenceLength: number;
  /** Sequences in one pass over the data. */
  readonly sequencesPerEpoch: number;
  readonly #dataset: Dataset;
  readonly #seed: number;
  readonly #order: Permutation | undefined;
  #orderEpoch = -1;
  readonly #sequence: Int32Array;

  constructor(dataset: Dataset, options: LoaderOptions) {
    const { sequenceLength, seed, shuffle = true } = options;
    if (!Number.isSafeInteger(sequenceLength) || sequenceLength < 1)
      throw new InputError(`data.sequenceLength: expected a whole number of at least 1, found ${sequenceLength}.`);
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new InputError(`seed: expected a whole number of at least 0, found ${seed}.`);
    this.sequenceLength = sequenceLength;
    this.sequencesPerEpoch = Math.floor((dataset.tokens - 1) / sequenceLength);
    if (this.sequencesPerEpoch < 1)
      throw new InputError(
        `${dataset.folder}: expected more than ${sequenceLength} tokens (data.sequenceLength), found ${dataset.tokens}.`,
      );
    this.#dataset = dataset;
    this.#seed = seed;
    this.#order = shuffle ? new Permutation(this.sequencesPerEpoch, seed) : undefined;
    this.#sequence = new Int32Array(sequenceLength + 1);
  }

  /** How often the data have been gone through before sequence `index`, as a fraction. */
  epochAt(index: number): number {
    return index / this.sequencesPerEpoch;
  }

  /** Where the sequence with this index starts in the data set, in sequences. */
  positionOf(index: number): number {
    if (!Number.isSafeInteger(index) || index < 0)
      throw new RangeError(`the index of a sequence is a whole number of 0 to 2^53 - 1, not ${index}`);
    const epoch = Math.floor(index / this.sequencesPerEpoch);
    const within = index - epoch * this.sequencesPerEpoch;
    if (this.#order === undefined) return within;
    if (epoch !== this.#orderEpoch) {
      this.#order.reseed(this.#seed, epoch);
      this.#orderEpoch = epoch;
    }
    return this.#order.at(within);
  }

  /**
   * Writes sequences `first` to `first + count - 1`, or one rank's share of them, to buffers of the caller.
   *
   * @param count Sequences of all ranks together, a multiple of the world size.
   * @param inputs, targets At least count / worldSize * sequenceLength long; targets are the inputs one token on.
   * @returns Number of sequences written.
   */
  read(first: number, count: number, inputs: Int32Array, targets: Int32Array, share: Share = WHOLE): number {
    const { rank, worldSize } = share;
    const own = count / worldSize;
    if (!Number.isInteger(own))
      throw new InputError(`expected a batch that ${worldSize} ranks can share evenly, found ${count} sequences.`);
    const length = this.sequenceLength;
    if (inputs.length < own * length || targets.length < own * length)
      throw new RangeError(
        `${own} sequences of ${length} tokens do not fit into ${inputs.length} and ${targets.length}`,
      );
    const sequence = this.#sequence;
    for (let i = 0; i < own; i++) {
      const position = this.positionOf(first + rank * own + i);
      this.#dataset.read(position * length, length + 1, sequence);
      const at = i * length;
      for (let k = 0; k < length; k++) {
        inputs[at + k] = sequence[k]!;
        targets[at + k] = sequence[k + 1]!;
      }
    }
    return own;
  }

  /** Whether only some tokens are trained on. */
  get masked(): boolean {
    return this.#dataset.masked;
  }

  /** Writes which targets of the sequences that `read` gives are trained on: 1 or 0 each. */
  readMask(first: number, count: number, mask: Uint8Array): void {
    const length = this.sequenceLength;
    for (let i = 0; i < count; i++)
      this.#dataset.readMask(this.positionOf(first + i) * length + 1, mask.subarray(i * length, (i + 1) * length));
  }

  /**
   * Writes for each token of the sequences that `read` gives where its document begins in its sequence: 0 for the first one.
   *
   * With it, attention can be kept within documents that were packed into one sequence.
   *
   * @param starts As long as `inputs` of `read`; the EOS counts to the document that it ends.
   */
  readDocumentStarts(first: number, count: number, starts: Int32Array, share: Share = WHOLE): void {
    const own = count / share.worldSize;
    const length = this.sequenceLength;
    for (let i = 0; i < own; i++) {
      const start = this.positionOf(first + share.rank * own + i) * length;
      let document = this.#dataset.documentAt(start);
      let at = 0;
      for (; at < length; document++) {
        const end = document < this.#dataset.documents ? this.#dataset.documentRange(document).end : Infinity;
        const until = Math.min(length, end - start);
        starts.fill(at, i * length + at, i * length + until);
        at = until;
      }
    }
  }
}
