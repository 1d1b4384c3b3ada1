import { closeSync, fstatSync } from 'node:fs';
import { cite, InputError } from '../../errors.js';
import { openToRead } from '../open.js';
import { GgufCursor } from './cursor.js';

/** Elements and bytes of a block of every type that GGML stores, by its number. Source: gguf-py/gguf/constants.py. */
const blocks: Readonly<Record<number, readonly [name: string, elements: number, bytes: number]>> = {
  0: ['F32', 1, 4],
  1: ['F16', 1, 2],
  2: ['Q4_0', 32, 18],
  3: ['Q4_1', 32, 20],
  6: ['Q5_0', 32, 22],
  7: ['Q5_1', 32, 24],
  8: ['Q8_0', 32, 34],
  9: ['Q8_1', 32, 36],
  10: ['Q2_K', 256, 84],
  11: ['Q3_K', 256, 110],
  12: ['Q4_K', 256, 144],
  13: ['Q5_K', 256, 176],
  14: ['Q6_K', 256, 210],
  15: ['Q8_K', 256, 292],
  16: ['IQ2_XXS', 256, 66],
  17: ['IQ2_XS', 256, 74],
  18: ['IQ3_XXS', 256, 98],
  19: ['IQ1_S', 256, 50],
  20: ['IQ4_NL', 32, 18],
  21: ['IQ3_S', 256, 110],
  22: ['IQ2_S', 256, 82],
  23: ['IQ4_XS', 256, 136],
  24: ['I8', 1, 1],
  25: ['I16', 1, 2],
  26: ['I32', 1, 4],
  27: ['I64', 1, 8],
  28: ['F64', 1, 8],
  29: ['IQ1_M', 256, 56],
  30: ['BF16', 1, 2],
  34: ['TQ1_0', 256, 54],
  35: ['TQ2_0', 256, 66],
  39: ['MXFP4', 32, 17],
  40: ['NVFP4', 64, 36],
};

/** A tensor of a GGUF file; the shape is row-major. */
export interface GgufEntry {
  readonly name: string;
  /** GGML's name of the type: F32, BF16, Q8_0 ... */
  readonly type: string;
  readonly shape: readonly number[];
  /** First byte in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** An array of the metadata; its items are passed over. */
export interface GgufArray {
  readonly length: number;
}

/** What the header of a GGUF file says. */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, number | bigint | boolean | string | GgufArray>;
  readonly tensors: ReadonlyMap<string, GgufEntry>;
  readonly fileBytes: number;
}

const MAGIC = 'GGUF';
const VERSIONS = [2, 3];
const DEFAULT_ALIGNMENT = 32;
const MAX_DIMENSIONS = 4;
/** Bytes of the shortest possible entry: an empty text and a value; a name, dimensions, type and offset. */
const LEAST_VALUE_BYTES = 13;
const LEAST_TENSOR_BYTES = 32;

/**
 * Reads the header of a GGUF file and checks that its tensors lie in the file side by side.
 *
 * Memory is bounded by the names: metadata arrays (a tokenizer's vocabulary) are passed over.
 *
 * @throws InputError naming the file, and the tensor or key.
 */
export function readGgufHeader(path: string): GgufHeader {
  const descriptor = openToRead(path);
  try {
    return new HeaderReader(descriptor, path, fstatSync(descriptor).size).read();
  } finally {
    closeSync(descriptor);
  }
}

class HeaderReader {
  readonly #cursor: GgufCursor;
  readonly #path: string;
  readonly #fileBytes: number;

  constructor(descriptor: number, path: string, fileBytes: number) {
    this.#cursor = new GgufCursor(descriptor, path, fileBytes);
    this.#path = path;
    this.#fileBytes = fileBytes;
  }

