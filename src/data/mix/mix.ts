import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { type Dataset, openDataset } from '../dataset.js';
import { Permutation } from '../permutation.js';
import { Conversion } from '../shards/conversion.js';
import type { ShardIndex } from '../shards/index-file.js';
import { ShardWriter } from '../shards/writer.js';

const TOKENS_PER_SHARD = 2 ** 27;
const TOKENS_AT_ONCE = 2 ** 20;

export interface MixOptions {
  /** Data sets of one tokenizer and the share of tokens that each is to give. */
  readonly sources: readonly { readonly folder: string; readonly weight: number }[];
  /** Folder for the mixed data set, which must not exist. */
  readonly out: string;
  /** Tokens to write; without it, until the source that is used up first. */
  readonly tokens?: number;
  /** How often the documents of a source may be used; 1 by default. Where that ends a source, the others fill up. */
  readonly maxEpochs?: number;
  readonly seed?: number;
  readonly tokensPerShard?: number;
  readonly onProgress?: (tokens: number, total: number) => void;
}

/**
 * Mixes data sets document by document, each source in a shuffled order of its own; of one source it is a shuffle.
 *
 * The next document always comes from the source that is furthest behind its share, so shares hold all along. After a kill the same call goes on
 * at the last whole shard, to the same result.
 *
 * @throws InputError for data sets of different tokenizers, or weights that are none.
 */
export function mixDatasets(options: MixOptions): ShardIndex {
  const { out, seed = 0, maxEpochs = 1, tokensPerShard = TOKENS_PER_SHARD } = options;
  const sources = options.sources.map(({ folder, weight }) => new Source(folder, weight, seed, maxEpochs));
  try {
    const first = checkSources(sources);
    const weights = sources.reduce((sum, { weight }) => sum + weight, 0);
    // Without a budget the mix ends where a source ends: it has had its share then.
    const natural = Math.min(...sources.map(({ weight, capacity }) => (capacity * weights) / weight));
    const budget = options.tokens ?? Math.floor(natural);
    const identities = sources.map(({ dataset, weight }) => [dataset.identity, weight]);
    const conversion = new Conversion<SourcePosition[]>(out, {
      ...{ kind: 'mix', sources: identities, seed, maxEpochs, budget, tokensPerShard },
    });
    conversion.position?.forEach((position, i) => sources[i]?.goOn(position));
    const writer = new ShardWriter(conversion.folder, first.index.dtype, tokensPerShard, conversion.writerState);
    try {
      let { tokens } = writer.totals;
      for (let source = furthestBehind(sources); tokens < budget && source; source = furthestBehind(sources)) {
        const { tokens: count, closed } = source.take(writer);
        tokens += count;
        if (closed)
          conversion.save(
            sources.map(({ position }) => position),
            writer,
          );
        options.onProgress?.(Math.min(tokens, budget), budget);
      }
    } catch (error) {
      writer.abandon();
      throw error;
    }
    writeFileAtomic(join(conversion.folder, 'tokenizer.json'), readFileSync(first.tokenizerFile));
    const index = writer.finish({
      split: first.index.split,
      vocabSize: first.vocabSize,
      tokenizer: { ...first.index.tokenizer, file: 'tokenizer.json' },
      sources: sources.map(({ dataset, taken }) => ({ path: dataset.folder, bytes: taken })),
      steps: [
        {
          name: 'mix',
          seed,
          maxEpochs,
          sources: sources.map(({ dataset, weight, taken, epochs }) => ({
            identity: dataset.identity,
            weight,
            tokens: taken,
            epochs,
          })),
        },
      ],
    });
    conversion.publish();
    return index;
  } finally {
    for (const { dataset } of sources) dataset.close();
  }
}

function checkSources(sources: readonly Source[]): Dataset {
  const first = sources[0]?.dataset;
  if (first === undefined) throw new InputError('expected data sets to mix, found none.');
  for (const { dataset, weight } of sources) {
    if (!(weight > 0) || !Number.isFinite(weight))
      throw new InputError(`${dataset.folder}: expected a weight above 0, found ${weight}.`);
    if (dataset.index.tokenizer.sha256 !== first.index.tokenizer.sha256)
      throw new InputError(`${dataset.folder}: expected the tokenizer of ${first.folder}, found another.`);
    if (dataset.masked)
      throw new InputError(
        `${dataset.folder}: expected text, found conversations with a mask of answers, which a mix would lose.`,
      );
    if (dataset.documents === 0) throw new InputError(`${dataset.folder}: expected documents, found none that end.`);
  }
  return first;
}

/** The source with the least tokens for its weight, among those that have some left. */
function furthestBehind(sources: readonly Source[]): Source | undefined {
  return sources
    .filter((source) => !source.usedUp)
    .reduce<Source | undefined>(
      (best, next) => (best && best.taken / best.weight <= next.taken / next.weight ? best : next),
      undefined,
    );
}

/** How much of a source was used. */
interface SourcePosition {
  /** Documents, over all epochs. */
  readonly documents: number;
  readonly tokens: number;
}

/** A data set whose documents are taken in a shuffled order. */
class Source {
  readonly dataset: Dataset;
  readonly weight: number;
  taken = 0;
  readonly #seed: number;
  readonly #maxEpochs: number;
  readonly #order: Permutation;
  readonly #tokens = new Int32Array(TOKENS_AT_ONCE);
  #next = 0;

  constructor(folder: string, weight: number, seed: number, maxEpochs: number) {
    this.dataset = openDataset(folder);
    this.weight = weight;
    this.#seed = seed;
    this.#maxEpochs = maxEpochs;
    this.#order = new Permutation(Math.max(1, this.dataset.documents), seed, 0);
  }

  get position(): SourcePosition {
    return { documents: this.#next, tokens: this.taken };
  }

  /** Goes on where an earlier call stood. */
  goOn({ documents, tokens }: SourcePosition): void {
    this.#next = documents;
    this.taken = tokens;
    this.#order.reseed(this.#seed, Math.floor(documents / this.dataset.documents));
  }

  get epochs(): number {
    return this.#next / this.dataset.documents;
  }

  get capacity(): number {
    return this.dataset.tokens * this.#maxEpochs;
  }

  get usedUp(): boolean {
    return this.#next >= Math.floor(this.dataset.documents * this.#maxEpochs);
  }

  /** Appends the next document; says how many tokens it has, and whether that closed a shard. */
  take(writer: ShardWriter): { tokens: number; closed: boolean } {
    const { documents, index, bytesPerToken } = this.dataset;
    const within = this.#next % documents;
    if (within === 0) this.#order.reseed(this.#seed, this.#next / documents);
    const { start, end } = this.dataset.documentRange(this.#order.at(within));
    let closed = false;
    for (let at = start; at < end; at += TOKENS_AT_ONCE) {
      const count = Math.min(TOKENS_AT_ONCE, end - at);
      this.dataset.read(at, count, this.#tokens);
      const part = this.#tokens.subarray(0, count);
      const ends = at + count === end ? Uint32Array.of(count) : new Uint32Array(0);
      // Bytes of a single document are not stored: its share of the whole stands for them.
      const own = index.dtype === 'uint16' ? Uint16Array.from(part) : Uint32Array.from(part);
      closed = writer.append(own, ends, Math.round(count * bytesPerToken)) || closed;
    }
    this.#next++;
    this.taken += end - start;
    return { tokens: end - start, closed };
  }
}
