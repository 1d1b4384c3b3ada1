/**
 * Python's `random.Random(seed)`: the Mersenne Twister, seeded and drawn from as CPython does.
 *
 * Few-shot prompts are drawn with it by lm-evaluation-harness. Source: Matsumoto and Nishimura 1998; CPython's `Lib/random.py`.
 */
export class PythonRandom {
  readonly #state = new Uint32Array(624);
  #index = 624;

  /** @param seed A whole number from 0 to 2^32 - 1. */
  constructor(seed: number) {
    this.#initializeByArray(seed >>> 0);
  }

  /** `count` different items in the order in which they were drawn. Equals `random.sample`. */
  sample<T>(population: readonly T[], count: number): T[] {
    const size = population.length;
    if (count < 0 || count > size) throw new RangeError(`a sample of ${count} was asked for from ${size}`);
    // Both ways draw the same kind of sample; which one Python takes depends on how much memory it saves.
    let setSize = 21;
    if (count > 5) setSize += 4 ** Math.ceil(Math.log(count * 3) / Math.log(4));
    return size <= setSize ? this.#sampleFromPool(population, count) : this.#sampleBySet(population, count);
  }

  #sampleFromPool<T>(population: readonly T[], count: number): T[] {
    const pool = [...population];
    return Array.from({ length: count }, (_, i) => {
      const j = this.#below(pool.length - i);
      const drawn = pool[j] as T;
      pool[j] = pool[pool.length - i - 1] as T;
      return drawn;
    });
  }

  #sampleBySet<T>(population: readonly T[], count: number): T[] {
    const selected = new Set<number>();
    return Array.from({ length: count }, () => {
      let j = this.#below(population.length);
      while (selected.has(j)) j = this.#below(population.length);
      selected.add(j);
      return population[j] as T;
    });
  }

  /** A number in [0, n): bits are drawn until they fit. */
  #below(n: number): number {
    const bits = 32 - Math.clz32(n);
    let drawn = this.next() >>> (32 - bits);
    while (drawn >= n) drawn = this.next() >>> (32 - bits);
    return drawn;
  }

  #initializeByArray(key: number): void {
    const s = this.#state;
    s[0] = 19650218;
    for (let i = 1; i < 624; i++) s[i] = Math.imul(1812433253, at(s, i - 1) ^ (at(s, i - 1) >>> 30)) + i;
    let i = 1;
    for (let k = 0; k < 624; k++) {
      s[i] = (at(s, i) ^ Math.imul(at(s, i - 1) ^ (at(s, i - 1) >>> 30), 1664525)) + key;
      if (++i >= 624) [s[0], i] = [at(s, 623), 1];
    }
    for (let k = 0; k < 623; k++) {
      s[i] = (at(s, i) ^ Math.imul(at(s, i - 1) ^ (at(s, i - 1) >>> 30), 1566083941)) - i;
      if (++i >= 624) [s[0], i] = [at(s, 623), 1];
    }
    s[0] = 0x80000000;
  }

  /** 32 random bits. */
  next(): number {
    if (this.#index >= 624) this.#twist();
    let y = at(this.#state, this.#index++);
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #twist(): void {
    const s = this.#state;
    for (let i = 0; i < 624; i++) {
      const y = (at(s, i) & 0x80000000) | (at(s, (i + 1) % 624) & 0x7fffffff);
      s[i] = at(s, (i + 397) % 624) ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#index = 0;
  }
}

const at = (state: Uint32Array, index: number): number => state[index] as number;
