import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { canonicalJson } from './canonical.js';
import { CHAIN_START, chainHash } from './chain.js';
import { readRecords, streamRecords } from './reader.js';
import { createLineScanner } from './scan.js';
import { RecordWriter } from './writer.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-records-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let numFiles = 0;
const newPath = (): string => join(folder, `${numFiles++}.jsonl`);
const written = (text: string): string => {
  const path = newPath();
  writeFileSync(path, text);
  return path;
};
const train = (step: number, loss = 3): Parameters<RecordWriter['append']>[0] => ({
  kind: 'train',
  stage: 'base',
  step,
  tokens: step * 10,
  flops: step * 100,
  loss,
});

describe('hash chain', () => {
  it('has the published values', () => {
    const first = chainHash(CHAIN_START, { kind: 'step', step: 1 });
    expect(first).toBe('847977c3209b43875a37f8db7f68a42307494f228fe9ce4924d3e5165de1b8e9');
    expect(chainHash(first, { step: 2, kind: 'step', hash: 'ignored' })).toBe(
      '7a4636900d2fe9d14fbaadf1433262c7db5df1844518215a569ac889b172762a',
    );
  });

  it('sorts keys by code unit, integer-like ones too', () => {
    expect(canonicalJson({ b: [{ z: 1, a: null }], 10: 1, 9: undefined, 2: 'é' })).toBe(
      '{"10":1,"2":"é","b":[{"a":null,"z":1}]}',
    );
  });

  it('goes on after a file is opened again and after it is cut', () => {
    const path = newPath();
    const writer = RecordWriter.open(path, { chain: true });
    writer.append(train(1));
    writer.append(train(2));
    const bytes = writer.lengthBytes;
    const head = writer.chainHead;
    writer.append(train(3));
    writer.truncateTo(bytes);
    expect(writer.chainHead).toBe(head);
    writer.close();
    const again = RecordWriter.open(path, { chain: true });
    expect(again.chainHead).toBe(head);
    again.append(train(3));
    again.close();
    let previous = CHAIN_START;
    for (const line of readFileSync(path, 'utf8').trim().split('\n')) {
      const record = JSON.parse(line) as Record<string, unknown>;
      previous = chainHash(previous, record);
      expect(record['hash']).toBe(previous);
    }
  });
});

describe('RecordWriter', () => {
  it('counts bytes before they are on disk and cuts back to them', () => {
    const path = newPath();
    const writer = RecordWriter.open(path);
    writer.append(train(1));
    const bytes = writer.lengthBytes;
    writer.append(train(2));
    writer.sync();
    expect(readFileSync(path).length).toBe(writer.lengthBytes);
    writer.truncateTo(bytes);
    writer.append(train(7));
    writer.close();
    expect([...readRecords(path).train.step]).toEqual([1, 7]);
  });

  it('refuses to cut where no line ends or nothing is', () => {
    using writer = RecordWriter.open(newPath());
    writer.append(train(1));
    const bytes = writer.lengthBytes;
    expect(() => writer.truncateTo(bytes - 3)).toThrow(/no end of a line/);
    expect(() => writer.truncateTo(bytes + 1)).toThrow(/expects at least/);
  });

  it('writes numbers that JSON cannot hold as null and says which in an event', () => {
    const path = newPath();
    const writer = RecordWriter.open(path);
    writer.append(train(1, NaN));
    writer.close();
    const { train: columns, events, problems } = readRecords(path);
    expect(columns.loss[0]).toBeNaN();
    expect(problems.nonFinite).toBe(1);
    expect(events).toMatchObject([{ name: 'nonFinite', of: 'train', step: 1, values: { loss: 'NaN' } }]);
  });

  it('cuts a line that a crash left unfinished, however long', () => {
    const path = newPath();
    const writer = RecordWriter.open(path);
    writer.append(train(1));
    writer.close();
    appendFileSync(path, `{"kind":"train","text":"${'x'.repeat(200_000)}`);
    const again = RecordWriter.open(path);
    again.append(train(2));
    again.close();
    expect([...readRecords(path).train.step]).toEqual([1, 2]);
  });
});

