import { closeSync, fstatSync, readSync } from 'node:fs';
import { cite, InputError } from '../../errors.js';
import { openToRead, readFully } from '../open.js';
import { decodeFloats } from './convert.js';
import { isFloatDType, storedDtypeBytes } from './dtype.js';
import { MAX_HEADER_BYTES, parseHeader, type SafetensorsHeader, type TensorEntry } from './header.js';

type Floats = Float32Array | Float64Array;

/** An open safetensors file. Nothing but the header is held in memory. */
export class SafetensorsFile implements Disposable {
  readonly path: string;
  readonly descriptor: number;
  readonly header: SafetensorsHeader;
  /** Stored bytes on their way to numbers, kept from one read to the next. */
  #stored = new Uint8Array(0);

  /** @throws InputError where the file is missing or not a sound safetensors file. */
  constructor(path: string) {
    this.path = path;
    this.descriptor = openToRead(path);
    try {
      this.header = readHeader(this.descriptor, path);
    } catch (error) {
      closeSync(this.descriptor);
      throw error;
    }
  }

  /** @throws InputError where the file has no such tensor. */
  entry(name: string): TensorEntry {
    const entry = this.header.tensors.get(name);
    if (entry === undefined) throw new InputError(`${this.path}: there is no tensor ${cite(name)}.`);
    return entry;
  }

  /** Bytes of a tensor, or a part of them, as they are stored. */
  readBytes(entry: TensorEntry, start = 0, length = entry.bytes - start): Uint8Array {
    const out = new Uint8Array(length);
    this.readInto(out, entry.offset + start, entry.name);
    return out;
  }

  /** Elements start, start + 1, ... of a tensor, converted. */
  readFloats(entry: TensorEntry, out: Floats, start = 0): void {
    if (!isFloatDType(entry.dtype))
      throw new InputError(`${this.path}: tensor ${cite(entry.name)} has dtype ${entry.dtype}, expected a float type.`);
    const size = storedDtypeBytes[entry.dtype];
    if (entry.dtype === (out instanceof Float64Array ? 'F64' : 'F32')) {
      const target = new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
      this.readInto(target, entry.offset + start * size, entry.name);
      return;
    }
    if (this.#stored.length < out.length * size) this.#stored = new Uint8Array(out.length * size);
    const stored = this.#stored.subarray(0, out.length * size);
    this.readInto(stored, entry.offset + start * size, entry.name);
    decodeFloats(entry.dtype, stored, out);
  }

  readInto(out: Uint8Array, position: number, what: string): void {
    readFully(this.descriptor, out, position, `${this.path}, tensor ${cite(what)}`);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function readHeader(descriptor: number, path: string): SafetensorsHeader {
  const fileBytes = fstatSync(descriptor).size;
  if (fileBytes < 8) throw new InputError(`${path}: too short for a safetensors file (${fileBytes} bytes).`);
  const prefix = Buffer.alloc(8);
  readSync(descriptor, prefix, 0, 8, 0);
  const length = prefix.readBigUInt64LE();
  if (length > BigInt(MAX_HEADER_BYTES))
    throw new InputError(
      `${path}: the safetensors header claims ${length} bytes, at most ${MAX_HEADER_BYTES} are read.`,
    );
  if (length > BigInt(fileBytes - 8))
    throw new InputError(`${path}: the safetensors header claims ${length} bytes, the file has ${fileBytes}.`);
  const text = Buffer.alloc(Number(length));
  readFully(descriptor, text, 8, path);
  return parseHeader(text, fileBytes, path);
}
