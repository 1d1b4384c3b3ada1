import { readFileSync } from 'node:fs';

/** A tensor of a GGUF file; dimensions from the innermost. */
export interface GgufTensor {
  readonly type: string;
  readonly dims: readonly number[];
  floats(): Float32Array;
}

const types: Readonly<Record<number, string>> = { 0: 'F32', 1: 'F16', 8: 'Q8_0', 30: 'BF16' };

/** Reads a small trusted GGUF file, on its own so that it cannot share a bug with src/. */
export function readGguf(path: string): {
  readonly metadata: Map<string, unknown>;
  readonly tensors: Map<string, GgufTensor>;
} {
  const file = readFileSync(path);
  let at = 0;
  const u32 = (): number => file.readUInt32LE((at += 4) - 4);
  const u64 = (): number => Number(file.readBigUInt64LE((at += 8) - 8));
  const text = (): string => {
    const length = u64();
    return file.toString('utf8', (at += length) - length, at);
  };
  const value = (type: number): unknown => {
    switch (type) {
      case 4:
        return u32();
      case 5:
        return file.readInt32LE((at += 4) - 4);
      case 6:
        return file.readFloatLE((at += 4) - 4);
      case 7:
        return file[at++] === 1;
      case 8:
        return text();
      case 9: {
        const inner = u32();
        return Array.from({ length: u64() }, () => value(inner));
      }
      default:
        throw new Error(`a GGUF value has type ${type}`);
    }
  };
  if (text4(file) !== 'GGUF') throw new Error('no GGUF file');
  at = 4;
  if (u32() !== 3) throw new Error('not version 3');
  const [tensorCount, valueCount] = [u64(), u64()];
  const metadata = new Map(Array.from({ length: valueCount }, () => [text(), value(u32())] as const));
  const heads = Array.from({ length: tensorCount }, () => {
    const name = text();
    const dims = Array.from({ length: u32() }, u64);
    return { name, dims, type: types[u32()]!, offset: u64() };
  });
  const start = Math.ceil(at / 32) * 32;
  const tensors = heads.map(({ name, dims, type, offset }) => {
    const count = dims.reduce((product, size) => product * size, 1);
    if (offset % 32 !== 0) throw new Error(`${name} is not aligned`);
    return [name, { type, dims, floats: () => decode(file, start + offset, count, type) }] as const;
  });
  return { metadata, tensors: new Map(tensors) };
}

const text4 = (file: Buffer): string => file.toString('latin1', 0, 4);

function decode(file: Buffer, start: number, count: number, type: string): Float32Array {
  if (type === 'F32') return Float32Array.from({ length: count }, (_, i) => file.readFloatLE(start + 4 * i));
  if (type !== 'Q8_0') throw new Error(`${type} is not decoded`);
  return Float32Array.from({ length: count }, (_, i) => {
    const block = start + Math.floor(i / 32) * 34;
    return half(file.readUInt16LE(block)) * file.readInt8(block + 2 + (i % 32));
  });
}

function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits >> 15 ? -magnitude : magnitude;
}