describe('readRecords', () => {
  it('counts what is damaged or foreign and reads the rest', () => {
    const path = written(
      [
        '{"kind":"train","time":10,"stage":"base","step":1,"tokens":10,"flops":100,"loss":3.5,"extra":{"a":[1]}}',
        '{"kind":"validation","time":9,"stage":"base","step":1,"tokens":10,"flops":100,"loss":NaN,"note":"a NaN \\" here"}',
        '{"kind":"train","time":11,"stage":"base","tokens":20,"flops":200,"loss":3}',
        '{"kind":"memory","bytes":3}',
        'not json',
        '',
        '{"stage":"base","kind":"train","time":"1970-01-01T00:00:12Z","step":2,"tokens":2e1,"flops":200,"loss":-3.25e-1,"lr":null}\r',
        '{"kind":"train","time":13,"stage":"tar',
      ].join('\n'),
    );
    const records = readRecords(path);
    expect(records.problems).toEqual({
      invalid: 2,
      foreign: 1,
      clockBackwards: 1,
      nonFinite: 1,
      truncated: true,
      first: 'line 3: train.step: Invalid input: expected number, received undefined',
    });
    expect([...records.train.loss]).toEqual([3.5, -0.325]);
    expect([...records.train.time]).toEqual([10, 12]);
    expect(records.validation).toHaveLength(1);
    expect(records.validation[0]?.loss).toBeNaN();
    expect(records.validation[0]?.['note']).toBe('a NaN " here');
  });

  it('never throws on damaged files', () => {
    const good = Array.from({ length: 5 }, (_, i) => JSON.stringify({ time: i, ...train(i) })).join('\n');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(good.length),
        (flips, cut) => {
          const bytes = Buffer.from(good).subarray(0, cut);
          for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value;
          const path = join(folder, 'fuzz.jsonl');
          writeFileSync(path, bytes);
          readRecords(path);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('keeps evenly spaced train records and always the last', () => {
    const lines = Array.from({ length: 1000 }, (_, i) => JSON.stringify({ ...train(1000 + i) }));
    const records = readRecords(written(`${lines.join('\n')}\n${JSON.stringify({ kind: 'event', name: 'end' })}\n`), {
      maxTrainRecords: 10,
    });
    expect(records.train.length).toBeGreaterThanOrEqual(10);
    expect(records.train.length).toBeLessThan(14);
    expect(records.train.step.at(-1)).toBe(1999);
    expect(records.events).toHaveLength(1);
  });

  it('skips a line longer than a mebibyte and goes on', () => {
    const records = readRecords(
      written(`{"kind":"event","name":"${'x'.repeat(3 << 20)}"}\n${JSON.stringify(train(4))}\n`),
    );
    expect(records.problems.invalid).toBe(1);
    expect([...records.train.step]).toEqual([4]);
  });

  it('goes on from a byte', () => {
    const path = written(`${JSON.stringify(train(1))}\n${JSON.stringify(train(2))}\n`);
    const all = [...streamRecords(path)].map(({ nextByte }) => nextByte);
    expect([...streamRecords(path, all[0])].map(({ record }) => record)).toMatchObject([{ step: 2 }]);
  });
});

describe('line scanner', () => {
  it('gives the numbers that JSON.parse gives', () => {
    const scanner = createLineScanner(['a', 'bb']);
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger(), (a, bb) => {
        const line = Buffer.from(JSON.stringify({ stage: 'x', bb, a, c: 'text' }));
        expect(scanner.scan(line, 0, line.length)).toBe(true);
        expect([...scanner.values]).toEqual([a === 0 ? 0 : a, bb]);
      }),
    );
  });
});
