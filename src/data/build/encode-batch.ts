import { createHash } from 'node:crypto';
import type { Batch } from '../sources/batches.js';
import { type BadRecord, type Document, badRecordError, readDocuments } from '../sources/documents.js';
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
}

/** Tokens of a batch for one split. */
export interface EncodedPart {
  readonly tokens: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** Where documents end in `tokens`, behind their EOS. */
  readonly ends: Uint32Array<ArrayBuffer>;
  readonly textBytes: number;
}

export interface EncodedBatch {
  readonly parts: Partial<Record<Split, EncodedPart>>;
  readonly bad: readonly BadRecord[];
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
    for (const document of documents) {
      const split = destination === 'hash' ? this.#splitOf(document) : destination;
      this.#collectors[split].add(document, this.#tokenizer);
    }
    const parts: Partial<Record<Split, EncodedPart>> = {};
    for (const split of ['train', 'validation'] as const) {
      const part = this.#collectors[split].take();
      if (part !== undefined) parts[split] = part;
    }
    return { parts, bad };
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

  constructor({ dtype, eosId }: EncodeSettings) {
    this.#dtype = dtype;
    this.#eosId = eosId;
  }

  add({ utf8, starts, ends }: Document, tokenizer: Tokenizer): void {
    const room = this.#count + tokenizer.maxTokens(utf8.length) + 1;
    if (room > this.#tokens.length) {
      const larger = new Int32Array(Math.max(room, this.#tokens.length * 2));
      larger.set(this.#tokens.subarray(0, this.#count));
      this.#tokens = larger;
    }
    this.#count = tokenizer.encodeInto(utf8, 0, utf8.length, this.#tokens, this.#count, !starts);
    this.#textBytes += utf8.length;
    if (!ends) return;
    this.#tokens[this.#count++] = this.#eosId;
    this.#ends.push(this.#count);
  }

  take(): EncodedPart | undefined {
    if (this.#count === 0) return undefined;
    const tokens = this.#tokens.subarray(0, this.#count);
    const part = {
      tokens: this.#dtype === 'uint16' ? new Uint16Array(tokens) : new Uint32Array(tokens),
      ends: Uint32Array.from(this.#ends),
      textBytes: this.#textBytes,
    };
    this.#count = 0;
    this.#ends = [];
    this.#textBytes = 0;
    return part;
  }
}
