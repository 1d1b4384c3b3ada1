import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteFile } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { InputError } from '../../errors.js';
import { readParquetRows } from './parquet.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-parquet-rows-'));
const path = join(folder, 'test-00000-of-00001.parquet');
let whole: Buffer;
beforeAll(() => {
  const text = (name: string) => ({ name, data: ['a', 'bc', 'def'], type: 'STRING' as const });
  parquetWriteFile({ filename: path, columnData: [text('goal'), text('sol1')] });
  whole = readFileSync(path);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A sentence with the file, or rows: damage in a text does not show. */
async function expectSentence(bytes: Buffer, what: string, limitSeconds?: number): Promise<void> {
  writeFileSync(path, bytes);
  try {
    await readParquetRows(path, limitSeconds);
  } catch (error) {
    expect(error, what).toBeInstanceOf(InputError);
    expect((error as Error).message, what).toMatch(/parquet: expected a Parquet file, found: [^\n]+\.$/);
  }
}

it('reads rows as objects', async () => {
  expect(await readParquetRows(path)).toEqual(['a', 'bc', 'def'].map((value) => ({ goal: value, sol1: value })));
});

it('refuses a file that ends early, in a sentence', async () => {
  for (const end of [0, 3, 11, 12, whole.length >> 1, whole.length - 9, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, end));
    await expect(readParquetRows(path), `first ${end} bytes`).rejects.toThrow(
      /parquet: expected a Parquet file, found: [^\n]+\.$/,
    );
  }
});

it('ends at a time where a damaged size sends the parser round in circles', async () => {
  // This byte lies in the header of the first page, behind "PAR1".
  const damaged = Buffer.from(whole);
  damaged[11] = 0;
  writeFileSync(path, damaged);
  await expect(readParquetRows(path, 2)).rejects.toThrow(/found: nothing after 2 seconds of reading\.$/);
});

it('gives a sentence for damaged bytes anywhere', { timeout: 180_000 }, async () => {
  for (let at = 0; at < whole.length; at += 29) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 0x55;
    await expectSentence(damaged, `byte ${at}`, 2);
  }
});
