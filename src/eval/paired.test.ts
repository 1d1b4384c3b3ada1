import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { bootstrapInterval, comparePaired, readPair, readSamples, type TaskSamples } from './paired.js';

const folder = mkdtempSync(join(tmpdir(), 'strata-paired-'));
afterAll(() => rmSync(folder, { recursive: true }));

const samples = (values: readonly number[], task = 'piqa', chance = 0.25): TaskSamples => ({
  task,
  metrics: { acc: new Map(values.map((value, i) => [i, { value, weight: 1 }])) },
  chance: new Map(values.map((_, i) => [i, chance])),
});

describe('paired comparison', () => {
  it('has an interval near that of the normal distribution', () => {
    // 400 differences of +-1 and 0: mean 0.05, standard deviation by hand.
    const values = Float64Array.from({ length: 400 }, (_, i) => (i % 20 < 3 ? 1 : i % 20 < 5 ? -1 : 0));
    const mean = 0.05;
    const deviation = Math.sqrt(0.25 - mean ** 2);
    const half = (1.96 * deviation) / Math.sqrt(400);
    const { low, high } = bootstrapInterval(values, new Float64Array(400).fill(1));
    expect(Math.abs(low - (mean - half))).toBeLessThan(0.1 * half);
    expect(Math.abs(high - (mean + half))).toBeLessThan(0.1 * half);
  });

  it('uses that both answered the same documents', () => {
    // B is right where A is, and on 10 of 200 documents more: unpaired, 0.5 against 0.55 would be noise.
    const a = Array.from({ length: 200 }, (_, i) => i % 2);
    const b = a.map((value, i) => (i < 20 ? 1 : value));
    const [result] = comparePaired([samples(a)], [samples(b)]);
    expect(result).toMatchObject({ task: 'piqa', metric: 'acc', documents: 200, a: 0.5, b: 0.55, differs: true });
    expect(result!.difference).toBeCloseTo(0.05, 12);
    expect(result!.nearChance).toBe(false);
    // With two answers both are within two standard errors (0.035) of 0.5 all the same: no ranking.
    const guessed = comparePaired([samples(a, 'piqa', 0.5)], [samples(b, 'piqa', 0.5)]);
    expect(guessed).toMatchObject([{ differs: true, nearChance: true }]);
    expect(comparePaired([samples(a)], [samples(a)])[0]).toMatchObject({
      difference: 0,
      low: 0,
      high: 0,
      differs: false,
    });
  });

  it('takes the documents that both have, and says when there is no task in common', () => {
    expect(comparePaired([samples([1, 0, 1])], [samples([1, 1])])[0]!.documents).toBe(2);
    expect(() => comparePaired([samples([1])], [samples([1], 'sciq')])).toThrow(/no task in common: piqa and sciq/);
  });

  it('reads samples of Strata and of the harness', () => {
    writeFileSync(
      join(folder, 'samples_piqa.jsonl'),
      '{"doc_id":1,"acc":1,"acc_norm":0,"arguments":{"gen_args_0":{},"gen_args_1":{}}}\n{"doc_id":0,"acc":0.0}\n',
    );
    writeFileSync(join(folder, 'samples_sciq_2026-11-23T20-01-02.123456.jsonl'), '{"doc_id":0,"acc":1.0}\n');
    const read = readSamples(folder);
    expect(read.map(({ task }) => task)).toEqual(['piqa', 'sciq']);
    expect([...read[0]!.metrics['acc']!]).toEqual([
      [1, { value: 1, weight: 1 }],
      [0, { value: 0, weight: 1 }],
    ]);
    expect([...read[0]!.chance]).toEqual([[1, 0.5]]);
    writeFileSync(join(folder, 'samples_bad.jsonl'), '{}\n');
    expect(() => readSamples(folder)).toThrow(/samples_bad\.jsonl, line 1/);
    expect(() => readSamples(join(folder, 'nothing'))).toThrow(/no such file/);
  });

  it('weighs pages of a text by their bytes', () => {
    const write = (name: string, pages: readonly (readonly [number, number])[]): string => {
      mkdirSync(join(folder, name));
      const lines = pages.map((page, i) => `${JSON.stringify({ doc_id: i, bits_per_byte: page })}\n`);
      writeFileSync(join(folder, name, 'samples_wikitext.jsonl'), lines.join(''));
      return join(folder, name);
    };
    const [a, b] = [
      write('a', [
        [-100 * Math.LN2, 10],
        [-90 * Math.LN2, 90],
      ]),
      write('b', [
        [-80 * Math.LN2, 10],
        [-90 * Math.LN2, 90],
      ]),
    ];
    // By hand: 190 bits over 100 bytes, and 170; resamples draw a page twice or both once: 0, 20/100 or 40/20.
    expect(comparePaired(...readPair(a, b))).toEqual([
      expect.objectContaining({
        metric: 'bits_per_byte',
        documents: 2,
        a: 1.9,
        b: 1.7,
        low: -2,
        high: 0,
        differs: false,
      }),
    ]);
    writeFileSync(join(a, 'results.json'), '{}');
    expect(() => readPair(a, join(a, 'results.json'))).toThrow(/lie in one folder/);
  });
});
