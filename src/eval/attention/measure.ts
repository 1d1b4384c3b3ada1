import type { Dataset } from '../../data/index.js';
import { InputError } from '../../errors.js';
import { AttentionReader } from '../../infer/attention-inputs.js';
import type { Model } from '../../infer/model.js';
import { attentionMatrix } from './matrix.js';
import { approximateRank, columnMass } from './rank.js';

/** What one head's attention matrices are like, in the mean over sequences. */
export interface HeadAttention {
  /** Approximate rank: singular values that hold 90 % of the squares. */
  readonly rank: number;
  /** Columns that hold 90 % of the squares. */
  readonly columns: number;
}

/** The heads of one layer; `maxRank` is the largest of their ranks (MaxRank of the paper). */
export interface LayerAttention {
  readonly layer: number;
  readonly heads: readonly HeadAttention[];
  readonly maxRank: number;
  readonly maxColumns: number;
}

/** What a model's attention is like, layer by layer. */
export interface AttentionReport {
  /** Sequences that were read, and tokens of each. */
  readonly sequences: number;
  readonly length: number;
  readonly layers: readonly LayerAttention[];
  /** Mean of maxRank over the first and the second half of the layers (AvgRank of the paper). */
  readonly averageRank: { readonly firstHalf: number; readonly secondHalf: number };
}

export interface AttentionOptions {
  /** 100 in the paper. */
  readonly sequences?: number;
  /** Tokens of a sequence; 100 in the paper. */
  readonly length?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Measures approximate rank and column mass of each head's attention matrices: finds lazy layers, whose ranks are near one.
 *
 * The sequences lie evenly over the data. Source: Inheritune (arXiv 2404.08634), section 2.
 *
 * @throws InputError where the data were made with a larger vocabulary or are too short, or the model reads fewer tokens.
 */
export async function measureAttention(
  model: Model,
  dataset: Dataset,
  { sequences = 100, length = 100, onProgress }: AttentionOptions = {},
): Promise<AttentionReport> {
  requireFit(model, dataset, length);
  const { num_attention_heads: heads, num_hidden_layers: layers } = model.config;
  const sums = Array.from({ length: layers }, () => Array.from({ length: heads }, () => ({ rank: 0, columns: 0 })));
  const ids = new Int32Array(length);
  using reader = new AttentionReader(model, length);
  for (let sequence = 0; sequence < sequences; sequence++) {
    dataset.read(Math.floor((sequence * (dataset.tokens - length)) / sequences), length, ids);
    reader.read(ids).forEach((inputs, layer) => {
      for (let head = 0; head < heads; head++) {
        const matrix = attentionMatrix(inputs, head);
        const sum = sums[layer]![head]!;
        sum.columns += columnMass(matrix, length);
        sum.rank += approximateRank(matrix, length);
      }
    });
    onProgress?.(sequence + 1, sequences);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return summarize(sums, sequences, length);
}

function summarize(sums: readonly (readonly HeadAttention[])[], sequences: number, length: number): AttentionReport {
  const layers = sums.map((heads, layer): LayerAttention => {
    const means = heads.map(({ rank, columns }) => ({ rank: rank / sequences, columns: columns / sequences }));
    return {
      layer,
      heads: means,
      maxRank: Math.max(...means.map(({ rank }) => rank)),
      maxColumns: Math.max(...means.map(({ columns }) => columns)),
    };
  });
  const half = Math.ceil(layers.length / 2);
  const average = (group: readonly LayerAttention[]): number =>
    group.reduce((sum, { maxRank }) => sum + maxRank, 0) / group.length;
  return {
    sequences,
    length,
    layers,
    averageRank: { firstHalf: average(layers.slice(0, half)), secondHalf: average(layers.slice(half)) },
  };
}

function requireFit({ config }: Model, dataset: Dataset, length: number): void {
  if (dataset.vocabSize > config.vocab_size)
    throw new InputError(
      `${dataset.folder}: expected tokens of a vocabulary of at most ${config.vocab_size}, that of the model, found ${dataset.vocabSize}.`,
    );
  if (length > config.max_position_embeddings)
    throw new InputError(
      `Sequences of ${length} tokens are too long: expected at most the model's max_position_embeddings ${config.max_position_embeddings}.`,
    );
  if (dataset.tokens < length)
    throw new InputError(`${dataset.folder}: expected at least ${length} tokens, found ${dataset.tokens}.`);
}
