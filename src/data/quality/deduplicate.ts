import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { BANDS } from './minhash.js';

/** `exact` drops documents with the same bytes, `near` those that share a MinHash band with an earlier one, too. */
export type Deduplication = 'exact' | 'near';

/** 32-bit words of a document's keys: 4 of its digest, then 2 for each band. */
export const keyWords = (kind: Deduplication): number => (kind === 'exact' ? 4 : 4 + 2 * BANDS);

/**
 * Keeps the first of equal documents.
 *
 * The keys of kept documents go to a file beside the shards, so that a build that was interrupted knows them again.
 * Memory: 16 bytes for each kept document and as much for each of its bands, at a load of at most a half.
 */
export class Deduplicator {
  readonly #words: number;
  readonly #digests = new KeySet(4);
  readonly #bands: readonly KeySet[];
  readonly #descriptor: number;
  #kept = 0;

  /** @param kept Documents that an earlier part of the build kept: their keys are read back from `file`. */
  constructor(kind: Deduplication, file: string, kept: number) {
    this.#words = keyWords(kind);
    this.#bands = Array.from({ length: kind === 'near' ? BANDS : 0 }, () => new KeySet(2));
    this.#descriptor = openSync(file, kept > 0 && existsSync(file) ? 'r+' : 'w+');
    ftruncateSync(this.#descriptor, kept * this.#words * 4);
    const keys = new Uint32Array(this.#words);
    for (let document = 0; document < kept; document++) {
      readSync(this.#descriptor, keys, 0, keys.byteLength, document * keys.byteLength);
      this.#add(keys, 0);
    }
    this.#kept = kept;
  }

  /** Number of documents kept. */
  get kept(): number {
    return this.#kept;
  }

  /** Whether a document is the first of its kind; if so it is remembered. Its keys begin at `keys[at]`. */
  keep(keys: Uint32Array, at: number): boolean {
    if (this.#digests.has(keys, at)) return false;
    for (const [band, set] of this.#bands.entries()) if (set.has(keys, at + 4 + 2 * band)) return false;
    this.#add(keys, at);
    const own = keys.subarray(at, at + this.#words);
    writeSync(this.#descriptor, own, 0, own.byteLength, this.#kept * own.byteLength);
    this.#kept++;
    return true;
  }

  sync(): void {
    fsyncSync(this.#descriptor);
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #add(keys: Uint32Array, at: number): void {
    this.#digests.add(keys, at);
    for (const [band, set] of this.#bands.entries()) set.add(keys, at + 4 + 2 * band);
  }
}

/** A set of keys of a few 32-bit words each. Keys of zeros alone are taken as not there. */
class KeySet {
  readonly #width: number;
  #slots: Uint32Array<ArrayBuffer>;
  #size = 0;

  constructor(width: number) {
    this.#width = width;
    this.#slots = new Uint32Array(width * 1024);
  }

  has(keys: Uint32Array, at: number): boolean {
    return this.#isFilled(this.#find(keys, at));
  }

  add(keys: Uint32Array, at: number): void {
    const slot = this.#find(keys, at);
    if (this.#isFilled(slot)) return;
    for (let i = 0; i < this.#width; i++) this.#slots[slot + i] = keys[at + i]!;
    if (++this.#size * 2 * this.#width > this.#slots.length) this.#grow();
  }

  /** Where the key is, or the empty slot where it would go. */
  #find(keys: Uint32Array, at: number): number {
    const mask = this.#slots.length / this.#width - 1;
    let slot = keys[at]! & mask;
    while (this.#isFilled(slot * this.#width) && !this.#equals(slot * this.#width, keys, at)) slot = (slot + 1) & mask;
    return slot * this.#width;
  }

  #equals(slot: number, keys: Uint32Array, at: number): boolean {
    for (let i = 0; i < this.#width; i++) if (this.#slots[slot + i] !== keys[at + i]) return false;
    return true;
  }

  #isFilled(slot: number): boolean {
    for (let i = 0; i < this.#width; i++) if (this.#slots[slot + i] !== 0) return true;
    return false;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    this.#size = 0;
    for (let slot = 0; slot < old.length; slot += this.#width)
      if (old.subarray(slot, slot + this.#width).some((word) => word !== 0)) this.add(old, slot);
  }
}
