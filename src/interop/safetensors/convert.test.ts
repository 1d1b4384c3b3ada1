import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeFloats, encodeFloats } from './convert.js';
import { type FloatDType, storedDtypeBytes } from './dtype.js';

// Encoded by PyTorch 2.13: torch.tensor(values).to(dtype).view(torch.uint8).
const values = [
  0,
  -0,
  1,
  -2.5,
  1 / 3,
  65504,
  65519.9,
  65520,
  1e-8,
  6e-8,
  5.96e-8,
  2.98e-8,
  2.99e-8,
  3.4e38,
  448,
  464,
  465,
  -500,
  57344,
  61440,
  61439,
  0.001953125,
  0.0009765625,
  0.00097656256,
  0.0029296875,
  1.00390625,
  1.01171875,
  1.0625,
  1.1875,
  Infinity,
  -Infinity,
  NaN,
  1e-40,
  0.017578125,
];
const torchBytes: Partial<Record<FloatDType, string>> = {
  F16: '00000080003c00c15535ff7bff7b007c00000100010000000100007c005f405f445fd0df007b807b807b001800140014001a043c0c3c403cc03c007c00fc007e00008024',
  BF16: '00000080803f20c0ab3e8047804780472c328133803300330033807fe043e843e843fac3604770477047003b803a803a403b803f823f883f983f807f80ffffff0100903c',
  F8_E4M3: '008038c22b7e7e7e00000000007e7e7e7efe7e7e7e010001023838383a7efe7f0009',
  F8_E5M2: '00803cc1357c7c7c00000000007c5f5f5fe07b7c7b1814141a3c3c3c3d7cfc7f0024',
};
// SHA-256 of all codes decoded by PyTorch to float32, NaN replaced by 0.
const torchDecoded: Partial<Record<FloatDType, string>> = {
  F16: 'faa6d965574036872b0d39a42d1f8bee361d5be92b1e718155a69556a5abacdd',
  BF16: '2950e27364395060b01ae85b45dd15a2ab8891f6ee8b0af2b541dbda5524d0b4',
  F8_E4M3: '0c5d81084420441d5c98db2c276b865fc29738d60fba9c32b55aa8214762b794',
  F8_E5M2: 'f3e7031368f3245d56c8114ed15a46144bf609430c117e10fc3e0f5114d773b3',
};
const small = Object.keys(torchBytes) as FloatDType[];

const encode = (dtype: FloatDType, x: Float32Array | Float64Array): Uint8Array => {
  const out = new Uint8Array(x.length * storedDtypeBytes[dtype]);
  encodeFloats(dtype, x, out);
  return out;
};
const decode = (dtype: FloatDType, bytes: Uint8Array): Float32Array => {
  const out = new Float32Array(bytes.length / storedDtypeBytes[dtype]);
  decodeFloats(dtype, bytes, out);
  return out;
};

describe.each(small)('%s', (dtype) => {
  it('rounds as PyTorch does', () => {
    const ours = encode(dtype, Float32Array.from(values));
    const theirs = Buffer.from(torchBytes[dtype]!, 'hex');
    const size = storedDtypeBytes[dtype];
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i])) expect(decode(dtype, ours)[i]).toBeNaN();
      else
        expect([values[i], [...ours.subarray(i * size, (i + 1) * size)]]).toEqual([
          values[i],
          [...theirs.subarray(i * size, (i + 1) * size)],
        ]);
    }
  });

  it('decodes every code as PyTorch does, and encodes it back', () => {
    const codes =
      storedDtypeBytes[dtype] === 1
        ? Uint8Array.from({ length: 256 }, (_, i) => i)
        : new Uint8Array(Uint16Array.from({ length: 0x10000 }, (_, i) => i).buffer);
    const decoded = decode(dtype, codes);
    const back = encode(dtype, decoded);
    const size = storedDtypeBytes[dtype];
    for (let i = 0; i < decoded.length; i++) {
      const infinityOfE4M3 = dtype === 'F8_E4M3' && !Number.isFinite(decoded[i]);
      if (Number.isNaN(decoded[i]) || infinityOfE4M3) continue;
      if (Buffer.compare(back.subarray(i * size, i * size + size), codes.subarray(i * size, i * size + size)) !== 0)
        expect.fail(`code ${i} (${decoded[i]}) comes back otherwise`);
    }
    const canonical = decoded.map((x) => (Number.isNaN(x) ? 0 : x));
    const hash = createHash('sha256').update(new Uint8Array(canonical.buffer)).digest('hex');
    expect(hash).toBe(torchDecoded[dtype]);
  });

  it('reads from any alignment', () => {
    const bytes = encode(dtype, Float32Array.of(1, 2, -0.5));
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect([...decode(dtype, shifted.subarray(1))]).toEqual([1, 2, -0.5]);
  });
});

describe('rounding from float64', () => {
  it('rounds once', () => {
    // 1 + 2^-8 + 2^-40 lies just above the middle between two bf16 numbers; over float32 it would be a tie and go down.
    const x = Float64Array.of(1 + 2 ** -8 + 2 ** -40, -(1 + 2 ** -8 + 2 ** -40), 1 + 3 * 2 ** -8 - 2 ** -40);
    expect([...decode('BF16', encode('BF16', x))]).toEqual([1.0078125, -1.0078125, 1.0078125]);
  });

  it('keeps float64 as it is', () => {
    const out = new Float64Array(1);
    decodeFloats('F64', encode('F64', Float64Array.of(Math.PI)), out);
    expect(out[0]).toBe(Math.PI);
  });
});
