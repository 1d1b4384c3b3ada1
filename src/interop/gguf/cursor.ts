import { InputError } from '../../errors.js';
import { readFully } from '../open.js';

const WINDOW_BYTES = 1 << 16;
/** The longest text that is read: chat templates have some thousand bytes. */
const MAX_TEXT_BYTES = 1 << 24;

/** Reads the little-endian values of a GGUF header one after the other, through a small window of the file. */
export class GgufCursor {
  readonly #descriptor: number;
  readonly #path: string;
  readonly #fileBytes: number;
  #window = Buffer.alloc(0);
  #windowStart = 0;
  #position = 0;

  constructor(descriptor: number, path: string, fileBytes: number) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.#fileBytes = fileBytes;
  }

  /** Bytes from the start of the file. */
  get position(): number {
    return this.#position;
  }

  /** Bytes from here to the end of the file. */
  get remaining(): number {
    return this.#fileBytes - this.#position;
  }

  u8 = (): number => this.#take(1).readUInt8();
  i8 = (): number => this.#take(1).readInt8();
  u16 = (): number => this.#take(2).readUInt16LE();
  i16 = (): number => this.#take(2).readInt16LE();
  u32 = (): number => this.#take(4).readUInt32LE();
  i32 = (): number => this.#take(4).readInt32LE();
  f32 = (): number => this.#take(4).readFloatLE();
  f64 = (): number => this.#take(8).readDoubleLE();
  u64 = (): bigint => this.#take(8).readBigUInt64LE();
  i64 = (): bigint => this.#take(8).readBigInt64LE();

  /** A number of things of at least `bytes` bytes each, all of which have to lie in the rest of the file. */
  count(bytes: number, what: string): number {
    const count = this.u64();
    if (count * BigInt(bytes) > BigInt(this.remaining))
      throw new InputError(`${this.#path}: claims ${count} ${what}, for which ${this.remaining} bytes are too few.`);
    return Number(count);
  }

  /** A length and that many bytes of UTF-8. */
  text(): string {
    const length = this.count(1, 'bytes of text');
    if (length > MAX_TEXT_BYTES)
      throw new InputError(`${this.#path}: holds a text of ${length} bytes, at most ${MAX_TEXT_BYTES} are read.`);
    return this.#take(length).toString('utf8');
  }

  /** Passes over bytes without reading them. */
  skip(bytes: number): void {
    if (bytes > this.remaining) throw this.#ended();
    this.#position += bytes;
  }

  #take(bytes: number): Buffer {
    if (bytes > this.remaining) throw this.#ended();
    const start = this.#position;
    if (start < this.#windowStart || start + bytes > this.#windowStart + this.#window.length) this.#fill(bytes);
    this.#position += bytes;
    return this.#window.subarray(start - this.#windowStart, start - this.#windowStart + bytes);
  }

  #fill(bytes: number): void {
    const length = Math.min(this.remaining, Math.max(bytes, WINDOW_BYTES));
    if (this.#window.length !== length) this.#window = Buffer.alloc(length);
    this.#windowStart = this.#position;
    readFully(this.#descriptor, this.#window, this.#position, this.#path);
  }

  #ended(): InputError {
    return new InputError(`${this.#path}: ends within the GGUF header, after ${this.#fileBytes} bytes.`);
  }
}
