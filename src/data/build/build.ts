import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { type Batch, readBatches } from '../sources/batches.js';
import type { BadRecord } from '../sources/documents.js';
import { type InputFile, type SourceFormat, expandInputs } from '../sources/inputs.js';
import { type ShardIndex, dtypeFor, readIndex } from '../shards/index-file.js';
import { ShardWriter } from '../shards/writer.js';
import { loadTokenizer } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/types.js';
import type { Destination, EncodeSettings, EncodedBatch, Split } from './encode-batch.js';
import { type BuildConfig, type BuildState, readBuildState, writeBuildState } from './journal.js';
import { type EncoderPool, createPool } from './pool.js';

export interface BuildOptions {
  /** Files, folders and globs. */
  readonly inputs: readonly string[];
  /** tokenizer.json or a folder with one. */
  readonly tokenizer: string;
  readonly out: string;
  /** Inputs held out for validation, or the share of documents (by hash) that is. */
  readonly validation?: { readonly inputs: readonly string[] } | { readonly fraction: number };
  /** Threads; the result is the same for any number. */
  readonly workers?: number;
  /** Field or column that holds the text; `text` by default. */
  readonly field?: string;
  /** Format of files whose name does not tell. */
  readonly format?: SourceFormat;
  /** What a record without text does: end the build (default) or be counted and passed over. */
  readonly badRecords?: 'fail' | 'skip';
  /** The token that ends a document, where the tokenizer does not tell. */
  readonly eos?: string;
  readonly tokensPerShard?: number;
  readonly onProgress?: (progress: BuildProgress) => void;
  readonly onBadRecord?: (record: BadRecord) => void;
  /** Told once what is good to know: that the tokenizer is a slow one. */
  readonly onNote?: (note: string) => void;
  /** Ends the build after saving where it is. */
  readonly signal?: AbortSignal;
}

export interface BuildProgress {
  /** Bytes on disk, of all inputs. */
  readonly readBytes: number;
  readonly totalBytes: number;
  readonly documents: number;
  readonly tokens: number;
  readonly textBytes: number;
}

export interface BuildResult {
  /** False if it was stopped by the signal; the same call goes on. */
  readonly finished: boolean;
  readonly badRecords: number;
  readonly splits: Partial<Record<Split, { readonly folder: string; readonly index: ShardIndex }>>;
}

/** 2^27 tokens: 256 MiB for vocabularies of up to 65,536. */
const TOKENS_PER_SHARD = 2 ** 27;
const BATCHES_PER_CHECKPOINT = 64;

/** An input file and where its documents go. */
interface Assignment {
  readonly file: InputFile;
  readonly destination: Destination;
}

/**
 * Turns text into token shards: `train/` and, if asked for, `validation/` below `out`.
 *
 * Documents end with EOS. The shards are the same, bit for bit, for any number of workers, and after any number of
 * interruptions: a call with the same options goes on at the last checkpoint. The indexes are written last.
 *
 * @throws InputError naming file and line for damaged inputs; WorkError if writing fails.
 */
export async function buildDataset(options: BuildOptions): Promise<BuildResult> {
  const tokenizer = loadTokenizer(options.tokenizer);
  const assignments = assign(options);
  const settings = encodeSettings(options, tokenizer);
  const tokensPerShard = options.tokensPerShard ?? TOKENS_PER_SHARD;
  const config: BuildConfig = {
    inputs: assignments.map(({ file, destination }) => [file.path, file.size, file.modified, destination]),
    tokenizer: tokenizer.hash,
    eosId: settings.eosId,
    field: settings.field,
    badRecords: settings.badRecords,
    validationFraction: settings.validationFraction,
    tokensPerShard,
  };
  const state = readBuildState(options.out, config);
  // A hash decides over whole documents.
  const cutText = tokenizer.splitsAtBlanks && settings.validationFraction === 0;
  if (state.finished) return resultOf(options.out, assignments, state);
  if (tokenizer.note !== undefined) options.onNote?.(tokenizer.note);
  mkdirSync(options.out, { recursive: true });
  const writers = {
    train: new ShardWriter(join(options.out, 'train'), settings.dtype, tokensPerShard, state.writers.train),
    validation: new ShardWriter(
      join(options.out, 'validation'),
      settings.dtype,
      tokensPerShard,
      state.writers.validation,
    ),
  };
  const pool = createPool(options.workers ?? 1, settings);
  try {
    const build = new Build(options, config, assignments, writers, pool, state, cutText);
    const ended = await build.run();
    if (ended.finished) finish(options, assignments, writers, tokenizer, settings.eosId, ended);
    writeBuildState(options.out, config, ended);
    return resultOf(options.out, assignments, ended);
  } catch (error) {
    // Nothing is left of a build that failed at once; one that had come further keeps its checkpoint.
    if (error instanceof InputError && state.file === 0 && state.batch === 0) removeBuild(options.out);
    throw error;
  } finally {
    await pool.close();
    for (const writer of Object.values(writers)) writer.abandon();
  }
}

/** A build under way: reads batches in order, encodes them in the pool, appends what comes back in order. */
class Build {
  #file: number;
  #batch: number;
  #badRecords: number;
  #readBytes = 0;
  readonly #totalBytes: number;

