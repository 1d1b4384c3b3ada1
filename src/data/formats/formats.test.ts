import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../errors.js';
import { buildDataset } from '../build/build.js';
import { type Dataset, openDataset } from '../dataset.js';
import { Loader } from '../loader.js';
import { mixDatasets } from '../mix/mix.js';
import { trainTokenizer } from '../tokenizer/train-tokenizer.js';
import { exportTokens } from './export.js';
import { importTokens } from './import.js';
import { describeTokenFile, readTokenFile } from './token-file.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-formats-'));
const tokenizer = join(folder, 'tokenizer.json');
let made = 0;
const newPath = (ending = ''): string => join(folder, `made-${made++}${ending}`);

/** A data set of `count` documents that begin with `name` and their number. */
async function dataOf(name: string, count: number): Promise<string> {
  const input = newPath('.jsonl');
  const line = (i: number): string => JSON.stringify({ text: `${name} ${i} ${'more words '.repeat(i % 7)}` });
  writeFileSync(input, Array.from({ length: count }, (_, i) => line(i)).join('\n'));
  const { splits } = await buildDataset({ inputs: [input], tokenizer, out: newPath(), tokensPerShard: 500 });
  return splits.train!.folder;
}

function tokensOf(dataset: Dataset): number[] {
  const tokens = new Int32Array(dataset.tokens);
  dataset.read(0, tokens.length, tokens);
  return [...tokens];
}

/** The documents of a data set as strings of ids. */
function documentsOf(path: string): string[] {
  using dataset = openDataset(path);
  const tokens = tokensOf(dataset);
  return Array.from({ length: dataset.documents }, (_, i) => {
    const { start, end } = dataset.documentRange(i);
    return tokens.slice(start, end).join();
  });
}

let data: string;
beforeAll(async () => {
  const text = newPath('.txt');
  writeFileSync(text, 'alpha beta more words gamma delta more words');
  await trainTokenizer({ inputs: [text], vocabSize: 266, out: tokenizer });
  data = await dataOf('alpha', 200);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(['nanogpt', 'llm.c', 'megatron'] as const)('%s', (format) => {
  test('is written, recognised and read back', () => {
    const file = newPath('.bin');
    using dataset = openDataset(data);
    exportTokens(dataset, format, file);
    const described = describeTokenFile(file);
    expect(described).toMatchObject({ format, tokens: dataset.tokens, bytesPerToken: 2 });
    expect([...readTokenFile(described, { most: 777 })].length).toBe(Math.ceil(dataset.tokens / 777));
    const out = newPath();
    const index = importTokens({ inputs: [file], tokenizer, out });
    expect(index).toMatchObject({ documents: 200, textBytes: dataset.index.textBytes });
    expect(documentsOf(out)).toEqual(documentsOf(data));
  });
});

test('the bytes are those that the other programs document', () => {
  using dataset = openDataset(data);
  const llmc = newPath('.bin');
  exportTokens(dataset, 'llm.c', llmc);
  const header = readFileSync(llmc);
  expect([header.readInt32LE(0), header.readInt32LE(4), header.readInt32LE(8)]).toEqual([20240520, 1, dataset.tokens]);
  expect(header.readUInt16LE(1024)).toBe(tokensOf(dataset)[0]);
  const megatron = newPath('.bin');
  exportTokens(dataset, 'megatron', megatron);
  const index = readFileSync(megatron.replace('.bin', '.idx'));
  expect(index.toString('latin1', 0, 9)).toBe('MMIDIDX\0\0');
  expect([index.readBigUInt64LE(9), index[17], index.readBigUInt64LE(18), index.readBigUInt64LE(26)]).toEqual([
    1n,
    8,
    200n,
    201n,
  ]);
  expect(index.length).toBe(34 + 200 * 12 + 201 * 8);
  const { start, end } = dataset.documentRange(1);
  expect([index.readInt32LE(38), index.readBigInt64LE(34 + 800 + 8)]).toEqual([end - start, BigInt(start * 2)]);
});

test('damaged files give a sentence or tokens', () => {
  using dataset = openDataset(data);
  const file = newPath('.bin');
  exportTokens(dataset, 'megatron', file);
  const path = file.replace('.bin', '.idx');
  const good = readFileSync(path);
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean(), (at, byte, cut) => {
      const bytes = Buffer.from(cut ? good.subarray(0, at) : good);
      if (!cut) bytes[at] = byte;
      writeFileSync(path, bytes);
      try {
        expect(describeTokenFile(file).tokens).toBe(dataset.tokens);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }),
  );
  const odd = newPath('.bin');
  writeFileSync(odd, Buffer.alloc(7));
  expect(() => describeTokenFile(odd)).toThrow(`${odd}: expected 16-bit tokens`);
  writeFileSync(odd, Uint16Array.of(1, 2, 60000));
  expect(() => importTokens({ inputs: [odd], tokenizer, out: newPath() })).toThrow(
    'expected ids below 266, found 60000',
  );
});

describe('mixing', () => {
  test('of one source is a shuffle', () => {
    const out = newPath();
    mixDatasets({ sources: [{ folder: data, weight: 1 }], out, seed: 3 });
    expect(documentsOf(out)).not.toEqual(documentsOf(data));
    expect(documentsOf(out).sort()).toEqual(documentsOf(data).sort());
  });

  test('holds the shares all along and caps the epochs', async () => {
    const other = await dataOf('beta', 40);
    const own = new Set(documentsOf(other));
    const out = newPath();
    const { steps } = mixDatasets({
      sources: [
        { folder: data, weight: 3 },
        { folder: other, weight: 1 },
      ],
      tokens: 3000,
      maxEpochs: 4,
      out,
    });
    expect(steps[0]).toMatchObject({ name: 'mix', maxEpochs: 4 });
    let tokens = 0;
    let others = 0;
    for (const document of documentsOf(out)) {
      const length = document.split(',').length;
      tokens += length;
      if (own.has(document)) others += length;
      if (tokens > 500) expect(Math.abs(others / tokens - 0.25)).toBeLessThan(0.06);
    }
    const capped = newPath();
    mixDatasets({
      sources: [
        { folder: data, weight: 1 },
        { folder: other, weight: 9 },
      ],
      tokens: 1e9,
      maxEpochs: 2,
      out: capped,
    });
    const all = documentsOf(capped);
    expect(all.length).toBe(2 * 200 + 2 * 40);
    expect(all.filter((document) => own.has(document)).length).toBe(80);
  });

  test('refuses other tokenizers and folders that exist', () => {
    expect(() => mixDatasets({ sources: [{ folder: data, weight: 1 }], out: folder })).toThrow('expected a new folder');
    expect(() => mixDatasets({ sources: [{ folder: data, weight: 0 }], out: newPath() })).toThrow(
      'expected a weight above 0',
    );
  });
});

test('documents of packed sequences are told apart', () => {
  using dataset = openDataset(data);
  const length = 50;
  const loader = new Loader(dataset, { sequenceLength: length, seed: 1 });
  const count = 20;
  const inputs = new Int32Array(count * length);
  const starts = new Int32Array(count * length);
  loader.read(0, count, inputs, new Int32Array(count * length));
  loader.readDocumentStarts(0, count, starts);
  const eos = dataset.index.tokenizer.eosId;
  for (let i = 0; i < count; i++) {
    let start = 0;
    for (let k = 0; k < length; k++) {
      expect(starts[i * length + k]).toBe(start);
      if (inputs[i * length + k] === eos) start = k + 1;
    }
  }
});
