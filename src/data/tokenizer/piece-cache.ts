const SLOT_FIELDS = 4; // hash, start of the key, length of the key * 256 + number of ids (0: empty slot), start of the ids
const SLOTS = 2 ** 17;
const MAX_ENTRIES = SLOTS / 2;
const KEY_BYTES = 2 ** 20;
const ID_COUNT = 2 ** 19;

/** Pieces longer than this are not kept. */
export const MAX_CACHED_BYTES = 120;

/**
 * Remembers the ids of the pieces seen lately, keyed by their bytes.
 *
 * Bounded: a full cache starts anew, which costs little as text repeats its words at once.
 */
export class PieceCache {
  readonly #slots = new Int32Array(SLOTS * SLOT_FIELDS);
  readonly #keys = new Uint8Array(KEY_BYTES);
  readonly #ids = new Int32Array(ID_COUNT);
  #entries = 0;
  #keyEnd = 0;
  #idEnd = 0;
  #hash = 0;

  /**
   * Copies the ids of the piece `bytes[start..end)` to `out[at..]`.
   *
   * @returns How many there are, or 0 if the piece is not known; then `put` may follow.
   */
  copy(bytes: Uint8Array, start: number, end: number, out: Int32Array, at: number): number {
    let hash = end - start;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x5bd1e995) ^ (hash >>> 15);
    hash ^= hash >>> 13;
    this.#hash = hash;
    const slots = this.#slots;
    const keys = this.#keys;
    const length = end - start;
    for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
      const field = slot * SLOT_FIELDS;
      const meta = slots[field + 2]!;
      if (meta === 0) return 0;
      if (slots[field] !== hash || meta >> 8 !== length) continue;
      let key = slots[field + 1]!;
      let i = start;
      while (i < end && bytes[i] === keys[key]) {
        i++;
        key++;
      }
      if (i < end) continue;
      const count = meta & 0xff;
      const from = slots[field + 3]!;
      for (let k = 0; k < count; k++) out[at + k] = this.#ids[from + k]!;
      return count;
    }
  }

  /** Remembers the piece that `copy` was just asked for: its `count` ids begin at `ids[at]`. */
  put(bytes: Uint8Array, start: number, end: number, ids: Int32Array, at: number, count: number): void {
    const length = end - start;
    if (this.#entries >= MAX_ENTRIES || this.#keyEnd + length > KEY_BYTES || this.#idEnd + count > ID_COUNT)
      this.#clear();
    let slot = this.#hash & (SLOTS - 1);
    while (this.#slots[slot * SLOT_FIELDS + 2] !== 0) slot = (slot + 1) & (SLOTS - 1);
    const field = slot * SLOT_FIELDS;
    this.#slots[field] = this.#hash;
    this.#slots[field + 1] = this.#keyEnd;
    this.#slots[field + 2] = length * 256 + count;
    this.#slots[field + 3] = this.#idEnd;
    for (let i = start; i < end; i++) this.#keys[this.#keyEnd++] = bytes[i]!;
    for (let k = 0; k < count; k++) this.#ids[this.#idEnd++] = ids[at + k]!;
    this.#entries++;
  }

  #clear(): void {
    this.#slots.fill(0);
    this.#entries = 0;
    this.#keyEnd = 0;
    this.#idEnd = 0;
  }
}
