const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const NULL_START = 0x6e;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;

/** Powers of ten that float64 holds exactly; a quotient or product of two exact numbers is rounded correctly. */
const EXACT_POWERS = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));
const MAX_EXACT_MANTISSA = 2 ** 53;

/** One wanted numeric field: its name's bytes and where it goes. */
interface Wanted {
  readonly bytes: Uint8Array;
  readonly slot: number;
}

/**
 * Makes a scanner that reads chosen numeric fields from one flat JSON object without building the object.
 *
 * It reads the plain shape that trainers write (no nested values, no escapes) about five times as fast as `JSON.parse`
 * and gives the same numbers; any other line makes it return false, and the caller parses that line in full.
 *
 * @param fields Numeric fields, in the order of `values`. A field that is missing or null becomes NaN.
 */
export function createLineScanner(fields: readonly string[]): LineScanner {
  const byLength: Wanted[][] = [];
  fields.forEach((field, slot) => {
    const bytes = Buffer.from(field);
    (byLength[bytes.length] ??= []).push({ bytes, slot });
  });
  return new LineScanner(byLength, fields.length);
}

/** See `createLineScanner`. */
export class LineScanner {
  /** Values of the last scanned line. */
  readonly values: Float64Array;
  /** Byte range of the value of `stage` in the last line; start -1 where there was none. */
  stageStart = -1;
  stageEnd = -1;
  #at = 0;

  constructor(
    private readonly byLength: readonly (readonly Wanted[] | undefined)[],
    numFields: number,
  ) {
    this.values = new Float64Array(numFields);
  }

  /** Reads the line in `buffer[start, end)`; false where it is not flat, plain JSON. */
  scan(buffer: Buffer, start: number, end: number): boolean {
    this.values.fill(NaN);
    this.stageStart = -1;
    if (end - start < 2 || buffer[start] !== OPEN || buffer[end - 1] !== CLOSE) return false;
    let at = start + 1;
    while (at < end) {
      if (buffer[at] !== QUOTE) return false;
      const keyStart = at + 1;
      let keyEnd = keyStart;
      while (keyEnd < end && buffer[keyEnd] !== QUOTE) {
        if (buffer[keyEnd] === BACKSLASH) return false;
        keyEnd++;
      }
      if (buffer[keyEnd + 1] !== COLON) return false;
      at = this.#value(buffer, keyStart, keyEnd, keyEnd + 2, end);
      if (at < 0) return false;
      if (buffer[at] === CLOSE) return at === end - 1;
      if (buffer[at] !== COMMA) return false;
      at++;
    }
    return false;
  }

  /** Reads one value; returns where it ended, or -1. */
  #value(buffer: Buffer, keyStart: number, keyEnd: number, start: number, end: number): number {
    const first = buffer[start] ?? 0;
    if (first === QUOTE) {
      let at = start + 1;
      while (at < end && buffer[at] !== QUOTE) {
        if (buffer[at] === BACKSLASH) return -1;
        at++;
      }
      if (isStage(buffer, keyStart, keyEnd)) {
        this.stageStart = start + 1;
        this.stageEnd = at;
      }
      return at + 1;
    }
    const slot = this.#slot(buffer, keyStart, keyEnd);
    if (first === NULL_START) return buffer.toString('latin1', start, start + 4) === 'null' ? start + 4 : -1;
    if (first !== MINUS && (first < ZERO || first > ZERO + 9)) return -1;
    const value = this.#number(buffer, start, end, slot >= 0);
    if (slot >= 0) {
      if (Number.isNaN(value)) return -1;
      this.values[slot] = value;
    }
    return this.#at;
  }

  #slot(buffer: Buffer, start: number, end: number): number {
    const candidates = this.byLength[end - start];
    if (candidates === undefined) return -1;
    next: for (const { bytes, slot } of candidates) {
      for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buffer[start + i]) continue next;
      return slot;
    }
    return -1;
  }

  /** Reads a number and leaves `#at` behind it; NaN where it is none. */
  #number(buffer: Buffer, start: number, end: number, wanted: boolean): number {
    let at = start;
    let mantissa = 0;
    let decimals = 0;
    let pastDot = false;
    let plain = true;
    if (buffer[at] === MINUS) at++;
    for (; at < end; at++) {
      const byte = buffer[at] ?? 0;
      if (byte >= ZERO && byte <= ZERO + 9) {
        mantissa = mantissa * 10 + (byte - ZERO);
        if (pastDot) decimals++;
      } else if (byte === DOT && !pastDot) pastDot = true;
      else if (byte === COMMA || byte === CLOSE) break;
      else plain = false;
    }
    this.#at = at;
    if (!wanted) return 0;
    if (!plain || mantissa > MAX_EXACT_MANTISSA || decimals > 22) return Number(buffer.toString('latin1', start, at));
    const size = decimals === 0 ? mantissa : mantissa / (EXACT_POWERS[decimals] ?? NaN);
    return buffer[start] === MINUS ? -size : size;
  }
}

const STAGE = Buffer.from('stage');
function isStage(buffer: Buffer, start: number, end: number): boolean {
  if (end - start !== STAGE.length) return false;
  for (let i = 0; i < STAGE.length; i++) if (buffer[start + i] !== STAGE[i]) return false;
  return true;
}
