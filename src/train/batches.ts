import type { Loader } from '../data/index.js';
import type { MicroBatch } from './session.js';

/** The micro-batches of a step, in buffers that are used again and again. */
export class Batches {
  readonly #loader: Loader;
  readonly #microBatch: number;
  readonly #count: number;
  readonly #buffers: MicroBatch;
  /** Which targets of the step are trained on; undefined where all are. */
  readonly #mask: Uint8Array | undefined;

  /**
   * @param batchSequences Sequences of a step, a multiple of `microBatch`.
   * @param withinDocuments Whether the batches say where documents start.
   */
  constructor(loader: Loader, batchSequences: number, microBatch: number, withinDocuments = false) {
    this.#loader = loader;
    this.#microBatch = microBatch;
    this.#count = batchSequences / microBatch;
    const rows = microBatch * loader.sequenceLength;
    this.#mask = loader.masked ? new Uint8Array(batchSequences * loader.sequenceLength) : undefined;
    this.#buffers = {
      inputs: new Int32Array(rows),
      targets: new Int32Array(rows),
      // Each token has the same share in the step's mean, so sums over micro-batches are means over the step.
      weights: new Float32Array(rows).fill(1 / (batchSequences * loader.sequenceLength)),
      documentStarts: withinDocuments ? new Int32Array(rows) : undefined,
    };
  }

  /** Reads a step's micro-batches one after the other; each is valid until the next. */
  *of(firstSequence: number): Generator<MicroBatch> {
    const { inputs, targets, weights, documentStarts } = this.#buffers;
    const share = this.#mask && this.#shareOf(this.#mask, firstSequence);
    for (let i = 0; i < this.#count; i++) {
      const first = firstSequence + i * this.#microBatch;
      this.#loader.read(first, this.#microBatch, inputs, targets);
      if (documentStarts !== undefined) this.#loader.readDocumentStarts(first, this.#microBatch, documentStarts);
      if (this.#mask !== undefined)
        for (let k = 0; k < weights.length; k++) weights[k] = this.#mask[i * weights.length + k]! * share!;
      yield this.#buffers;
    }
  }

  /** Reads the mask of a step; each token that is trained on has the same share in its mean. */
  #shareOf(mask: Uint8Array, firstSequence: number): number {
    this.#loader.readMask(firstSequence, mask.length / this.#loader.sequenceLength, mask);
    return (
      1 /
      Math.max(
        1,
        mask.reduce((sum, bit) => sum + bit, 0),
      )
    );
  }
}
