import { encodeFloats } from '../safetensors/index.js';
import { type GgmlType, ggmlTypes } from './format.js';

/** Numbers as a GGML type stores them. */
export function encodeGgml(type: GgmlType, values: Float32Array): Uint8Array {
  if (type === 'Q8_0') return quantizeQ8(values);
  const out = new Uint8Array(values.length * ggmlTypes[type].blockBytes);
  encodeFloats(type, values, out);
  return out;
}

const LARGEST = 127;

/**
 * Blocks of 32 numbers: a scale in f16, then 32 signed bytes; x is about scale * byte.
 *
 * scale = max |x| / 127 in f32, bytes are x / scale rounded half away from zero. Source: ggml, quantize_row_q8_0_ref.
 */
function quantizeQ8(values: Float32Array): Uint8Array {
  const { blockElements, blockBytes } = ggmlTypes.Q8_0;
  const blocks = values.length / blockElements;
  const scales = new Float32Array(blocks);
  const out = new Uint8Array(blocks * blockBytes);
  for (let block = 0; block < blocks; block++) {
    const x = values.subarray(block * blockElements, (block + 1) * blockElements);
    let largest = 0;
    for (const value of x) largest = Math.max(largest, Math.abs(value));
    scales[block] = largest / LARGEST;
    const inverse = scales[block] === 0 ? 0 : Math.fround(1 / scales[block]!);
    for (let i = 0; i < blockElements; i++) {
      const scaled = Math.fround(x[i]! * inverse);
      out[block * blockBytes + 2 + i] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
    }
  }
  const halves = new Uint8Array(blocks * 2);
  encodeFloats('F16', scales, halves);
  for (let block = 0; block < blocks; block++) out.set(halves.subarray(2 * block, 2 * block + 2), block * blockBytes);
  return out;
}
