import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { type Deduplication, Deduplicator } from '../quality/deduplicate.js';
import type { DropReason, HeuristicLimits } from '../quality/heuristics.js';
import type { BadRecord } from '../sources/documents.js';
import { type SourceFormat, expandInputs } from '../sources/inputs.js';
import { type ShardIndex, dtypeFor, readIndex } from '../shards/index-file.js';
import { ShardWriter } from '../shards/writer.js';
import { loadTokenizer } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/types.js';
import type { Destination, EncodeSettings, Split } from './encode-batch.js';
import { type Assignment, BuildPass, type BuildProgress } from './pass.js';
import { BUILD_FILE, type BuildConfig, type BuildState, readBuildState, writeBuildState } from './journal.js';
import { createPool } from './pool.js';

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
  /** Which documents to drop for their length or their repetitions. */
  readonly limits?: HeuristicLimits;
  /** Drops documents that equal an earlier one, validation data included. */
  readonly deduplicate?: Deduplication;
  readonly onProgress?: (progress: BuildProgress) => void;
  readonly onBadRecord?: (record: BadRecord) => void;
  /** Told once what is good to know: that the tokenizer is a slow one. */
  readonly onNote?: (note: string) => void;
  /** Ends the build after saving where it is. */
  readonly signal?: AbortSignal;
}

export interface BuildResult {
  /** False if it was stopped by the signal; the same call goes on. */
  readonly finished: boolean;
  readonly badRecords: number;
  /** Documents dropped by limits, by reason. */
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  readonly duplicates: number;
  readonly splits: Partial<Record<Split, { readonly folder: string; readonly index: ShardIndex }>>;
}

/** 2^27 tokens: 256 MiB for vocabularies of up to 65,536. */
const TOKENS_PER_SHARD = 2 ** 27;
/** Keys of the documents kept, while a build that compares documents is under way. */
const KEYS_FILE = 'keys.partial';

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
    limits: settings.limits,
    deduplicate: settings.deduplicate ?? null,
    tokensPerShard,
  };
  const state = readBuildState(options.out, config);
  // Whatever decides over documents needs them whole.
  const whole = settings.validationFraction > 0 || options.limits !== undefined || options.deduplicate !== undefined;
  const cutText = tokenizer.splitsAtBlanks && !whole;
  if (state.finished) return resultOf(options.out, assignments, state);
  if (tokenizer.note !== undefined) options.onNote?.(tokenizer.note);
  mkdirSync(options.out, { recursive: true });
  // From here on a kill leaves a folder that the same call takes up again.
  writeBuildState(options.out, config, state);
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
  const deduplicator =
    options.deduplicate && new Deduplicator(options.deduplicate, join(options.out, KEYS_FILE), state.compared);
  try {
    const { onProgress, onBadRecord, signal } = options;
    const save = (reached: BuildState): void => writeBuildState(options.out, config, reached);
    const passOptions = { field: settings.field, cutText, save, onProgress, onBadRecord, signal };
    const build = new BuildPass(passOptions, assignments, writers, pool, deduplicator, state);
    const ended = await build.run();
    if (ended.finished) finish(options, assignments, writers, tokenizer, settings.eosId, ended);
    writeBuildState(options.out, config, ended);
    if (ended.finished) removePartial(options.out);
    return resultOf(options.out, assignments, ended);
  } catch (error) {
    // Nothing is left of a build that failed at once; one that had come further keeps its checkpoint.
    if (error instanceof InputError && state.file === 0 && state.batch === 0) removeBuild(options.out);
    throw error;
  } finally {
    await pool.close();
    for (const writer of Object.values(writers)) writer.abandon();
    deduplicator?.close();
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
    limits: options.limits ?? {},
    deduplicate: options.deduplicate,
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
      steps: stepsOf(options, state),
    });
  }
}

/** What was done to the documents, for the index. */
function stepsOf({ limits, deduplicate }: BuildOptions, state: BuildState): ShardIndex['steps'] {
  return [
    { name: 'read', badRecords: state.badRecords },
    ...(limits === undefined ? [] : [{ name: 'limits', ...limits, dropped: state.dropped }]),
    ...(deduplicate === undefined ? [] : [{ name: 'deduplicate', kind: deduplicate, dropped: state.duplicates }]),
  ];
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
  return {
    finished: state.finished,
    badRecords: state.badRecords,
    dropped: state.dropped,
    duplicates: state.duplicates,
    splits,
  };
}

/** Removes what interrupted writes, and the comparison of documents, have left behind. */
function removePartial(out: string): void {
  for (const folder of [out, join(out, 'train'), join(out, 'validation')])
    for (const name of existsSync(folder) ? readdirSync(folder) : [])
      if (name.endsWith('.partial')) rmSync(join(folder, name));
}

function removeBuild(out: string): void {
  for (const name of ['train', 'validation', BUILD_FILE, KEYS_FILE])
    rmSync(join(out, name), { recursive: true, force: true });
}
