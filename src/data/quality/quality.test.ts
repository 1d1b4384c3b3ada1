import { describe, expect, test } from 'vitest';
import { dropReason } from './heuristics.js';
import { BANDS, minHashBands } from './minhash.js';

const words = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `word${(from + i) * 7919}`);
const bandsShared = (a: string, b: string): number => {
  const [left, right] = [minHashBands(Buffer.from(a)), minHashBands(Buffer.from(b))];
  let shared = 0;
  for (let band = 0; band < BANDS; band++)
    if (left[2 * band] === right[2 * band] && left[2 * band + 1] === right[2 * band + 1]) shared++;
  return shared;
};

describe('MinHash', () => {
  test('bands are shared as often as theory has it', () => {
    // Two documents of n words that differ in the last k: Jaccard similarity of their shingles is (n - 4 - k) / (n - 4 + k).
    const n = 204;
    for (const k of [10, 36, 100]) {
      const similarity = (n - 4 - k) / (n - 4 + k);
      const expected = similarity ** 8;
      let shared = 0;
      const pairs = 60;
      for (let pair = 0; pair < pairs; pair++) {
        const common = words(pair * 1000, n - k);
        const left = [...common, ...words(pair * 1000 + 400, k)].join(' ');
        const right = [...common, ...words(pair * 1000 + 700, k)].join(' ');
        shared += bandsShared(left, right);
      }
      const trials = pairs * BANDS;
      const found = shared / trials;
      // Bands are binomial; documents vary a little in their own right, so four standard deviations.
      expect(Math.abs(found - expected)).toBeLessThan(4 * Math.sqrt((expected * (1 - expected)) / trials) + 0.01);
    }
  });

  test('sees through case and punctuation, and takes short texts', () => {
    expect(bandsShared('One two three four five six.', 'one, TWO three -- four five six')).toBe(BANDS);
    expect(bandsShared('ab', 'ab')).toBe(BANDS);
    expect(bandsShared('ab', 'cd')).toBe(0);
  });
});

describe('heuristics', () => {
  const prose = Array.from({ length: 20 }, (_, i) => `Sentence ${i} says ${words(i * 20, 8).join(' ')}.`).join('\n');
  test.each([
    ['prose', prose, undefined],
    [
      'the same line again and again',
      `${'Click here to subscribe now\n'.repeat(20)}${prose.slice(0, 200)}`,
      'duplicateLines',
    ],
    ['a pair of words again and again', `${'buy now '.repeat(200)}${prose}`, 'repeatedWords'],
    ['a list', Array.from({ length: 20 }, (_, i) => `- item ${words(i * 9, 4).join(' ')}`).join('\n'), 'bullets'],
    [
      'cut lines',
      Array.from({ length: 20 }, (_, i) => `read on ${words(i * 9, 4).join(' ')}...`).join('\n'),
      'ellipses',
    ],
    [
      'hash tags',
      words(0, 80)
        .map((word) => `#${word}`)
        .join(' '),
      'symbols',
    ],
  ])('%s', (_, text, reason) => {
    expect(dropReason(Buffer.from(text), { repetition: true })).toBe(reason);
  });

  test('length', () => {
    expect(dropReason(Buffer.from('abc'), { minBytes: 4 })).toBe('short');
    expect(dropReason(Buffer.from('abc'), { maxBytes: 2 })).toBe('long');
    expect(dropReason(Buffer.from('abc'), { minBytes: 3, maxBytes: 3 })).toBeUndefined();
  });
});
