import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError } from '../../errors.js';
import { readBatches } from './batches.js';
import { parseRecords } from './csv.js';
import { type BadRecord, readDocuments } from './documents.js';
import { expandInputs } from './inputs.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-sources-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

/** All documents of files, as text with the line they start on; parts of one document joined. */
async function read(inputs: string[], field = 'text', onBad?: (bad: BadRecord) => void) {
  const documents: { text: string; line: number }[] = [];
  const fail = (bad: BadRecord): never => {
    throw new InputError(bad.reason);
  };
  for (const file of expandInputs(inputs))
    for await (const batch of readBatches(file, { field, cutText: true }))
      for (const { utf8, line, starts } of await readDocuments(batch, field, onBad ?? fail)) {
        const text = Buffer.from(utf8).toString();
        const last = documents.at(-1);
        if (starts || last === undefined) documents.push({ text, line });
        else last.text += text;
      }
  return documents;
}
const textsOf = async (...inputs: string[]): Promise<string[]> => (await read(inputs)).map(({ text }) => text);

/** Two frames written by the zstd command line tool 1.5: two lines, then a third. */
const ZSTD = Buffer.from(
  'KLUv/SQtaQEAeyJ0ZXh0IjoiZmlyc3Qg4oCUIGVyc3RlIn0KeyJ0ZXh0Ijoic2Vjb25kIn0KciHqzii1L/0EWIkAAHsidGV4dCI6InRoaXJkIn0KXDv3Ew==',
  'base64',
);

describe('formats', () => {
  test('JSON lines, plain, gzip in several members, zstd in several frames', async () => {
    const lines = ['{"id":1,"text":"one"}', '', '{"text":"caf\\u00e9 \\ud83d\\ude00"}'].join('\n');
    expect(await read([write('a.jsonl', `\ufeff${lines}`)])).toEqual([
      { text: 'one', line: 1 },
      { text: 'café 😀', line: 3 },
    ]);
    const members = Buffer.concat([gzipSync(`${lines}\n`), gzipSync('{"text":"two"}\n')]);
    expect(await textsOf(write('b.jsonl.gz', members))).toEqual(['one', 'café 😀', 'two']);
    expect(await textsOf(write('c.jsonl.zst', ZSTD))).toEqual(['first — erste', 'second', 'third']);
  });

  test('CSV with quotes, line ends and delimiters in fields', async () => {
    const csv = 'id,text\r\n1,"a ""quoted"", word"\r\n2,"two\nlines"\r\n\r\n3,plain\r\n';
    expect(await read([write('d.csv', csv)])).toEqual([
      { text: 'a "quoted", word', line: 2 },
      { text: 'two\nlines', line: 3 },
      { text: 'plain', line: 6 },
    ]);
    expect(await textsOf(write('e.tsv.gz', gzipSync('text\tid\nx, y\t1\n')))).toEqual(['x, y']);
  });

  test('Parquet, by row group, one column', async () => {
    const texts = Array.from({ length: 250 }, (_, i) => `row ${i} ü`);
    const columnData = [
      { name: 'id', data: texts.map((_, i) => i), type: 'INT32' as const },
      { name: 'content', data: texts, type: 'STRING' as const },
    ];
    const file = write('f.parquet', new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100 })));
    const found = await read([file], 'content');
    expect(found.map(({ text }) => text)).toEqual(texts);
    expect(found[249]?.line).toBe(250);
    await expect(read([file])).rejects.toThrow('expected a column "text", found "id", "content"');
  });

  test('any fields come back from CSV', () => {
    const field = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ' ', 'ü') });
    fc.assert(
      fc.property(fc.array(fc.tuple(field, field), { minLength: 1 }), (rows) => {
        const quote = (value: string): string => `"${value.replaceAll('"', '""')}"`;
        const csv = rows.map((row) => row.map(quote).join(',')).join('\n');
        expect(parseRecords(csv, ',').map(({ fields }) => fields)).toEqual(rows);
      }),
    );
  });
});

describe('batches', () => {
  test('keep records whole and in order, however long, with their lines', async () => {
    const lengths = [10, 700_000, 10, 3_000_000, 5, 1_048_500, 90, 2_100_000, 1];
    const lines = lengths.map((length, i) => JSON.stringify({ text: String(i).repeat(length) }));
    const found = await read([write('long.jsonl', lines.join('\n'))]);
    expect(found.map(({ text, line }) => [text[0], text.length, line])).toEqual(
      lengths.map((length, i) => [String(i), length, i + 1]),
    );
  });

  test('cut long text between words and lose nothing', async () => {
    const text = Array.from({ length: 400_000 }, (_, i) => (i % 11 === 0 ? 'größer\n' : `w${i}`)).join(' ');
    expect(await textsOf(write('long.txt', text))).toEqual([text]);
    const unbroken = 'x'.repeat(2_500_000);
    expect(await textsOf(write('unbroken.txt', unbroken))).toEqual([unbroken]);
  });

  test('tell the line of a bad record behind others', async () => {
    const lines = Array.from({ length: 50_000 }, (_, i) => (i === 43_210 ? '{"txt":1}' : '{"text":"some words here"}'));
    const bad: number[] = [];
    await read([write('late.jsonl', lines.join('\n'))], 'text', ({ line }) => bad.push(line));
    expect(bad).toEqual([43_211]);
  });
});

describe('inputs', () => {
  test('are files, folders and globs, in order', () => {
    for (const name of ['in/b', 'in/.hidden']) mkdirSync(join(folder, name), { recursive: true });
    for (const name of ['in/2.txt', 'in/1.txt', 'in/b/3.jsonl', 'in/b/note.pdf', 'in/.hidden/4.txt']) write(name, 'x');
    const names = (...inputs: string[]): string[] => expandInputs(inputs).map(({ path }) => basename(path));
    expect(names(join(folder, 'in'))).toEqual(['1.txt', '2.txt', '3.jsonl']);
    expect(names(join(folder, 'in/*.txt'))).toEqual(['1.txt', '2.txt']);
    expect(names(join(folder, 'in/**/*.{jsonl,csv}'))).toEqual(['3.jsonl']);
    expect(names(join(folder, 'in/[2-9].txt'), join(folder, 'in/?.txt'))).toEqual(['2.txt', '1.txt', '2.txt']);
    expect(() => names(join(folder, 'in/*.zip'))).toThrow('expected files that match');
    expect(() => names(join(folder, 'in/b/note.pdf'))).toThrow('or --format');
    expect(expandInputs([join(folder, 'in/b/note.pdf')], 'text')[0]).toMatchObject({ format: 'text', size: 1 });
    expect(() => names(join(folder, 'none.txt'))).toThrow('found nothing');
  });
});

describe('damaged compression', () => {
  test.each([
    ['gz', gzipSync('{"text":"some words"}\n'.repeat(300))],
    ['zst', ZSTD],
  ])('.%s gives a sentence or documents', async (ending, good) => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.integer({ min: 0, max: 255 }),
        fc.boolean(),
        async (at, byte, cut) => {
          const bytes = Buffer.from(cut ? good.subarray(0, at) : good);
          if (!cut) bytes[at] = byte;
          const file = write(`damaged.jsonl.${ending}`, bytes);
          try {
            await read([file], 'text', () => {});
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
          }
          expect(statSync(file).size).toBe(bytes.length);
        },
      ),
      { numRuns: 60 },
    );
  });
});
