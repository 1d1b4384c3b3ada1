import { createHash } from 'node:crypto';
import type { Batch } from '../sources/batch.js';
import { type BadRecord, type Document, badRecordError, readDocuments } from '../sources/documents.js';
import type { Deduplication } from '../quality/deduplicate.js';
import { type DropReason, type HeuristicLimits, dropReason } from '../quality/heuristics.js';
import { minHashBands } from '../quality/minhash.js';
import type { ShardIndex } from '../shards/index-file.js';
import { loadTokenizer } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/types.js';

/** Which split a batch's documents go to; `hash` decides by each document's hash. */
export type Destination = 'train' | 'validation' | 'hash';
export type Split = 'train' | 'validation';

/** What every worker needs to know. Plain data: it is sent to threads. */
export interface EncodeSettings {
  readonly tokenizer: string;
  readonly eosId: number;
  readonly dtype: ShardIndex['dtype'];
  readonly field: string;
  readonly badRecords: 'fail' | 'skip';
  /** Share of documents that `hash` sends to validation. */
  readonly validationFraction: number;
  readonly limits: HeuristicLimits;
  readonly deduplicate: Deduplication | undefined;
}

/** Tokens of a batch for one split. */
export interface EncodedPart {
  readonly tokens: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** Where documents end in `tokens`, behind their EOS. */
  readonly ends: Uint32Array<ArrayBuffer>;
  readonly textBytes: number;
  /** What `Deduplicator` needs of each document, where documents are to be compared. */
  readonly comparison?: { readonly keys: Uint32Array<ArrayBuffer>; readonly textBytes: Uint32Array<ArrayBuffer> };
}

export interface EncodedBatch {
  readonly parts: Partial<Record<Split, EncodedPart>>;
  readonly bad: readonly BadRecord[];
  /** Documents dropped by limits, by reason. */
  readonly dropped: Partial<Record<DropReason, number>>;
}

/** Turns batches into tokens; each worker has one. */
export class BatchEncoder {
  readonly #settings: EncodeSettings;
  readonly #tokenizer: Tokenizer;
  readonly #collectors: Record<Split, Collector>;

  constructor(settings: EncodeSettings) {
    this.#settings = settings;
    this.#tokenizer = loadTokenizer(settings.tokenizer);
    this.#collectors = { train: new Collector(settings), validation: new Collector(settings) };
  }

  /** @throws InputError for a bad record where these are to be fatal. */
  async encode(batch: Batch, destination: Destination): Promise<EncodedBatch> {
    const bad: BadRecord[] = [];
    const documents = await readDocuments(batch, this.#settings.field, (record) => {
      if (this.#settings.badRecords === 'fail') throw badRecordError(record);
      bad.push(record);
    });
    const dropped: Partial<Record<DropReason, number>> = {};
    for (const document of documents) {
      const reason = dropReason(document.utf8, this.#settings.limits);
      if (reason !== undefined) {
        dropped[reason] = (dropped[reason] ?? 0) + 1;
        continue;
      }
      const split = destination === 'hash' ? this.#splitOf(document) : destination;
      this.#collectors[split].add(document, this.#tokenizer);
    }
    const parts: Partial<Record<Split, EncodedPart>> = {};
    for (const split of ['train', 'validation'] as const) {
      const part = this.#collectors[split].take();
      if (part !== undefined) parts[split] = part;
    }
    return { parts, bad, dropped };
  }

  #splitOf(document: Document): Split {
    return hashFraction(document.utf8) < this.#settings.validationFraction ? 'validation' : 'train';
  }
}

/** A document's hash as a number of 0 to 1: the same text always falls on the same side. */
function hashFraction(utf8: Uint8Array): number {
  return createHash('md5').update(utf8).digest().readUIntBE(0, 6) / 2 ** 48;
}

/** Gathers the tokens of one split in a buffer that is used again and again. */
class Collector {
  readonly #dtype: ShardIndex['dtype'];
  readonly #eosId: number;
  #tokens = new Int32Array(2 ** 20);
  #count = 0;
  #ends: number[] = [];
  #textBytes = 0;
  readonly #deduplicate: Deduplication | undefined;
  #keys: number[] = [];
  #documentBytes: number[] = [];

  constructor({ dtype, eosId, deduplicate }: EncodeSettings) {
    this.#deduplicate = deduplicate;
    this.#dtype = dtype;
    this.#eosId = eosId;
  }

  add({ utf8, starts, ends }: Document, tokenizer: Tokenizer): void {
    if (tokenizer.kind === 'library') {
      // Its bound on the number of tokens is far from what text really gives, so the ids come first.
      const ids = tokenizer.encode(Buffer.from(utf8.buffer, utf8.byteOffset, utf8.length).toString());
      this.#reserve(ids.length + 1);
      this.#tokens.set(ids, this.#count);
      this.#count += ids.length;
    } else {
      this.#reserve(tokenizer.maxTokens(utf8.length) + 1);
      this.#count = tokenizer.encodeInto(utf8, 0, utf8.length, this.#tokens, this.#count, !starts);
    }
    this.#textBytes += utf8.length;
    if (!ends) return;
    this.#tokens[this.#count++] = this.#eosId;
    this.#ends.push(this.#count);
    if (this.#deduplicate === undefined) return;
    this.#documentBytes.push(utf8.length);
    for (const word of comparisonKeys(utf8, this.#deduplicate)) this.#keys.push(word);
  }

  #reserve(more: number): void {
    const room = this.#count + more;
    if (room <= this.#tokens.length) return;
    const larger = new Int32Array(Math.max(room, this.#tokens.length * 2));
    larger.set(this.#tokens.subarray(0, this.#count));
    this.#tokens = larger;
  }

  take(): EncodedPart | undefined {
    if (this.#count === 0) return undefined;
    const tokens = this.#tokens.subarray(0, this.#count);
    const part = {
      tokens: this.#dtype === 'uint16' ? new Uint16Array(tokens) : new Uint32Array(tokens),
      ends: Uint32Array.from(this.#ends),
      textBytes: this.#textBytes,
      ...(this.#deduplicate === undefined
        ? {}
        : { comparison: { keys: Uint32Array.from(this.#keys), textBytes: Uint32Array.from(this.#documentBytes) } }),
    };
    this.#keys = [];
    this.#documentBytes = [];
    this.#count = 0;
    this.#ends = [];
    this.#textBytes = 0;
    return part;
  }
}

/** A document's digest, and the keys of its bands where near duplicates are looked for. */
function comparisonKeys(utf8: Uint8Array, kind: Deduplication): number[] {
  const digest = createHash('md5').update(utf8).digest();
  const keys = [0, 4, 8, 12].map((at) => digest.readUInt32LE(at));
  return kind === 'exact' ? keys : [...keys, ...minHashBands(utf8)];
}