  read(): GgufHeader {
    const cursor = this.#cursor;
    const magic = Buffer.from([cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8()]).toString('latin1');
    if (magic !== MAGIC) throw this.#fail(`no GGUF file: it begins with ${JSON.stringify(magic)}`);
    const version = cursor.u32();
    if (!VERSIONS.includes(version)) throw this.#fail(`GGUF version ${version}; ${VERSIONS.join(' and ')} are read`);
    const tensorCount = cursor.count(LEAST_TENSOR_BYTES, 'tensors');
    const metadata = this.#readMetadata();
    const entries = Array.from({ length: tensorCount }, () => this.#readTensor());
    const tensors = this.#place(entries, metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT);
    return { version, metadata, tensors, fileBytes: this.#fileBytes };
  }

  #readMetadata(): Map<string, number | bigint | boolean | string | GgufArray> {
    const count = this.#cursor.count(LEAST_VALUE_BYTES, 'values');
    const metadata = new Map<string, number | bigint | boolean | string | GgufArray>();
    for (let i = 0; i < count; i++) {
      const key = this.#cursor.text();
      if (metadata.has(key)) throw this.#fail(`names key ${cite(key)} twice`);
      metadata.set(key, this.#readValue(this.#cursor.u32(), key));
    }
    return metadata;
  }

  #readValue(type: number, key: string): number | bigint | boolean | string | GgufArray {
    if (type !== TypeCode.Array) return this.#readScalar(type, key);
    const items = this.#cursor.u32();
    const bytes = items === TypeCode.Text ? 8 : scalarBytes[items];
    if (bytes === undefined) throw this.#fail(`key ${cite(key)} is an array of type ${items}`);
    const length = this.#cursor.count(bytes, `items of ${cite(key)}`);
    if (items !== TypeCode.Text) this.#cursor.skip(length * bytes);
    else for (let i = 0; i < length; i++) this.#cursor.skip(this.#cursor.count(1, 'bytes of text'));
    return { length };
  }

  #readScalar(type: number, key: string): number | bigint | boolean | string {
    const cursor = this.#cursor;
    switch (type) {
      case 0:
        return cursor.u8();
      case 1:
        return cursor.i8();
      case 2:
        return cursor.u16();
      case 3:
        return cursor.i16();
      case 4:
        return cursor.u32();
      case 5:
        return cursor.i32();
      case 6:
        return cursor.f32();
      case 7:
        return cursor.u8() !== 0;
      case TypeCode.Text:
        return cursor.text();
      case 10:
        return cursor.u64();
      case 11:
        return cursor.i64();
      case 12:
        return cursor.f64();
      default:
        throw this.#fail(`key ${cite(key)} has type ${type}, which GGUF does not know`);
    }
  }

  /** The entry as it is stored: the offset counts from where the tensors begin. */
  #readTensor(): GgufEntry {
    const name = this.#cursor.text();
    const fail = (what: string): InputError => this.#fail(`tensor ${cite(name)} ${what}`);
    const dimensions = this.#cursor.u32();
    if (dimensions > MAX_DIMENSIONS) throw fail(`has ${dimensions} dimensions, at most ${MAX_DIMENSIONS} are possible`);
    // GGML counts dimensions from the innermost.
    const shape = Array.from({ length: dimensions }, () => Number(this.#cursor.u64())).reverse();
    const code = this.#cursor.u32();
    const block = blocks[code];
    if (block === undefined) throw fail(`has type ${code}, which Strata does not know`);
    const [type, elements, blockBytes] = block;
    const count = shape.reduce((product, size) => product * size, 1);
    if (!Number.isSafeInteger(count) || count > this.#fileBytes * elements)
      throw fail(`of shape [${shape}] is larger than the file`);
    if ((shape.at(-1) ?? 1) % elements !== 0)
      throw fail(`has rows of ${shape.at(-1)} elements, which fill no blocks of ${elements}`);
    return { name, type, shape, offset: Number(this.#cursor.u64()), bytes: (count / elements) * blockBytes };
  }

  #place(entries: readonly GgufEntry[], alignment: unknown): Map<string, GgufEntry> {
    if (
      typeof alignment !== 'number' ||
      alignment < 1 ||
      alignment > 1 << 20 ||
      !Number.isInteger(Math.log2(alignment))
    )
      throw this.#fail(`key "general.alignment" must be a power of 2, found ${String(alignment)}`);
    const start = Math.ceil(this.#cursor.position / alignment) * alignment;
    const placed = entries
      .map((entry) => ({ ...entry, offset: start + entry.offset }))
      .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
    const tensors = new Map<string, GgufEntry>();
    let end = start;
    for (const entry of placed) {
      const { name, offset, bytes } = entry;
      const fail = (what: string): InputError => this.#fail(`tensor ${cite(name)} ${what}`);
      if (tensors.has(name)) throw fail('is there twice');
      if (offset % alignment !== 0) throw fail(`begins at byte ${offset}, no multiple of ${alignment}`);
      if (offset < end) throw fail('overlaps the one before it');
      end = offset + bytes;
      if (end > this.#fileBytes) throw fail(`ends at byte ${end}, but the file has ${this.#fileBytes}`);
      tensors.set(name, entry);
    }
    return tensors;
  }

  #fail(what: string): InputError {
    return new InputError(`${this.#path}: ${what}.`);
  }
}

const enum TypeCode {
  Text = 8,
  Array = 9,
}

/** Bytes of the values that all have the same length, by GGUF's number of their type. */
const scalarBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
