/** Rounds of the Feistel network; four already make a pseudorandom permutation of ideal rounds, ours are weaker. */
const ROUNDS = 8;
/** Largest domain: twice this must be a safe integer, as the network works on the next power of four. */
export const MAX_PERMUTATION = 2 ** 50;

/**
 * A shuffled order of `0 .. size - 1` that is computed, never stored: position of the `index`th element.
 *
 * A balanced Feistel network on the next power of four, walked along its cycles until it lands inside (Black and Rogaway
 * 2002, "Ciphers with arbitrary finite domains"). The same seed gives the same order on every machine.
 */
export class Permutation {
  readonly #size: number;
  readonly #halfBits: number;
  readonly #halfMask: number;
  readonly #halfSize: number;
  readonly #keys = new Int32Array(ROUNDS);

  /**
   * @param size At most 2^50.
   * @param seeds Whole numbers that the order depends on (the run's seed, the epoch).
   */
  constructor(size: number, ...seeds: readonly number[]) {
    if (!Number.isSafeInteger(size) || size < 1 || size > MAX_PERMUTATION)
      throw new RangeError(`a permutation has 1 to 2^50 elements, not ${size}`);
    this.#size = size;
    this.#halfBits = 1;
    while (2 ** (2 * this.#halfBits) < size) this.#halfBits++;
    this.#halfSize = 2 ** this.#halfBits;
    this.#halfMask = this.#halfSize - 1;
    this.reseed(...seeds);
  }

  /** Changes to the order of other seeds. */
  reseed(...seeds: readonly number[]): void {
    let state = 0x243f6a88;
    for (const seed of seeds) {
      state = mix(state ^ ((seed % 2 ** 32) | 0));
      state = mix(state ^ (Math.floor(seed / 2 ** 32) | 0));
    }
    for (let round = 0; round < ROUNDS; round++) {
      state = mix((state + 0x9e3779b9) | 0);
      this.#keys[round] = state;
    }
  }

  /** Position of element `index` (a whole number of at least 0 and below `size`). */
  at(index: number): number {
    let value = index;
    do {
      let left = Math.floor(value / this.#halfSize);
      let right = value - left * this.#halfSize;
      for (let round = 0; round < ROUNDS; round++) {
        const next = left ^ (mix(right ^ this.#keys[round]!) & this.#halfMask);
        left = right;
        right = next;
      }
      value = left * this.#halfSize + right;
    } while (value >= this.#size);
    return value;
  }
}

/** The finalizer of MurmurHash3 (A. Appleby, public domain): every input bit changes half of the output bits. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
