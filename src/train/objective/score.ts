import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Loader, openDataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { openCheckpoint, SafetensorsFile } from '../../interop/index.js';
import { forwardFlopsPerToken } from '../../planner/index.js';
import { checkTokenizer, splitFolder } from '../data.js';
import { openEngine } from '../engine.js';
import { modelHash } from './reference.js';
import { ReferenceModel } from './reference-model.js';
import {
  checkScores,
  isPartWritten,
  partFile,
  readScoresIndex,
  SCORES_INDEX,
  type ScoresIdentity,
  type ScoresIndex,
  sequencesPerPart,
  writePart,
  writeScoresIndex,
} from './scores.js';

/** What is scored, and how. */
export interface ScoreOptions {
  /** The reference: a checkpoint, a run folder or `RUN@step`. */
  readonly reference: string;
  /** Folder of token shards; of a data set with splits the training part. */
  readonly data: string;
  readonly out: string;
  readonly sequenceLength: number;
  /** Whether tokens see documents packed before their own, as in the run that will use the losses. */
  readonly crossDocumentAttention?: boolean;
  /** Sequences that pass through the model at a time. */
  readonly batch?: number;
  readonly threads?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** What scoring came to. */
export interface ScoreResult {
  readonly folder: string;
  /** Undefined where it was stopped; the same call goes on. */
  readonly index: ScoresIndex | undefined;
  readonly wasFinished: boolean;
}

const DEFAULT_BATCH = 8;

/**
 * Stores the losses of a reference on every training token, as float16 beside the tokens, so that runs need not compute them again.
 *
 * Parts that are there from an interrupted call are kept.
 *
 * @throws InputError where checkpoint and data do not fit together, or the folder holds other losses.
 */
export async function scoreData(options: ScoreOptions): Promise<ScoreResult> {
  const { out, sequenceLength, crossDocumentAttention = true, batch = DEFAULT_BATCH } = options;
  using checkpoint = openCheckpoint(options.reference);
  using dataset = openDataset(splitFolder(options.data, 'train'));
  checkTokenizer(checkpoint.folder, { train: dataset });
  if (checkpoint.config.max_position_embeddings < sequenceLength)
    throw new InputError(
      `${checkpoint.folder}: expected a model of at least ${sequenceLength} positions, found ${checkpoint.config.max_position_embeddings}.`,
    );
  const loader = new Loader(dataset, { sequenceLength, seed: 0, shuffle: false });
  const identity: ScoresIdentity = {
    data: dataset.identity,
    sequenceLength,
    crossDocumentAttention,
    sequences: loader.sequencesPerEpoch,
    sequencesPerPart: sequencesPerPart(sequenceLength),
    reference: { sha256: modelHash(checkpoint), path: checkpoint.folder },
  };
  if (existsSync(join(out, SCORES_INDEX))) {
    const index = readScoresIndex(out);
    checkScores(out, index, identity);
    return { folder: out, index, wasFinished: true };
  }
  openEngine(options.threads);
  using model = new ReferenceModel(checkpoint, {
    sequenceLength,
    microBatchSequences: Math.min(batch, identity.sequences),
    withinDocuments: !crossDocumentAttention,
  });
  const pass = new Scoring(model, loader, identity, Math.min(batch, identity.sequences));
  const parts = Math.ceil(identity.sequences / identity.sequencesPerPart);
  let sum = 0;
  for (let part = 0; part < parts; part++) {
    if (options.signal?.aborted === true) return { folder: out, index: undefined, wasFinished: false };
    const written = isPartWritten(out, part, identity) ? sumOfPart(out, part) : await pass.write(out, part, options);
    if (written === undefined) return { folder: out, index: undefined, wasFinished: false };
    sum += written;
  }
  const cost = forwardFlopsPerToken(checkpoint.config, sequenceLength);
  const tokens = BigInt(identity.sequences) * BigInt(sequenceLength);
  writeScoresIndex(out, {
    ...identity,
    meanLoss: sum / Number(tokens),
    flopsExact: String(cost.flops * tokens),
    flops6ndExact: String(cost.flops6nd * tokens),
    flopsNonEmbeddingExact: String(cost.flopsNonEmbedding * tokens),
  });
  return { folder: out, index: readScoresIndex(out), wasFinished: false };
}

/** Sum of the losses of a part that is there. */
function sumOfPart(folder: string, part: number): number {
  using file = new SafetensorsFile(partFile(folder, part));
  const entry = file.entry('losses');
  const losses = new Float32Array(entry.shape.reduce((product, size) => product * size, 1));
  file.readFloats(entry, losses);
  return losses.reduce((sum, loss) => sum + loss, 0);
}

/** One pass of a reference over a data set. */
class Scoring {
  readonly #inputs: Int32Array;
  readonly #targets: Int32Array;
  readonly #starts: Int32Array | undefined;

  constructor(
    readonly model: ReferenceModel,
    readonly loader: Loader,
    readonly identity: ScoresIdentity,
    readonly batch: number,
  ) {
    const rows = batch * identity.sequenceLength;
    this.#inputs = new Int32Array(rows);
    this.#targets = new Int32Array(rows);
    this.#starts = identity.crossDocumentAttention ? undefined : new Int32Array(rows);
  }

  /** Scores and writes a part; returns the sum of its losses, undefined where it was stopped. */
  async write(folder: string, part: number, { signal, onProgress }: ScoreOptions): Promise<number | undefined> {
    const { sequences, sequencesPerPart: perPart, sequenceLength: length } = this.identity;
    const first = part * perPart;
    const count = Math.min(perPart, sequences - first);
    const losses = new Float32Array(count * length);
    for (let at = 0; at < count; at += this.batch) {
      if (signal?.aborted === true) return undefined;
      // The last batch begins earlier where sequences are left over: what overlaps is scored twice.
      const start = Math.max(0, Math.min(first + at, sequences - this.batch));
      this.loader.read(start, this.batch, this.#inputs, this.#targets);
      if (this.#starts !== undefined) this.loader.readDocumentStarts(start, this.batch, this.#starts);
      const scored = this.model.losses({ inputs: this.#inputs, targets: this.#targets, documentStarts: this.#starts });
      const skip = first + at - start;
      const rows = Math.min(this.batch - skip, count - at);
      losses.set(scored.subarray(skip * length, (skip + rows) * length), at * length);
      onProgress?.(first + at + rows, sequences);
      // Lets signals be seen.
      await new Promise((resolve) => setImmediate(resolve));
    }
    writePart(folder, part, this.identity, losses);
    return losses.reduce((sum, loss) => sum + loss, 0);
  }
}
