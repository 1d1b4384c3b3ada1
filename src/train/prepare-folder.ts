import { Loader, openDataset } from '../data/index.js';
import { ensureLibtorch } from '../engine/libtorch/install.js';
import { InputError } from '../errors.js';
import { type Plan, sourceFingerprint } from '../growth/index.js';
import type { Checkpoint } from '../interop/index.js';
import { FlopLedger } from '../planner/index.js';
import { Batches } from './batches.js';
import { splitFolder } from './data.js';
import { openEngine } from './engine.js';
import { LearnedFolder, type Learning } from './learned-folder.js';
import type { Learned } from './ligo.js';
import { learningKey, prepareCost, prepareGrowth } from './prepare.js';
import { standardError, type TrainOptions } from './train.js';

/** What a growth on a folder learns on. */
export interface FolderPreparation {
  /** Folder of token shards; operators that learn from weights alone need none. */
  readonly data?: string;
  readonly sequenceLength?: number;
  readonly batchTokens?: number;
  readonly threads?: number;
  /** Folder in which the phase keeps what it has learned, so that the same call goes on after an interruption. */
  readonly keep?: string;
  /** Aborting it throws its reason; what was learned is kept. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, loss: number) => void;
  readonly reporter?: TrainOptions['reporter'];
}

/** What was learned, and fields for the grown folder's manifest: what was paid, the source's training included where it is known. */
export interface FolderLearned extends Learned {
  readonly manifest: Readonly<Record<string, unknown>>;
}

const BATCH_TOKENS = 8192;
const LONGEST_SEQUENCE = 512;

/**
 * Runs a plan's `prepare` phase for a checkpoint folder, one sequence at a time, so that memory stays near that of both models.
 *
 * @throws InputError where the data are no token shards, or their tokenizer has more tokens than the model; WorkError where libtorch is missing.
 */
export async function prepareOnFolder(
  plan: Plan,
  checkpoint: Checkpoint,
  { data, threads, reporter, keep, signal, onProgress, ...sizes }: FolderPreparation,
): Promise<FolderLearned> {
  const learning = (learnedFrom: Readonly<Record<string, unknown>>): Learning => ({
    ...{ signal, onProgress },
    ...(keep === undefined
      ? {}
      : {
          kept: new LearnedFolder(keep, learningKey(plan, { source: sourceFingerprint(checkpoint), ...learnedFrom })),
        }),
  });
  if (plan.prepare!.kind === 'lesa' || data === undefined) {
    const none = { sequenceLength: 1, batchSequences: 1, microBatchSequences: 1, batches: () => [] };
    await ensureLibtorch(reporter ?? standardError, threads);
    openEngine(threads);
    const learned = await prepareGrowth(plan, (name) => checkpoint.read(name), none, learning({}));
    return {
      ...learned,
      manifest: paid(plan, checkpoint, { flops: learned.flops, flops6nd: 0n, flopsNonEmbedding: 0n }),
    };
  }
  const longest = plan.target.max_position_embeddings;
  const sequenceLength = sizes.sequenceLength ?? Math.min(longest, LONGEST_SEQUENCE);
  const batchTokens = sizes.batchTokens ?? Math.ceil(BATCH_TOKENS / sequenceLength) * sequenceLength;
  if (sequenceLength > longest)
    throw new InputError(`The model's max_position_embeddings are ${longest}; found sequences of ${sequenceLength}.`);
  if (batchTokens % sequenceLength !== 0)
    throw new InputError(`A step's tokens must be a multiple of ${sequenceLength}, found ${batchTokens}.`);
  const dataset = openDataset(splitFolder(data, 'train'));
  try {
    if (dataset.vocabSize > plan.source.vocab_size)
      throw new InputError(
        `${data}: its tokenizer has ${dataset.vocabSize} tokens, the model ${plan.source.vocab_size}; build the data with the model's own.`,
      );
    await ensureLibtorch(reporter ?? standardError, threads);
    openEngine(threads);
    const batchSequences = batchTokens / sequenceLength;
    const loader = new Loader(dataset, { sequenceLength, seed: 0 });
    const batches = new Batches(loader, batchSequences, 1, true);
    const shape = { sequenceLength, batchSequences, microBatchSequences: 1, withinDocuments: true };
    const learnedFrom = { identity: dataset.identity, sequenceLength, batchSequences };
    const learned = await prepareGrowth(
      plan,
      (name) => checkpoint.read(name),
      { ...shape, batches: (step) => batches.of(step * batchSequences) },
      learning(learnedFrom),
    );
    const cost = { ...prepareCost(plan, shape), flops: learned.flops };
    return { ...learned, manifest: { ...paid(plan, checkpoint, cost), learnedFrom } };
  } finally {
    dataset.close();
  }
}

/** Cumulative FLOPs of the grown model, where the source says what it cost, and those of the phase itself. */
function paid(plan: Plan, { manifest }: Checkpoint, cost: ReturnType<typeof prepareCost>): Record<string, unknown> {
  const { steps, options } = plan.prepare!;
  const seed = plan.options['seed'];
  const prepare = { operator: plan.operator, steps, options, seed, flopsExact: String(cost.flops) };
  const { tokens, flopsExact } = manifest ?? {};
  if (tokens === undefined || typeof flopsExact !== 'string') return { prepare };
  const exact = (field: string): string => (typeof manifest?.[field] === 'string' ? manifest[field] : '0');
  const ledger = FlopLedger.from({
    tokens,
    flopsExact,
    flops6ndExact: exact('flops6ndExact'),
    flopsNonEmbeddingExact: exact('flopsNonEmbeddingExact'),
  });
  ledger.addWork(cost, 1);
  return { ...ledger.totals(), prepare };
}
