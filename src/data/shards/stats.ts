import type { Dataset } from '../dataset.js';

const TOKENS_AT_ONCE = 2 ** 18;
const QUANTILES = [0, 0.1, 0.5, 0.9, 1] as const;

/** What a data set consists of. */
export interface DatasetStats {
  readonly tokens: number;
  readonly documents: number;
  readonly bytesPerToken: number;
  /** Ids of the vocabulary that occur. */
  readonly usedIds: number;
  /** The most frequent ids, with their counts. */
  readonly mostFrequent: readonly { readonly id: number; readonly count: number }[];
  /** Tokens of the documents, EOS included: at these quantiles. */
  readonly documentTokens: readonly { readonly quantile: number; readonly tokens: number }[];
  /** Mean information of an id by itself, in bits: a unigram model's loss. */
  readonly entropyBits: number;
}

/** Reads a whole data set and counts. */
export function datasetStats(
  dataset: Dataset,
  onProgress: (done: number, total: number) => void = () => {},
): DatasetStats {
  const counts = new Float64Array(dataset.vocabSize);
  const tokens = new Int32Array(TOKENS_AT_ONCE);
  for (let at = 0; at < dataset.tokens; at += TOKENS_AT_ONCE) {
    const count = Math.min(TOKENS_AT_ONCE, dataset.tokens - at);
    dataset.read(at, count, tokens);
    for (let i = 0; i < count; i++) counts[tokens[i]!] = (counts[tokens[i]!] ?? 0) + 1;
    onProgress(at + count, dataset.tokens);
  }
  const ranked = Array.from(counts, (count, id) => ({ id, count })).sort((a, b) => b.count - a.count);
  const lengths = documentLengths(dataset);
  return {
    tokens: dataset.tokens,
    documents: dataset.documents,
    bytesPerToken: dataset.bytesPerToken,
    usedIds: counts.filter((count) => count > 0).length,
    mostFrequent: ranked.slice(0, 20).filter(({ count }) => count > 0),
    documentTokens: QUANTILES.map((quantile) => ({
      quantile,
      tokens: lengths[Math.round(quantile * (lengths.length - 1))] ?? 0,
    })),
    entropyBits: entropy(counts, dataset.tokens),
  };
}

function documentLengths(dataset: Dataset): Float64Array {
  const lengths = new Float64Array(dataset.documents);
  let document = 0;
  let firstToken = 0;
  let last = 0;
  dataset.index.shards.forEach((shard, number) => {
    for (const end of dataset.shardEnds(number)) {
      lengths[document++] = firstToken + end - last;
      last = firstToken + end;
    }
    firstToken += shard.tokens;
  });
  return lengths.sort();
}

function entropy(counts: Float64Array, total: number): number {
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= (count / total) * Math.log2(count / total);
  return bits;
}
