import { createHash } from 'node:crypto';

/** Numbers that a stream can fill. */
export type Floats = Float32Array | Float64Array;

const M0_HIGH = 0xd251;
const M0_LOW = 0x1f53;
const M1_HIGH = 0xcd9e;
const M1_LOW = 0x8d57;
const M0 = 0xd2511f53 | 0;
const M1 = 0xcd9e8d57 | 0;
const WEYL_0 = 0x9e3779b9 | 0;
const WEYL_1 = 0xbb67ae85 | 0;

/**
 * One block of Philox4x32-10: four 32-bit words from a counter and a key.
 *
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); tested with the authors' known answers.
 *
 * @param counter Four 32-bit words.
 * @param key Two 32-bit words.
 * @param out Receives four unsigned words at `offset`.
 */
export function philox4x32(counter: ArrayLike<number>, key: ArrayLike<number>, out: Uint32Array, offset = 0): void {
  let x0 = (counter[0] ?? 0) | 0;
  let x1 = (counter[1] ?? 0) | 0;
  let x2 = (counter[2] ?? 0) | 0;
  let x3 = (counter[3] ?? 0) | 0;
  let k0 = (key[0] ?? 0) | 0;
  let k1 = (key[1] ?? 0) | 0;
  for (let round = 0; round < 10; round++) {
    // High words of the 64-bit products, from 16-bit halves: no partial sum passes 2^32.
    let low = x0 & 0xffff;
    let high = x0 >>> 16;
    let middle = (Math.imul(M0_HIGH, low) + (Math.imul(M0_LOW, low) >>> 16)) | 0;
    let other = (Math.imul(M0_LOW, high) + (middle & 0xffff)) | 0;
    const high0 = (Math.imul(M0_HIGH, high) + (middle >>> 16) + (other >>> 16)) | 0;
    low = x2 & 0xffff;
    high = x2 >>> 16;
    middle = (Math.imul(M1_HIGH, low) + (Math.imul(M1_LOW, low) >>> 16)) | 0;
    other = (Math.imul(M1_LOW, high) + (middle & 0xffff)) | 0;
    const high1 = (Math.imul(M1_HIGH, high) + (middle >>> 16) + (other >>> 16)) | 0;
    const low0 = Math.imul(M0, x0);
    const low1 = Math.imul(M1, x2);
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  out[offset] = x0;
  out[offset + 1] = x1;
  out[offset + 2] = x2;
  out[offset + 3] = x3;
}

/**
 * A stream of random numbers with random access, keyed by a seed and a name.
 *
 * Number i depends on (seed, name, i) alone, so tensors can be filled in any order and by parts.
 */
export class RandomStream {
  readonly #key = new Int32Array(2);
  readonly #counter = new Int32Array(4);
  readonly #block = new Uint32Array(4);
  readonly #drawn = new Uint32Array(DRAWN_WORDS);

  constructor(seed: number, name: string) {
    const digest = createHash('sha256').update(`${seed}\n${name}`).digest();
    this.#key[0] = digest.readInt32LE(0);
    this.#key[1] = digest.readInt32LE(4);
  }

  /** Fills `out` with numbers start, start + 1, ... of the normal distribution N(mean, std²). */
  fillNormal(out: Floats, std = 1, mean = 0, start = 0): void {
    const words = this.#drawn;
    for (let done = 0; done < out.length; done += words.length) {
      const count = Math.min(words.length, out.length - done);
      this.#words(count, start + done);
      for (let i = 0; i < count; i++) out[done + i] = mean + std * normalQuantile((words[i]! + 0.5) * TWO_TO_MINUS_32);
    }
  }

  /** Fills `out` with numbers start, start + 1, ... of the uniform distribution on [low, high). */
  fillUniform(out: Floats, low = 0, high = 1, start = 0): void {
    const words = this.#drawn;
    for (let done = 0; done < out.length; done += words.length) {
      const count = Math.min(words.length, out.length - done);
      this.#words(count, start + done);
      for (let i = 0; i < count; i++) out[done + i] = low + (high - low) * words[i]! * TWO_TO_MINUS_32;
    }
  }

  /** `count` whole numbers from 0 to below `bound`, from number `start` on. */
  integers(count: number, bound: number, start = 0): number[] {
    const uniform = new Float64Array(count);
    this.fillUniform(uniform, 0, bound, start);
    return Array.from(uniform, Math.floor);
  }

  /** Draws words start, start + 1, ... */
  #words(count: number, start: number): void {
    const [words, counter] = [this.#drawn, this.#counter];
    let block = Math.floor(start / 4);
    for (let at = block * 4 - start; at < count; at += 4, block++) {
      counter[0] = block;
      counter[1] = Math.floor(block / 0x100000000);
      if (at >= 0 && at + 4 <= words.length) philox4x32(counter, this.#key, words, at);
      else {
        philox4x32(counter, this.#key, this.#block);
        for (let lane = Math.max(0, -at); lane < 4 && at + lane < words.length; lane++)
          words[at + lane] = this.#block[lane]!;
      }
    }
  }
}

/** Words drawn at a time: they stay in the processor's first cache. */
const DRAWN_WORDS = 1024;
const TWO_TO_MINUS_32 = 2 ** -32;

/**
 * The quantile function of the standard normal distribution, to about 16 digits, for 0 < p < 1.
 *
 * Source: Wichura, algorithm AS 241 (PPND16), Applied Statistics 37 (1988). It needs a logarithm only in the tails, and is the
 * same on every machine.
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (q >= -0.425 && q <= 0.425) {
    const r = 0.180625 - q * q;
    return (
      (q *
        (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r +
          45921.953931549871457) *
          r +
          13731.693765509461125) *
          r +
          1971.5909503065514427) *
          r +
          133.14166789178437745) *
          r +
          3.387132872796366608)) /
      (((((((5226.495278852854561 * r + 28729.085735721942674) * r + 39307.89580009271061) * r +
        21213.794301586595867) *
        r +
        5394.1960214247511077) *
        r +
        687.1870074920579083) *
        r +
        42.313330701600911252) *
        r +
        1)
    );
  }
  const tail = q < 0 ? p : 1 - p;
  const root = Math.sqrt(-Math.log(tail));
  const value = root <= 5 ? nearTail(root - 1.6) : farTail(root - 5);
  return q < 0 ? -value : value;
}

const nearTail = (r: number): number =>
  (((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r +
    1.27045825245236838258) *
    r +
    3.64784832476320460504) *
    r +
    5.7694972214606914055) *
    r +
    4.6303378461565452959) *
    r +
    1.42343711074968357734) /
  (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r +
    0.14810397642748007459) *
    r +
    0.68976733498510000455) *
    r +
    1.6763848301838038494) *
    r +
    2.05319162663775882187) *
    r +
    1);

const farTail = (r: number): number =>
  (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r +
    0.026532189526576123093) *
    r +
    0.29656057182850489123) *
    r +
    1.7848265399172913358) *
    r +
    5.4637849111641143699) *
    r +
    6.6579046435011037772) /
  (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r +
    7.868691311456132591e-4) *
    r +
    0.0148753612908506148525) *
    r +
    0.13692988092273580531) *
    r +
    0.59983220655588793769) *
    r +
    1);
