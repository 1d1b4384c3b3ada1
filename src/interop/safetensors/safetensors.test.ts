import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError } from '../../errors.js';
import { SafetensorsFile, SafetensorsWriter, writeSafetensors } from './index.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);

function fileOf(header: string | Buffer, data: number, length?: bigint): string {
  const text = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  const file = path('hand.safetensors');
  writeFileSync(file, Buffer.concat([prefix, text, Buffer.alloc(data)]));
  return file;
}

describe('reading', () => {
  it('reads a file laid out by hand', () => {
    const header =
      '{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}';
    const file = fileOf(header, 0);
    const data = Buffer.alloc(12);
    data.writeUInt16LE(0x3f80, 0);
    data.writeUInt16LE(0xc000, 2);
    data.writeFloatLE(0.25, 4);
    data.writeFloatLE(-8, 8);
    writeFileSync(file, Buffer.concat([readFileSync(file), data]));
    using tensors = new SafetensorsFile(file);
    expect([...tensors.header.tensors.keys()]).toEqual(['a', 'b']);
    const a = new Float32Array(2);
    tensors.readFloats(tensors.entry('a'), a);
    const b = new Float64Array(1);
    tensors.readFloats(tensors.entry('b'), b, 1);
    expect([[...a], [...b]]).toEqual([[1, -2], [-8]]);
    expect(tensors.header.metadata).toEqual({ format: 'pt' });
    expect(() => tensors.entry('c')).toThrow(`${file}: there is no tensor "c".`);
  });

  const tensor = (name: string, shape: number[], begin: number, end: number): string =>
    `"${name}":{"dtype":"F32","shape":[${shape}],"data_offsets":[${begin},${end}]}`;

  it.each<[string, string | Buffer, number, string]>([
    ['an overlap', `{${tensor('a', [2], 0, 8)},${tensor('b', [2], 4, 12)}}`, 12, '"b" overlaps'],
    ['a gap', `{${tensor('a', [1], 0, 4)},${tensor('b', [1], 8, 12)}}`, 12, '4 bytes before tensor "b"'],
    ['a cut file', `{${tensor('a', [2], 0, 8)}}`, 6, 'tensor "a" ends at byte 8'],
    ['a rest', `{${tensor('a', [2], 0, 8)}}`, 9, '1 bytes at the end'],
    ['a shape that overflows', `{${tensor('a', [4294967296, 4294967296], 0, 8)}}`, 8, 'too large to count'],
    ['a wrong size', `{${tensor('a', [3], 0, 8)}}`, 8, 'needs 12 bytes, its offsets give 8'],
    ['a negative size', `{${tensor('a', [-1], 0, 8)}}`, 8, 'not a list of sizes'],
    ['an unknown type', '{"a":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}', 4, 'dtype "F3"'],
    ['a key twice', `{${tensor('a', [1], 0, 4)},${tensor('a', [1], 0, 4)}}`, 4, 'names "a" twice'],
    ['an escaped key twice', `{${tensor('a', [1], 0, 4)},${tensor('\\u0061', [1], 0, 4)}}`, 4, 'names "a" twice'],
    ['a field twice', '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4, '"dtype" twice'],
    ['broken JSON', '{"a":', 0, 'not valid JSON'],
    ['no object', '[]', 0, 'must begin with "{"'],
    ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 0, 'not valid UTF-8'],
    ['deep nesting', `{"a":${'['.repeat(100000)}${']'.repeat(100000)}}`, 0, 'nested too deeply'],
    ['metadata that is no text', '{"__metadata__":{"a":1}}', 0, '__metadata__'],
  ])('refuses %s', (_, header, data, message) => {
    const file = fileOf(header, data);
    expect(() => new SafetensorsFile(file)).toThrow(InputError);
    expect(() => new SafetensorsFile(file)).toThrow(message);
  });

  it('refuses headers longer than the limit or the file without reading them', () => {
    expect(() => new SafetensorsFile(fileOf('{}', 0, 100_000_001n))).toThrow('at most 100000000');
    expect(() => new SafetensorsFile(fileOf('{}', 0, 2n ** 64n - 1n))).toThrow('18446744073709551615');
    expect(() => new SafetensorsFile(fileOf('{}', 0, 99n))).toThrow('the file has 10');
    expect(() => new SafetensorsFile(path('missing'))).toThrow('there is no such file');
    writeFileSync(path('short'), 'abc');
    expect(() => new SafetensorsFile(path('short'))).toThrow('too short');
    expect(() => new SafetensorsFile(folder)).toThrow('expected a file');
  });
});

describe('writing', () => {
  it('gives back what was written, any shape and type', () => {
    const tensorOf = fc.record({
      dtype: fc.constantFrom('F32' as const, 'F64' as const),
      values: fc.array(fc.float({ noNaN: true }), { maxLength: 9 }),
    });
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), tensorOf, { maxKeys: 5 }), (tensors) => {
        const list = Object.entries(tensors)
          .filter(([name]) => name !== '__metadata__')
          .map(([name, { dtype, values }]) => ({
            name,
            dtype,
            shape: [values.length],
            values: Float64Array.from(values),
          }));
        writeSafetensors(path('round'), list, { note: 'x' });
        using file = new SafetensorsFile(path('round'));
        expect([...file.header.tensors.keys()].sort()).toEqual(list.map((t) => t.name).sort());
        for (const { name, values } of list) {
          const back = new Float64Array(values.length);
          file.readFloats(file.entry(name), back);
          expect(back).toEqual(values);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('leaves nothing under the name until all is there, and nothing at all when abandoned', () => {
    const writer = new SafetensorsWriter(path('sub/new'), [{ name: 'a', dtype: 'F32', shape: [2] }]);
    writer.writeFloats('F32', Float32Array.of(1));
    expect(readdirSync(path('sub'))).not.toContain('new');
    expect(() => writer.finish()).toThrow('announced');
    expect(readdirSync(path('sub'))).toEqual([]);
  });
});
