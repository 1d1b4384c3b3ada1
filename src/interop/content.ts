import { createHash } from 'node:crypto';

/** A tensor of a file of any format, and how to read its bytes. */
export interface StoredContent {
  readonly name: string;
  /** Its type by safetensors' or GGML's name. */
  readonly dtype: string;
  readonly bytes: number;
  /** Reads bytes from `start` on. */
  readonly readInto: (out: Uint8Array, start: number) => void;
}

/** What reading all weights found. */
export interface Content {
  /** SHA-256 by name. */
  readonly hashes: ReadonlyMap<string, string>;
  readonly nonFinite: readonly { readonly name: string; readonly count: number }[];
}

const CHUNK_BYTES = 8 << 20;

/** Reads every tensor once, piece by piece: its hash, and how many of its numbers are not finite. */
export function readContent(
  tensors: readonly StoredContent[],
  onProgress?: (done: number, total: number) => void,
): Content {
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, Math.max(0, ...tensors.map(({ bytes }) => bytes))));
  const hashes = new Map<string, string>();
  const nonFinite: { name: string; count: number }[] = [];
  let done = 0;
  for (const { name, dtype, bytes, readInto } of tensors) {
    const hash = createHash('sha256');
    let count = 0;
    for (let start = 0; start < bytes; start += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, bytes - start));
      readInto(part, start);
      hash.update(part);
      count += countNonFinite(dtype, part);
      onProgress?.((done += part.length), total);
    }
    hashes.set(name, hash.digest('hex'));
    if (count > 0) nonFinite.push({ name, count });
  }
  return { hashes, nonFinite };
}

/** Numbers whose exponent says infinity or NaN; 0 for types without such numbers, and for GGML's blocks. */
function countNonFinite(dtype: string, bytes: Uint8Array): number {
  const { buffer, byteOffset, length } = bytes;
  const words = (mask: number): number => count(new Uint32Array(buffer, byteOffset, length / 4), mask);
  const halves = (mask: number): number => count(new Uint16Array(buffer, byteOffset, length / 2), mask);
  switch (dtype) {
    case 'F64':
      return count(
        new Uint32Array(buffer, byteOffset, length / 4).filter((_, i) => i % 2 === 1),
        0x7ff00000,
      );
    case 'F32':
      return words(0x7f800000);
    case 'BF16':
      return halves(0x7f80);
    case 'F16':
      return halves(0x7c00);
    case 'F8_E5M2':
      return count(bytes, 0x7c);
    case 'F8_E4M3':
      return count(bytes, 0x7f);
    default:
      return 0;
  }
}

function count(codes: Uint32Array | Uint16Array | Uint8Array, mask: number): number {
  let found = 0;
  for (let i = 0; i < codes.length; i++) if ((codes[i]! & mask) === mask) found++;
  return found;
}
