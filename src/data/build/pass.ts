import type { Deduplicator } from '../quality/deduplicate.js';
import type { DropReason } from '../quality/heuristics.js';
import type { Batch } from '../sources/batch.js';
import { readBatches } from '../sources/batches.js';
import type { BadRecord } from '../sources/documents.js';
import type { InputFile } from '../sources/inputs.js';
import type { ShardWriter } from '../shards/writer.js';
import type { Destination, EncodedBatch, EncodedPart, Split } from './encode-batch.js';
import type { BuildState } from './journal.js';
import { keepDocuments } from './keep.js';
import type { EncoderPool } from './pool.js';

const BATCHES_PER_CHECKPOINT = 64;

/** An input file and where its documents go. */
export interface Assignment {
  readonly file: InputFile;
  readonly destination: Destination;
}

export interface BuildProgress {
  /** Bytes on disk, of all inputs. */
  readonly readBytes: number;
  readonly totalBytes: number;
  readonly documents: number;
  readonly tokens: number;
  readonly textBytes: number;
}

/** What a pass needs besides its parts. */
export interface PassOptions {
  readonly field: string;
  /** Whether long text files are read in parts. */
  readonly cutText: boolean;
  /** Keeps a state that is durable by then. */
  readonly save: (state: BuildState) => void;
  readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
  readonly onBadRecord?: ((record: BadRecord) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A build under way: reads batches in order, encodes them in the pool, appends what comes back in order. */
export class BuildPass {
  #file: number;
  #batch: number;
  #badRecords: number;
  readonly #dropped: Partial<Record<DropReason, number>>;
  #duplicates: number;
  #readBytes = 0;
  readonly #totalBytes: number;

  constructor(
    readonly options: PassOptions,
    readonly assignments: readonly Assignment[],
    readonly writers: Record<Split, ShardWriter>,
    readonly pool: EncoderPool,
    readonly deduplicator: Deduplicator | undefined,
    start: BuildState,
  ) {
    this.#file = start.file;
    this.#batch = start.batch;
    this.#badRecords = start.badRecords;
    this.#dropped = { ...start.dropped };
    this.#duplicates = start.duplicates;
    this.#totalBytes = assignments.reduce((sum, { file }) => sum + file.size, 0);
  }

  async run(): Promise<BuildState> {
    const waiting: { file: number; batch: number; encoded: Promise<EncodedBatch> }[] = [];
    const batches = this.#batches();
    let sinceCheckpoint = 0;
    let exhausted = false;
    for (;;) {
      while (!exhausted && waiting.length < this.pool.capacity) {
        const next = await batches.next();
        if (next.done === true) exhausted = true;
        else {
          const encoded = this.pool.encode(next.value.content, next.value.destination);
          // The rejection is met below, in order; until then it must not count as unhandled.
          encoded.catch(() => {});
          waiting.push({ file: next.value.file, batch: next.value.batch, encoded });
        }
      }
      const first = waiting.shift();
      if (first === undefined) return this.#checkpoint(true);
      const closed = this.#append(await first.encoded);
      this.#file = first.file;
      this.#batch = first.batch + 1;
      this.#report();
      const stopping = this.options.signal?.aborted === true;
      if (!closed && !stopping && ++sinceCheckpoint < BATCHES_PER_CHECKPOINT) continue;
      sinceCheckpoint = 0;
      this.options.save(this.#checkpoint(false));
      if (stopping) {
        await batches.return(undefined);
        return this.#checkpoint(false);
      }
    }
  }

  async *#batches(): AsyncGenerator<
    { file: number; batch: number; content: Batch; destination: Destination },
    undefined
  > {
    const startFile = this.#file;
    const startBatch = this.#batch;
    const { field } = this.options;
    for (const [file, assignment] of this.assignments.entries()) {
      if (file < startFile) {
        this.#readBytes += assignment.file.size;
        continue;
      }
      const onRead = (bytes: number): void => void (this.#readBytes += bytes);
      let batch = 0;
      for await (const content of readBatches(assignment.file, { field, cutText: this.options.cutText, onRead })) {
        if (file > startFile || batch >= startBatch)
          yield { file, batch, content, destination: assignment.destination };
        batch++;
      }
    }
    return undefined;
  }

  /** True if a shard was closed. */
  #append({ parts, bad, dropped }: EncodedBatch): boolean {
    for (const [reason, count] of Object.entries(dropped) as [DropReason, number][])
      this.#dropped[reason] = (this.#dropped[reason] ?? 0) + count;
    this.#badRecords += bad.length;
    for (const record of bad) this.options.onBadRecord?.(record);
    let closed = false;
    for (const split of ['train', 'validation'] as const) {
      const part = this.#withoutDuplicates(parts[split]);
      if (part !== undefined) closed = this.writers[split].append(part.tokens, part.ends, part.textBytes) || closed;
    }
    return closed;
  }

  #withoutDuplicates(part: EncodedPart | undefined): EncodedPart | undefined {
    if (part?.comparison === undefined || this.deduplicator === undefined) return part;
    const kept = keepDocuments(part, this.deduplicator);
    this.#duplicates += part.ends.length - kept.ends.length;
    return kept;
  }

  #checkpoint(finished: boolean): BuildState {
    this.deduplicator?.sync();
    const writers = { train: this.writers.train.checkpoint(), validation: this.writers.validation.checkpoint() };
    return {
      finished,
      file: this.#file,
      batch: this.#batch,
      badRecords: this.#badRecords,
      dropped: this.#dropped,
      duplicates: this.#duplicates,
      compared: this.deduplicator?.kept ?? 0,
      writers,
    };
  }

  #report(): void {
    const train = this.writers.train.totals;
    const validation = this.writers.validation.totals;
    this.options.onProgress?.({
      readBytes: this.#readBytes,
      totalBytes: this.#totalBytes,
      documents: train.documents + validation.documents,
      tokens: train.tokens + validation.tokens,
      textBytes: train.textBytes + validation.textBytes,
    });
  }
}
