import { type Dataset, Loader } from '../data/index.js';
import type { TokenFile } from './external/contract.js';
import { writeTokenFile } from './external/token-file.js';
import type { TrainingSession } from './session.js';

/**
 * The validation of a run: always the same sequences, spread evenly over the data set, whatever the stage's micro-batch.
 */
export class Validation {
  readonly bytesPerToken: number;
  readonly #loader: Loader;
  readonly #sequences: readonly number[];
  readonly #withinDocuments: boolean;

  /**
   * @param tokens Tokens to measure, rounded down to whole sequences; all of the data set where it has fewer.
   * @param withinDocuments Whether attention stays within documents, as it then does in the session.
   */
  constructor(dataset: Dataset, sequenceLength: number, tokens: number, withinDocuments = false) {
    this.#loader = new Loader(dataset, { sequenceLength, seed: 0, shuffle: false });
    const all = this.#loader.sequencesPerEpoch;
    const count = Math.min(all, Math.max(1, Math.floor(tokens / sequenceLength)));
    this.#sequences = Array.from({ length: count }, (_, i) => Math.floor((i * all) / count));
    this.bytesPerToken = dataset.bytesPerToken;
    this.#withinDocuments = withinDocuments;
  }

  /** Writes the sequences for another trainer to measure the same loss on. */
  write(folder: string, file: string, vocabSize: number): TokenFile {
    const sequences = this.#sequences;
    return writeTokenFile(folder, file, this.#loader, vocabSize, sequences.length, (row) => sequences[row]!);
  }

  /** Mean loss in nats of the tokens that are trained on: all, or those of answers. */
  loss(session: TrainingSession, microBatchSequences: number): number {
    const length = this.#loader.sequenceLength;
    const inputs = new Int32Array(microBatchSequences * length);
    const targets = new Int32Array(microBatchSequences * length);
    const documentStarts = this.#withinDocuments ? new Int32Array(microBatchSequences * length) : undefined;
    const mask = this.#loader.masked ? new Uint8Array(length) : undefined;
    let [sum, counted] = [0, 0];
    for (let first = 0; first < this.#sequences.length; first += microBatchSequences) {
      const part = this.#sequences.slice(first, first + microBatchSequences);
      // A last part that is not full leaves old sequences behind it, whose losses are not counted.
      part.forEach((sequence, i) => {
        this.#loader.read(sequence, 1, inputs.subarray(i * length), targets.subarray(i * length));
        if (documentStarts !== undefined)
          this.#loader.readDocumentStarts(sequence, 1, documentStarts.subarray(i * length));
      });
      const losses = session.evaluate({ inputs, targets, documentStarts });
      part.forEach((sequence, i) => {
        if (mask !== undefined) this.#loader.readMask(sequence, 1, mask);
        for (let k = 0; k < length; k++) {
          if (mask?.[k] === 0) continue;
          sum += losses[i * length + k]!;
          counted++;
        }
      });
    }
    return sum / counted;
  }
}
