import { type AtomicFile } from '../atomic-file.js';

/** Element types of tensors that are written, with GGML's numbers. Q8_0 has blocks of 32 elements in 34 bytes. */
export const ggmlTypes = {
  F32: { code: 0, blockElements: 1, blockBytes: 4 },
  F16: { code: 1, blockElements: 1, blockBytes: 2 },
  Q8_0: { code: 8, blockElements: 32, blockBytes: 34 },
  BF16: { code: 30, blockElements: 1, blockBytes: 2 },
} as const;
export type GgmlType = keyof typeof ggmlTypes;

/** A value of the metadata, with the type that its readers expect. */
export type GgufValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s' | 'f32s'; readonly value: readonly number[] };

export const u32 = (value: number): GgufValue => ({ type: 'u32', value });
export const f32 = (value: number): GgufValue => ({ type: 'f32', value });
export const text = (value: string): GgufValue => ({ type: 'string', value });
export const bool = (value: boolean): GgufValue => ({ type: 'bool', value });

/** A tensor that will be written; the shape is row-major, as everywhere in Strata. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgmlType;
}

const VERSION = 3;
const ALIGNMENT = 32;
const typeCodes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

export const ggufBytes = ({ shape, type }: GgufTensor): number => {
  const { blockElements, blockBytes } = ggmlTypes[type];
  return (shape.reduce((product, size) => product * size, 1) / blockElements) * blockBytes;
};

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/**
 * Writes a GGUF file, version 3, little endian: header, metadata, tensors, each aligned to 32 bytes.
 *
 * Source: the format's description in ggml, docs/gguf.md.
 *
 * @param data Gives a tensor's bytes as its type stores them; called once for each, in order.
 */
export function writeGguf(
  file: AtomicFile,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
  data: (tensor: GgufTensor) => Uint8Array,
): void {
  file.write(Buffer.concat([...header(metadata, tensors)]));
  file.write(new Uint8Array(aligned(file.bytes) - file.bytes));
  for (const tensor of tensors) {
    const bytes = data(tensor);
    if (bytes.length !== ggufBytes(tensor))
      throw new RangeError(`${tensor.name}: ${bytes.length} bytes, ${ggufBytes(tensor)} announced`);
    file.write(bytes);
    file.write(new Uint8Array(aligned(file.bytes) - file.bytes));
  }
}

function* header(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): Generator<Buffer> {
  yield Buffer.from('GGUF');
  yield words32(VERSION);
  yield words64(tensors.length, metadata.size);
  for (const [key, value] of metadata) {
    yield encodeText(key);
    yield* encodeValue(value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    yield encodeText(tensor.name);
    yield words32(tensor.shape.length);
    // GGML counts dimensions from the innermost.
    yield words64(...tensor.shape.toReversed());
    yield words32(ggmlTypes[tensor.type].code);
    yield words64(offset);
    offset += aligned(ggufBytes(tensor));
  }
}

function* encodeValue(value: GgufValue): Generator<Buffer> {
  switch (value.type) {
    case 'string':
      yield words32(typeCodes.string);
      yield encodeText(value.value);
      return;
    case 'bool':
      yield words32(typeCodes.bool);
      yield Buffer.of(value.value ? 1 : 0);
      return;
    case 'strings':
      yield arrayHead(typeCodes.string, value.value.length);
      for (const item of value.value) yield encodeText(item);
      return;
    case 'i32s':
      yield arrayHead(typeCodes.i32, value.value.length);
      yield Buffer.from(Int32Array.from(value.value).buffer);
      return;
    case 'f32s':
      yield arrayHead(typeCodes.f32, value.value.length);
      yield Buffer.from(Float32Array.from(value.value).buffer);
      return;
    case 'f32':
      yield words32(typeCodes.f32);
      yield Buffer.from(Float32Array.of(value.value).buffer);
      return;
    default:
      yield words32(typeCodes[value.type], value.value >>> 0);
  }
}

const arrayHead = (type: number, length: number): Buffer =>
  Buffer.concat([words32(typeCodes.array, type), words64(length)]);

const encodeText = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([words64(bytes.length), bytes]);
};

const words32 = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);
const words64 = (...values: number[]): Buffer => Buffer.from(BigUint64Array.from(values, BigInt).buffer);
