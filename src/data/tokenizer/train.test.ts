import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { trainBpe, type TrainedBpe } from './train.js';
import { WordCounter } from './word-counter.js';

const root = new URL('../../../', import.meta.url);

interface Case {
  size: number;
  minFrequency: number;
  special: string[];
  merges: number;
  first: string[];
  mergesSha256: string;
  vocabSha256: string;
}
interface Reference {
  ties: string[];
  random: string[];
  cases: Record<string, Case>;
}
const reference = JSON.parse(readFileSync(new URL('test/fixtures/tokenizers/merges.json', root), 'utf8')) as Reference;

const novels = (): string[] =>
  gunzipSync(readFileSync(new URL('corpora/novels-small/validation.jsonl.gz', root)))
    .toString()
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { text: string }).text);

function count(documents: readonly string[]): WordCounter {
  const words = new WordCounter();
  for (const document of documents) {
    const bytes = Buffer.from(document);
    words.add(bytes, 0, bytes.length);
  }
  return words;
}

const sha256 = (lines: readonly string[]): string => createHash('sha256').update(lines.join('\n')).digest('hex');

describe('training finds the merges of Hugging Face', () => {
  test.each([
    ['novels', novels],
    ['frequent', novels],
    ['ties', () => reference.ties],
    ['random', () => reference.random],
  ])('%s', (name, documents) => {
    const expected = reference.cases[name]!;
    const trained: TrainedBpe = trainBpe(count(documents()), {
      vocabSize: expected.size,
      minFrequency: expected.minFrequency,
      specialTokens: expected.special,
    });
    const merges = trained.merges.map((merge) => merge.join(' '));
    expect(merges.slice(0, 200)).toEqual(expected.first);
    expect(merges.length).toBe(expected.merges);
    expect(sha256(merges)).toBe(expected.mergesSha256);
    expect(sha256(trained.vocab)).toBe(expected.vocabSha256);
  });
});

test('counts of two counters add up', () => {
  const whole = count(['a b a', 'b c']);
  const merged = count(['a b a']);
  merged.merge(count(['b c']));
  const counts = (words: WordCounter): [string, number][] =>
    Array.from({ length: words.size }, (_, word): [string, number] => [
      Buffer.from(words.bytes(word)).toString(),
      words.count(word),
    ]).sort();
  expect(counts(merged)).toEqual(counts(whole));
  expect(counts(whole)).toEqual([
    [' a', 1],
    [' b', 1],
    [' c', 1],
    ['a', 1],
    ['b', 1],
  ]);
});

test('a vocabulary too small for the bytes is refused', () => {
  expect(() => trainBpe(count(['a']), { vocabSize: 200 })).toThrow('expected at least 257');
});
