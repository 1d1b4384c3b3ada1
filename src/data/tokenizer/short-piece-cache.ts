const FIELDS = 8; // the 16 bytes of the piece, length * 256 + number of ids (0: empty slot), the id or where the ids start
const SLOT_BITS = 17;
const SLOTS = 2 ** SLOT_BITS;
const MAX_ENTRIES = SLOTS / 2;
const ID_COUNT = 2 ** 19;

/** Pieces of up to this many bytes fit into a slot. */
export const MAX_SHORT_BYTES = 16;

/** For each length, what keeps its bytes of four words of four. */
const MASKS = new Int32Array((MAX_SHORT_BYTES + 1) * 4);
for (let length = 0; length <= MAX_SHORT_BYTES; length++)
  for (let word = 0; word < 4; word++)
    MASKS[length * 4 + word] = [0, 0xff, 0xffff, 0xffffff, -1][Math.max(0, Math.min(4, length - word * 4))]!;

/**
 * Remembers the ids of short pieces: key and ids lie in one slot, compared four bytes at a time.
 *
 * Bounded: a full cache starts anew, which costs little as text repeats its words at once.
 */
export class ShortPieceCache {
  readonly #slots = new Int32Array(SLOTS * FIELDS);
  readonly #ids = new Int32Array(ID_COUNT);
  #entries = 0;
  #idEnd = 0;
  /** Where `copy` looked in vain. */
  #field = 0;
  readonly #key = new Int32Array(4);

  /**
   * Copies the ids of the piece of `length` bytes at `start` to `out[at..]`.
   *
   * @param text At least 16 bytes longer than the piece's start.
   * @returns How many there are, or 0 if the piece is not known; then `put` may follow.
   */
  copy(text: DataView, start: number, length: number, out: Int32Array, at: number): number {
    // No branch on the length: mispredicted ones cost more than loading all four words.
    const mask = length * 4;
    const k0 = text.getInt32(start, true) & MASKS[mask]!;
    const k1 = text.getInt32(start + 4, true) & MASKS[mask + 1]!;
    const k2 = text.getInt32(start + 8, true) & MASKS[mask + 2]!;
    const k3 = text.getInt32(start + 12, true) & MASKS[mask + 3]!;
    let hash =
      Math.imul(k0, 0x9e3779b1) ^ Math.imul(k1, 0x85ebca6b) ^ Math.imul(k2, 0xc2b2ae35) ^ Math.imul(k3, 0x27d4eb2f);
    hash = Math.imul(hash ^ (hash >>> 15) ^ length, 0x9e3779b1);
    const slots = this.#slots;
    for (let field = (hash >>> (32 - SLOT_BITS)) * FIELDS; ; field = (field + FIELDS) & (SLOTS * FIELDS - 1)) {
      const meta = slots[field + 4]!;
      const differs =
        (slots[field]! ^ k0) | (slots[field + 1]! ^ k1) | (slots[field + 2]! ^ k2) | (slots[field + 3]! ^ k3);
      if (differs === 0 && meta >> 8 === length) {
        const count = meta & 0xff;
        const from = slots[field + 5]!;
        if (count === 1) out[at] = from;
        else for (let k = 0; k < count; k++) out[at + k] = this.#ids[from + k]!;
        return count;
      }
      if (meta !== 0) continue;
      this.#field = field;
      this.#key[0] = k0;
      this.#key[1] = k1;
      this.#key[2] = k2;
      this.#key[3] = k3;
      return 0;
    }
  }

  /** Remembers the piece that `copy` was just asked for: its `count` ids begin at `ids[at]`. */
  put(length: number, ids: Int32Array, at: number, count: number): void {
    if (this.#entries >= MAX_ENTRIES || this.#idEnd + count > ID_COUNT) {
      // The slot found stays right: all are empty now.
      this.#slots.fill(0);
      this.#entries = 0;
      this.#idEnd = 0;
    }
    const slots = this.#slots;
    slots.set(this.#key, this.#field);
    slots[this.#field + 4] = length * 256 + count;
    if (count === 1) slots[this.#field + 5] = ids[at]!;
    else {
      slots[this.#field + 5] = this.#idEnd;
      for (let k = 0; k < count; k++) this.#ids[this.#idEnd++] = ids[at + k]!;
    }
    this.#entries++;
  }
}
