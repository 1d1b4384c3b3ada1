/** Hash of a pair of ids that spreads over the low bits. */
const hashPair = (left: number, right: number): number => {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
};

/** A map from pairs of ids to whole numbers, in one typed array: a look-up touches one cache line. */
export class PairTable {
  #slots: Int32Array; // left, right, value + 1 (0: empty slot), unused
  #mask: number;
  #size = 0;

  constructor(expected = 1024) {
    let capacity = 1024;
    while (capacity < expected * 2) capacity *= 2;
    this.#slots = new Int32Array(capacity * 4);
    this.#mask = capacity - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** The pair's value, or -1. */
  get(left: number, right: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = hashPair(left, right) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * 4;
      const value = slots[at + 2]!;
      if (value === 0) return -1;
      if (slots[at] === left && slots[at + 1] === right) return value - 1;
    }
  }

  /** Sets a pair's value (a whole number of at least 0). */
  set(left: number, right: number, value: number): void {
    if (this.#size * 2 > this.#mask) this.#grow();
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = hashPair(left, right) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * 4;
      if (slots[at + 2] === 0) {
        slots[at] = left;
        slots[at + 1] = right;
        this.#size++;
      } else if (slots[at] !== left || slots[at + 1] !== right) continue;
      slots[at + 2] = value + 1;
      return;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#slots.length / 4 - 1;
    this.#size = 0;
    for (let at = 0; at < old.length; at += 4)
      if (old[at + 2] !== 0) this.set(old[at]!, old[at + 1]!, old[at + 2]! - 1);
  }
}