  constructor(
    readonly options: BuildOptions,
    readonly config: BuildConfig,
    readonly assignments: readonly Assignment[],
    readonly writers: Record<Split, ShardWriter>,
    readonly pool: EncoderPool,
    start: BuildState,
    readonly cutText: boolean,
  ) {
    this.#file = start.file;
    this.#batch = start.batch;
    this.#badRecords = start.badRecords;
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
      writeBuildState(this.options.out, this.config, this.#checkpoint(false));
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
    const field = this.options.field ?? 'text';
    for (const [file, assignment] of this.assignments.entries()) {
      if (file < startFile) {
        this.#readBytes += assignment.file.size;
        continue;
      }
      const onRead = (bytes: number): void => void (this.#readBytes += bytes);
      let batch = 0;
      for await (const content of readBatches(assignment.file, { field, cutText: this.cutText, onRead })) {
        if (file > startFile || batch >= startBatch)
          yield { file, batch, content, destination: assignment.destination };
        batch++;
      }
    }
    return undefined;
  }

  /** True if a shard was closed. */
  #append({ parts, bad }: EncodedBatch): boolean {
    this.#badRecords += bad.length;
    for (const record of bad) this.options.onBadRecord?.(record);
    let closed = false;
    for (const split of ['train', 'validation'] as const) {
      const part = parts[split];
      if (part !== undefined) closed = this.writers[split].append(part.tokens, part.ends, part.textBytes) || closed;
    }
    return closed;
  }

  #checkpoint(finished: boolean): BuildState {
    const writers = { train: this.writers.train.checkpoint(), validation: this.writers.validation.checkpoint() };
    return { finished, file: this.#file, batch: this.#batch, badRecords: this.#badRecords, writers };
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

function assign(options: BuildOptions): Assignment[] {
  const { validation } = options;
  const held =
    validation !== undefined && 'inputs' in validation ? expandInputs(validation.inputs, options.format) : [];
  const destination: Destination = validation !== undefined && 'fraction' in validation ? 'hash' : 'train';
  const inputs = expandInputs(options.inputs, options.format);
  const paths = new Set(held.map(({ path }) => resolve(path)));
  const twice = inputs.find(({ path }) => paths.has(resolve(path)));
  if (twice !== undefined)
    throw new InputError(`${twice.path}: expected in training or in validation data, found in both.`);
  return [
    ...held.map((file): Assignment => ({ file, destination: 'validation' })),
    ...inputs.map((file): Assignment => ({ file, destination })),
  ];
}

function encodeSettings(options: BuildOptions, tokenizer: Tokenizer): EncodeSettings {
  const { validation } = options;
  const eosId = options.eos === undefined ? tokenizer.eosId : tokenizer.tokenToId(options.eos);
  if (eosId === undefined)
    throw new InputError(
      options.eos === undefined
        ? `${tokenizer.file}: expected a token that ends a document, found none by a usual name; name it with --eos.`
        : `${tokenizer.file}: expected the token ${JSON.stringify(options.eos)} (--eos), found none.`,
    );
  const validationFraction = validation !== undefined && 'fraction' in validation ? validation.fraction : 0;
  if (!(validationFraction >= 0 && validationFraction < 1))
    throw new InputError(`--val-fraction: expected a number of 0 to 1, found ${validationFraction}.`);
  return {
    tokenizer: tokenizer.file,
    eosId,
    dtype: dtypeFor(tokenizer.vocabSize),
    field: options.field ?? 'text',
    badRecords: options.badRecords ?? 'fail',
    validationFraction,
  };
}

/** Writes tokenizer.json and then the index of each split. */
function finish(
  options: BuildOptions,
  assignments: readonly Assignment[],
  writers: Record<Split, ShardWriter>,
  tokenizer: Tokenizer,
  eosId: number,
  state: BuildState,
): void {
  for (const split of wantedSplits(assignments)) {
    if (writers[split].totals.tokens === 0)
      throw new InputError(`${options.out}: expected documents for ${split}, found none in the inputs.`);
  }
  for (const split of wantedSplits(assignments)) {
    const folder = join(options.out, split);
    writeFileAtomic(join(folder, 'tokenizer.json'), readFileSync(tokenizer.file));
    const sources = assignments
      .filter(({ destination }) => destination === split || destination === 'hash')
      .map(({ file }) => ({ path: file.path, bytes: file.size }));
    writers[split].finish({
      split,
      vocabSize: tokenizer.vocabSize,
      tokenizer: { file: 'tokenizer.json', sha256: tokenizer.hash, eosId },
      sources,
      steps: [{ name: 'read', badRecords: state.badRecords }],
    });
  }
}

function wantedSplits(assignments: readonly Assignment[]): Split[] {
  const held = assignments.some(({ destination }) => destination !== 'train');
  return held ? ['train', 'validation'] : ['train'];
}

function resultOf(out: string, assignments: readonly Assignment[], state: BuildState): BuildResult {
  const splits: BuildResult['splits'] = {};
  if (state.finished)
    for (const split of wantedSplits(assignments)) {
      const folder = join(out, split);
      splits[split] = { folder, index: readIndex(folder) };
    }
  return { finished: state.finished, badRecords: state.badRecords, splits };
}

function removeBuild(out: string): void {
  for (const name of ['train', 'validation', 'build.json']) rmSync(join(out, name), { recursive: true, force: true });
}
