import type { FloatDType } from './dtype.js';
import { storedDtypeBytes } from './dtype.js';

type Floats = Float32Array | Float64Array;

/**
 * Decodes stored little-endian numbers.
 *
 * @param bytes Starts at any alignment; holds at least `out.length` elements.
 */
export function decodeFloats(dtype: FloatDType, bytes: Uint8Array, out: Floats): void {
  const aligned = alignTo(bytes, storedDtypeBytes[dtype], out.length);
  const { buffer, byteOffset } = aligned;
  switch (dtype) {
    case 'F64':
      out.set(new Float64Array(buffer, byteOffset, out.length));
      return;
    case 'F32':
      out.set(new Float32Array(buffer, byteOffset, out.length));
      return;
    case 'BF16':
      decodeBf16(new Uint16Array(buffer, byteOffset, out.length), out);
      return;
    case 'F16': {
      const table = halfTable();
      const source = new Uint16Array(buffer, byteOffset, out.length);
      for (let i = 0; i < source.length; i++) out[i] = table[source[i]!]!;
      return;
    }
    case 'F8_E4M3':
    case 'F8_E5M2': {
      const table = eightBitTable(dtype);
      for (let i = 0; i < out.length; i++) out[i] = table[aligned[i]!]!;
      return;
    }
    default:
      dtype satisfies never;
  }
}

/**
 * Encodes numbers little-endian, rounding to nearest, ties to even. Float8 E4M3 has no infinity: what is too large becomes the largest
 * number, as in PyTorch.
 *
 * @param out Holds `values.length` elements of the type, aligned to its size.
 */
export function encodeFloats(dtype: FloatDType, values: Floats, out: Uint8Array): void {
  const { buffer, byteOffset } = out;
  switch (dtype) {
    case 'F64':
      new Float64Array(buffer, byteOffset, values.length).set(values);
      return;
    case 'F32':
      new Float32Array(buffer, byteOffset, values.length).set(values);
      return;
    case 'BF16':
      encodeBf16(values, new Uint16Array(buffer, byteOffset, values.length));
      return;
    case 'F16': {
      const target = new Uint16Array(buffer, byteOffset, values.length);
      for (let i = 0; i < values.length; i++) target[i] = roundToSmallFloat(values[i]!, HALF);
      return;
    }
    case 'F8_E4M3':
    case 'F8_E5M2': {
      const format = dtype === 'F8_E4M3' ? E4M3 : E5M2;
      for (let i = 0; i < values.length; i++) out[i] = roundToSmallFloat(values[i]!, format);
      return;
    }
    default:
      dtype satisfies never;
  }
}

function alignTo(bytes: Uint8Array, size: number, count: number): Uint8Array {
  if (bytes.byteOffset % size === 0) return bytes;
  return bytes.slice(0, size * count);
}

const oneFloat = new Float32Array(1);
const oneWord = new Uint32Array(oneFloat.buffer);

function decodeBf16(source: Uint16Array, out: Floats): void {
  const words =
    out instanceof Float32Array ? new Uint32Array(out.buffer, out.byteOffset, out.length) : new Uint32Array(out.length);
  for (let i = 0; i < source.length; i++) words[i] = source[i]! << 16;
  if (out instanceof Float64Array) out.set(new Float32Array(words.buffer));
}

function encodeBf16(values: Floats, target: Uint16Array): void {
  // From float64 a single rounding would need more care: going over float32 rounds twice, which training never notices
  // but exactness does, so the odd-rounding trick keeps the sticky bit.
  const single = values instanceof Float32Array ? values : roundToOdd(values);
  const words = new Uint32Array(single.buffer, single.byteOffset, single.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    target[i] = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** float64 to float32 by rounding to odd, after which rounding to fewer bits is as if done once. */
function roundToOdd(values: Float64Array): Float32Array {
  const out = Float32Array.from(values);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const rounded = out[i]!;
    if (rounded === value || Number.isNaN(value) || (words[i]! & 1) === 1) continue;
    if (!Number.isFinite(value)) continue;
    const up = Math.abs(rounded) > Math.abs(value);
    words[i] = words[i]! + (up ? -1 : 1);
  }
  return out;
}

/** A binary float of at most 16 bits. */
interface SmallFloat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** IEEE infinities; without them the largest exponent holds numbers, and all ones is NaN (E4M3). */
  readonly infinity: boolean;
}

const HALF: SmallFloat = { exponentBits: 5, mantissaBits: 10, infinity: true };
const E5M2: SmallFloat = { exponentBits: 5, mantissaBits: 2, infinity: true };
const E4M3: SmallFloat = { exponentBits: 4, mantissaBits: 3, infinity: false };

function roundToSmallFloat(value: number, format: SmallFloat): number {
  const { exponentBits, mantissaBits, infinity } = format;
  const sign = value < 0 || Object.is(value, -0) ? 1 << (exponentBits + mantissaBits) : 0;
  const all = (1 << (exponentBits + mantissaBits)) - 1;
  const infinite = ((1 << exponentBits) - 1) << mantissaBits;
  const notANumber = infinity ? infinite | (1 << (mantissaBits - 1)) : all;
  if (Number.isNaN(value)) return notANumber;
  const magnitude = Math.abs(value);
  const overflow = sign | (infinity ? infinite : all - 1);
  if (magnitude === Infinity) return overflow;
  const bias = (1 << (exponentBits - 1)) - 1;
  const exponent = Math.max(floorLog2(magnitude), 1 - bias);
  // Counted in units in the last place, subnormals included; carrying into the next exponent comes out right by itself.
  const units = roundHalfToEven(magnitude * 2 ** (mantissaBits - exponent));
  const code = units + ((exponent + bias - 1) << mantissaBits);
  const largest = infinity ? infinite - 1 : all - 1;
  return code > largest ? overflow : sign | code;
}

function floorLog2(magnitude: number): number {
  if (magnitude < 2 ** -126) return -127;
  oneFloat[0] = magnitude;
  const exponent = (oneWord[0]! >>> 23) - 127;
  return oneFloat[0] > magnitude && (oneWord[0]! & 0x7fffff) === 0 ? exponent - 1 : exponent;
}

function roundHalfToEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest > 0.5 || (rest === 0.5 && down % 2 === 1)) return down + 1;
  return down;
}

function decodeSmallFloat(code: number, format: SmallFloat): number {
  const { exponentBits, mantissaBits, infinity } = format;
  const sign = code >>> (exponentBits + mantissaBits) ? -1 : 1;
  const exponent = (code >>> mantissaBits) & ((1 << exponentBits) - 1);
  const mantissa = code & ((1 << mantissaBits) - 1);
  const bias = (1 << (exponentBits - 1)) - 1;
  const largest = (1 << exponentBits) - 1;
  if (exponent === largest && infinity) return mantissa === 0 ? sign * Infinity : NaN;
  if (exponent === largest && mantissa === (1 << mantissaBits) - 1) return NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

let halves: Float32Array | undefined;
const halfTable = (): Float32Array =>
  (halves ??= Float32Array.from({ length: 0x10000 }, (_, code) => decodeSmallFloat(code, HALF)));

const eightBit: { F8_E4M3?: Float32Array; F8_E5M2?: Float32Array } = {};
const eightBitTable = (dtype: 'F8_E4M3' | 'F8_E5M2'): Float32Array =>
  (eightBit[dtype] ??= Float32Array.from({ length: 256 }, (_, code) =>
    decodeSmallFloat(code, dtype === 'F8_E4M3' ? E4M3 : E5M2),
  ));
